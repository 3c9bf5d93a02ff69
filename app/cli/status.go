package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"lictor/admin/api"
)

func statusCommand(stdout io.Writer) *command {
	c := newCommand("status", "Show services, instances and how fresh they are", "[-json]",
		"Asks a running lictor what it knows.")
	var client adminClient
	client.flags(c.flags)
	asJSON := c.flags.Bool("json", false, "print the answer of /status as it is")
	c.run = func() error {
		body, err := client.get("/status")
		if err != nil {
			return err
		}
		return show(stdout, body, *asJSON, printStatus)
	}
	return c
}

// printStatus writes st for people.
func printStatus(out io.Writer, st *api.Status) error {
	ready := "ready"
	if !st.Ready {
		ready = "NOT READY: " + strings.Join(st.NotReady, "; ")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "lictor %s (commit %s, %s), up %s, %s\n", st.Version, st.Commit, st.Go, seconds(float64(st.UptimeSeconds)), ready)

	fmt.Fprintln(w, "\nLISTENER\tADDRESS")
	for _, l := range st.Listeners {
		fmt.Fprintf(w, "%s\t%s\n", l.Name, l.Address)
	}
	printPolicy(w, st.Policy)
	fmt.Fprintln(w, "\nRESOLVER\tSERVICES\tWATCHES\tAGE\tSTATE")
	for _, r := range st.Resolvers {
		age := "-"
		if r.AgeSeconds != nil {
			age = seconds(*r.AgeSeconds)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", r.Kind, r.Services, r.Watches, age, resolverState(&r)+mesh(&r))
	}
	printDispatchers(w, st)
	if len(st.Services) > 0 {
		fmt.Fprintln(w, "\nSERVICE\tRESOLVER\tINSTANCE\tADDRESS\tSTATE\tWEIGHT\tNOTE")
		for _, s := range st.Services {
			printService(w, &s)
		}
	}
	if len(st.Problems) > 0 {
		fmt.Fprintln(w, "\nPROBLEMS")
		for _, p := range st.Problems {
			fmt.Fprintln(w, p) // whole: the end is what matters most
		}
	}
	return w.Flush()
}

func printPolicy(w io.Writer, p *api.PolicyStatus) {
	if p == nil {
		return
	}
	age := "-"
	if p.AgeSeconds != nil {
		age = seconds(*p.AgeSeconds)
	}
	state := "ok"
	switch {
	case p.LastGood:
		state = "from the last-good files, the store has not answered yet"
	case !p.Live:
		state = "failing, last good policy kept"
	case p.Held > 0:
		state = fmt.Sprintf("%d objects held that the store no longer shows", p.Held)
	}
	fmt.Fprintf(w, "\nPOLICY\tINDEX\tSTORE\tOBJECTS\tREJECTED\tAGE\tSTATE\n%.12s\t%d\t%s\t%d\t%d\t%s\t%s\n",
		p.Hash, p.Index, p.Store, p.Objects, len(p.Rejected), age, state)
}

func printDispatchers(w io.Writer, st *api.Status) {
	if len(st.Dispatchers) > 0 {
		fmt.Fprintln(w, "\nDISPATCHER\tSERVICES\tADDRESS\tIN FLIGHT\tSTATE")
	}
	for _, d := range st.Dispatchers {
		services := "all others"
		if d.Services != nil {
			services = strings.Join(d.Services, " ")
		}
		state := "ok"
		if !d.Ready {
			state = oneLine(d.Error)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", d.Kind, oneLine(services), d.Address, d.InFlight, state)
	}
	if len(st.Middleware) > 0 {
		fmt.Fprintln(w, "\nMIDDLEWARE\tMODE\tMATCHED\tDOES")
		for _, m := range st.Middleware {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", oneLine(m.Name), m.Mode, m.Matched, oneLine(m.Action))
		}
	}
}

func printService(w io.Writer, s *api.ServiceStatus) {
	switch {
	case !s.Loaded:
		fmt.Fprintf(w, "%s\t%s\t-\t-\tnot asked for yet\t\t\n", s.Name, s.Resolver)
	case len(s.Instances) == 0:
		fmt.Fprintf(w, "%s\t%s\t-\t-\tno instance\t\t\n", s.Name, s.Resolver)
	}
	for _, i := range s.Instances {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.Name, s.Resolver, i.ID, i.Address, stateText(i.State, i.Canary), i.Weight, oneLine(i.Note))
	}
}

// mesh tells of the services of a resolver that no path reaches.
func mesh(r *api.ResolverStatus) string {
	if r.Mesh == 0 {
		return ""
	}
	return fmt.Sprintf(", %d more are of the mesh", r.Mesh)
}

func resolverState(r *api.ResolverStatus) string {
	switch {
	case !r.Ready:
		return "no answer yet"
	case r.Snapshot:
		return "from the last-good file"
	case r.Error != "":
		return "failing, last good answer kept"
	case r.Held != "":
		return "an older list is held"
	}
	return "ok"
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}
