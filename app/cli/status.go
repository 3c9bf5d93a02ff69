package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"lictor/admin/api"
	"lictor/internal/pace"
)

func statusCommand(stdout io.Writer) *command {
	c := newCommand("status", "Show services, instances and how fresh they are", "[-json | -watch] [-exit-code]",
		"Asks a running lictor what it knows. On a terminal, tables are cut to its width;\nproblems, and all that goes into a pipe, are whole.")
	var client adminClient
	client.flags(c.flags)
	asJSON := c.flags.Bool("json", false, "print the answer of /status as it is")
	watch := c.flags.Bool("watch", false, "print it again every two seconds, until interrupted")
	exitCode := c.exitCode("if lictor is not ready or has problems")
	c.run = func() error {
		if *watch {
			if *asJSON || *exitCode {
				return &usageError{errors.New("lictor status: -watch goes with neither -json nor -exit-code")}
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return watchStatus(ctx, stdout, &client)
		}
		body, err := client.get("/status")
		if err != nil {
			return err
		}
		st, err := show(stdout, body, *asJSON, printStatus)
		if err == nil && *exitCode && (!st.Ready || len(st.Problems) > 0) {
			err = errNotWell
		}
		return err
	}
	return c
}

// watchEvery is how long -watch leaves what it printed before it asks again.
const watchEvery = 2 * time.Second

// watchStatus prints the status again and again until ctx ends. A lictor that does
// not answer is told in its place, and asked again: it may be starting.
func watchStatus(ctx context.Context, out io.Writer, client *adminClient) error {
	for {
		var text strings.Builder
		body, err := client.get("/status")
		if err == nil {
			_, err = show(&text, body, false, func(_ io.Writer, st *api.Status) error {
				text.WriteString(watchText(st, terminalOf(out)))
				return nil
			})
		}
		if err != nil {
			text.WriteString(harmlessLines(err.Error()) + "\n")
		}
		if terminalOf(out) != (terminal{}) {
			fmt.Fprint(out, "\x1b[H\x1b[2J") // to the upper left corner, and erase
		}
		if _, err := fmt.Fprintf(out, "%s\n", text.String()); err != nil {
			return err
		}
		if pace.Sleep(ctx, watchEvery) != nil {
			return nil //nolint:nilerr // who watches has seen enough
		}
	}
}

// watchText is what fits into a terminal: the problems whole, and of the tables
// what is left.
func watchText(st *api.Status, t terminal) string {
	head, tables, problems := statusHead(st), t.cut(statusTables(st)), problemsText(st)
	if t.height == 0 {
		return head + tables + problems
	}
	lines := slices.Collect(strings.Lines(tables))
	room := max(t.height-1-t.rows(head)-t.rows(problems), 1)
	if len(lines) > room {
		more := t.cut(fmt.Sprintf("… %d more lines\n", len(lines)-room+1))
		lines = append(lines[:room-1:room-1], more)
	}
	return head + strings.Join(lines, "") + problems
}

// printStatus writes st for people.
func printStatus(out io.Writer, st *api.Status) error {
	_, err := io.WriteString(out, statusHead(st)+terminalOf(out).cut(statusTables(st))+problemsText(st))
	return err
}

// problemsText is the problems, each whole: the end of one is what matters most.
func problemsText(st *api.Status) string {
	if len(st.Problems) == 0 {
		return ""
	}
	return "\nPROBLEMS\n" + strings.Join(st.Problems, "\n") + "\n"
}

// statusHead is the first line, whole: it says why lictor is not ready.
func statusHead(st *api.Status) string {
	ready := "ready"
	if !st.Ready {
		ready = "NOT READY: " + strings.Join(st.NotReady, "; ")
	}
	return fmt.Sprintf("lictor %s (commit %s, %s), up %s, %s\n", st.Version, st.Commit, st.Go, seconds(float64(st.UptimeSeconds)), ready)
}

// statusTables is what a terminal may cut.
func statusTables(st *api.Status) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nLISTENER\tADDRESS")
	for _, l := range st.Listeners {
		fmt.Fprintf(w, "%s\t%s\n", l.Name, l.Address)
	}
	printLictors(w, st.Lictors)
	printCertificates(w, st.Certificates)
	printPolicy(w, st.Policy)
	printFeeds(w, st.Feeds)
	fmt.Fprintln(w, "\nRESOLVER\tSERVICES\tWATCHES\tAGE\tSTATE")
	for _, r := range st.Resolvers {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", r.Kind, r.Services, r.Watches, age(r.AgeSeconds), resolverState(&r)+mesh(&r))
	}
	printDispatchers(w, st)
	printKeySets(w, st.KeySets)
	if len(st.Services) > 0 {
		fmt.Fprintln(w, "\nSERVICE\tRESOLVER\tINSTANCE\tADDRESS\tSTATE\tFOR\tWEIGHT\tIN FLIGHT\tP50\tP99\tNOTE")
		for _, s := range st.Services {
			printService(w, &s)
		}
	}
	_ = w.Flush() // a builder takes all
	return text.String()
}

func printLictors(w io.Writer, all *api.LictorsStatus) {
	if all == nil || len(all.Live) == 0 {
		return
	}
	fmt.Fprintln(w, "\nLICTOR\tNODE\tADDRESS\tPOLICY\tSTATE")
	for _, l := range all.Live {
		state := "the same policy"
		switch {
		case l.Self:
			state = "this one"
		case l.Differs != nil:
			state = "another policy for " + seconds(time.Since(*l.Differs).Seconds())
		case l.Policy == "":
			state = "does not tell its policy"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", harmless(l.ID), harmless(l.Node), harmless(l.Address), harmless(l.Policy), state)
	}
}

func printCertificates(w io.Writer, all []api.Certificate) {
	if len(all) > 0 {
		fmt.Fprintln(w, "\nCERTIFICATE\tLISTENER\tEXPIRES\tDAYS")
	}
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", oneLine(c.Name), c.Listener, c.Expires.UTC().Format(time.RFC3339), c.Days)
	}
}

// age is how old something is, "-" if nobody knows.
func age(of *float64) string {
	if of == nil {
		return "-"
	}
	return seconds(*of)
}

func printPolicy(w io.Writer, p *api.PolicyStatus) {
	if p == nil {
		return
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
		p.Hash, p.Index, p.Store, p.Objects, len(p.Rejected), age(p.AgeSeconds), state)
}

func printFeeds(w io.Writer, all []api.FeedStatus) {
	if len(all) > 0 {
		fmt.Fprintln(w, "\nFEED\tENTRIES\tBAD LINES\tAGE\tSTATE")
	}
	for _, f := range all {
		state := "ok"
		switch {
		case f.Error != "":
			state = oneLine(f.Error)
		case !f.Known:
			state = "not read yet"
		case f.LastGood:
			state = "from the last-good file"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", oneLine(f.Name), f.Entries, f.BadLines, age(f.AgeSeconds), state)
	}
}

func printKeySets(w io.Writer, all []api.KeySetStatus) {
	if len(all) > 0 {
		fmt.Fprintln(w, "\nKEYS FOR TOKENS\tKEYS\tAGE\tSTATE")
	}
	for _, k := range all {
		state := "ok"
		switch {
		case k.Error != "":
			state = oneLine(k.Error)
		case k.LastGood:
			state = "from the last-good file"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", oneLine(k.URL), k.Keys, age(k.AgeSeconds), state)
	}
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
			state = harmless(d.Error)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", d.Kind, harmless(services), d.Address, d.InFlight, state)
	}
	if len(st.Middleware) > 0 {
		fmt.Fprintln(w, "\nMIDDLEWARE\tMODE\tMATCHED\tDOES")
		for _, m := range st.Middleware {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", harmless(m.Name), m.Mode, m.Matched, harmless(m.Action))
		}
	}
}

func printService(w io.Writer, s *api.ServiceStatus) {
	switch {
	case !s.Loaded:
		fmt.Fprintf(w, "%s\t%s\t-\t-\tnot asked for yet\t\t\t\t\t\t\n", s.Name, s.Resolver)
	case len(s.Instances) == 0:
		fmt.Fprintf(w, "%s\t%s\t-\t-\tno instance\t\t\t\t\t\t\n", s.Name, s.Resolver)
	}
	for _, i := range s.Instances {
		lasts := ""
		if i.Since != nil {
			lasts = seconds(time.Since(*i.Since).Seconds())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", s.Name, s.Resolver, i.ID, i.Address, stateText(i.State, i.Canary), lasts,
			i.Weight, i.InFlight, tookText(i.P50MS), tookText(i.P99MS), harmless(i.Note))
	}
}

// tookText is how long answers took, "" if there were none.
func tookText(ms float64) string {
	if ms == 0 {
		return ""
	}
	return time.Duration(ms * float64(time.Millisecond)).String()
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
