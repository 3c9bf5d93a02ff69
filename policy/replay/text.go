package replay

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Print writes a report for people; shown makes what others wrote harmless.
func (r *Report) Print(out io.Writer, shown func(string) string) error {
	if r.Records == 0 {
		fmt.Fprintln(out, "No decision is recorded.")
	} else {
		const form = "2006-01-02 15:04:05"
		fmt.Fprintf(out, "%s decisions, %s to %s UTC\n", thousands(r.Records), r.From.UTC().Format(form), r.To.UTC().Format(form))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	told := false
	for i := range r.Groups {
		if g := &r.Groups[i]; g.Class == Unknown && !told {
			fmt.Fprintf(w, "SAME\t%s\n", thousands(r.Same))
			told = true
		}
		fmt.Fprintln(w, r.Groups[i].line(shown))
	}
	if !told {
		fmt.Fprintf(w, "SAME\t%s\n", thousands(r.Same))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Silent) > 0 {
		fmt.Fprintf(out, "Not exercised: %d of %d changed rules\n", len(r.Silent), r.Changed)
		const most = 50
		for i, rule := range r.Silent {
			if i == most {
				fmt.Fprintf(out, "  ... and %d more\n", len(r.Silent)-most)
				break
			}
			fmt.Fprintf(out, "  %s\n", shown(rule))
		}
	}
	if r.Sampled {
		fmt.Fprintln(out, "The log holds a sample: what is not in it was not tried.")
	}
	if r.Left != (Left{}) {
		fmt.Fprintf(out, "Left out: %s lines that are no records, %s of another version\n", thousands(r.Left.Garbage), thousands(r.Left.Versions))
	}
	if r.Partial {
		fmt.Fprintln(out, "The time was up before the end of the log.")
	}
	return nil
}

func (g *Group) line(shown func(string) string) string {
	what := strings.TrimSpace(strings.TrimPrefix(g.Rule, "policy/") + " " + g.Entry)
	if what == "" || g.Class == Unknown {
		what = g.Why
	}
	if g.Removed {
		what += " (removed)"
	}
	who := strings.Join(g.Consumers, ", ")
	switch {
	case g.More:
		who = "consumers " + who + " ..."
	case len(g.Consumers) > 1:
		who = "consumers " + who
	case who != "anonymous":
		who = "consumer " + who
	}
	e := &g.Example
	target := e.Path
	if e.Listener == "egress" {
		target = e.Host + e.Path
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s (req %s)", strings.ToUpper(string(g.Class)), thousands(g.Count), shown(what), shown(who), shown(e.Method+" "+target), shown(e.ID))
}

// thousands parts digits by commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
