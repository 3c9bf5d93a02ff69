package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"lictor/admin/api"
	"lictor/policy"
)

// headerFlag collects header fields: -H 'K: V', as often as wanted.
type headerFlag struct{ api.Headers }

func (h *headerFlag) String() string { return "" }

func (h *headerFlag) Set(s string) error {
	name, value, ok := strings.Cut(s, ":")
	if !ok || name == "" {
		return errors.New("want 'Name: value'")
	}
	if h.Headers == nil {
		h.Headers = api.Headers{}
	}
	h.Headers[name] = append(h.Headers[name], strings.TrimSpace(value))
	return nil
}

func explainCommand(stdout io.Writer) *command {
	c := newCommand("explain", "Say why a request would be let through or not", "[-X METHOD] [-H 'K: V'].. [-from IP] [-consumer NAME] [-listener NAME | -egress] [-exit-code] URL",
		"Asks a running lictor what would become of a request, and which rule says so.\n"+
			"URL is a path (/service/x) or absolute, then its host counts as the Host.\n"+
			"Nothing is sent to a backend, no limit is used up.")
	c.takes = "a URL"
	var client adminClient
	client.flags(c.flags)
	var q api.Question
	var headers headerFlag
	c.flags.StringVar(&q.Method, "X", http.MethodGet, "`method` of the request")
	c.flags.Var(&headers, "H", "`'Name: value'` of a header field; may be repeated")
	c.flags.StringVar(&q.From, "from", "", "`IP` that the request comes from (default 127.0.0.1)")
	c.flags.StringVar(&q.Consumer, "consumer", "", "`name` or id of the consumer whose the request is, without a key of theirs")
	c.flags.StringVar(&q.Listener, "listener", "", "`name` of the listener of the gateway at which the request comes in (default its own)")
	c.flags.BoolVar(&q.Egress, "egress", false, "ask the forward proxy instead of the gateway")
	asJSON := c.flags.Bool("json", false, "print the answer of /explain as it is")
	exitCode := c.exitCode("if the request would not be served")
	c.run = func() error {
		q.URL, q.Headers = c.arg, headers.Headers
		body, err := client.ask("/explain", &q)
		if err != nil {
			return err
		}
		e, err := show(stdout, body, *asJSON, func(out io.Writer, e *api.Explanation) error { return printExplanation(out, q.Method, e) })
		if err == nil && *exitCode && (!e.Allowed || e.Status >= 400) {
			err = errNotWell
		}
		return err
	}
	return c
}

// printExplanation writes an explanation for people: first what happens, then
// the rule that says so and where it is stored, then the rest.
func printExplanation(out io.Writer, method string, e *api.Explanation) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, outcome(e))
	if rule, note := speaker(e); rule != nil {
		fmt.Fprintf(w, "  rule\t%s\n", ruleText(rule))
		if note != "" {
			fmt.Fprintf(w, "  note\t%s\n", oneLine(note))
		}
	} else if note != "" {
		fmt.Fprintf(w, "  why\t%s\n", oneLine(note))
	}
	fmt.Fprintf(w, "\n  request\t%s %s\n", oneLine(method), oneLine(e.Path.Received))
	if e.Path.Canonical != "" && e.Path.Canonical != e.Path.Received {
		fmt.Fprintf(w, "  read as\t%s\n", oneLine(e.Path.Canonical))
	}
	fmt.Fprintf(w, "  client\t%s (from %s)\n", e.Client.Address, e.Client.From)
	if r := e.Route; r != nil {
		fmt.Fprintf(w, "  route\tAPI %s, by %s%s\n", r.API, r.By, storedAt(r.Rule))
		if r.Claim != "" {
			fmt.Fprintf(w, "  claimed\t%s, by the registration of %s\n", oneLine(r.Claim), oneLine(r.Service))
		}
		if r.Service != "" && r.Service != r.API {
			fmt.Fprintf(w, "  service\t%s\n", oneLine(r.Service))
		}
	}
	if c := e.Consumer; c != nil {
		fmt.Fprintf(w, "  consumer\t%s%s\n", oneLine(c.Name), inParens("groups ", c.Groups))
	}
	printSteps(w, e.Steps)
	printPlugins(w, e.Plugins)
	printDispatch(w, e)
	if e.Policy.Hash != "" {
		fmt.Fprintf(w, "\npolicy %.12s at index %d%s\n", e.Policy.Hash, e.Policy.Index, agoText(e.Policy.AgeSeconds))
	}
	return w.Flush()
}

func outcome(e *api.Explanation) string {
	switch {
	case !e.Allowed && e.Reason == "" && e.Status < 300:
		return fmt.Sprintf("ANSWERED by lictor: %d", e.Status) // a preflight
	case !e.Allowed:
		return fmt.Sprintf("REFUSED: %d %s", e.Status, e.Reason)
	case e.Status >= 400:
		return fmt.Sprintf("ALLOWED, but not served: %d %s", e.Status, e.Reason)
	}
	return "ALLOWED"
}

// speaker returns the rule that settled it and what is noted about it; a
// refusal may have no rule.
func speaker(e *api.Explanation) (*policy.Rule, string) {
	if e.Allowed {
		return nil, ""
	}
	for _, s := range e.Steps {
		if s.Verdict == "deny" {
			return s.Rule, s.Note
		}
	}
	return nil, ""
}

func ruleText(r *policy.Rule) string {
	text := oneLine(r.Key)
	if r.Entry != "" {
		text += fmt.Sprintf(" entry %s", oneLine(r.Entry))
	}
	return text + fmt.Sprintf(" (index %d)", r.Index)
}

func storedAt(r *policy.Rule) string {
	if r == nil {
		return ""
	}
	return ", " + ruleText(r)
}

func inParens(before string, list []string) string {
	if len(list) == 0 {
		return ""
	}
	return " (" + before + oneLine(strings.Join(list, ", ")) + ")"
}

func printSteps(w io.Writer, steps []policy.Step) {
	if len(steps) == 0 {
		return
	}
	fmt.Fprintln(w, "\nSTEP\tVERDICT\tRULE\tNOTE")
	for _, s := range steps {
		rule := "-"
		if s.Rule != nil {
			rule = ruleText(s.Rule)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Step, s.Verdict, rule, oneLine(s.Note))
	}
}

func printPlugins(w io.Writer, plugins map[string]policy.PluginUse) {
	if len(plugins) == 0 {
		return
	}
	fmt.Fprintln(w, "\nPLUGIN\tWON BY\tRULE\tCONFIG\tLEFT")
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		p := plugins[name]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, p.WonBy, ruleText(&p.Rule), oneLine(pairs(p.Config)), pairs(p.Remaining))
	}
}

func pairs[V any](m map[string]V) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, fmt.Sprintf("%s=%v", name, m[name]))
	}
	return strings.Join(all, " ")
}

func printDispatch(w io.Writer, e *api.Explanation) {
	if e.Dispatch == nil {
		return
	}
	fmt.Fprintf(w, "\nGOES TO\tADDRESS\tSTATE\t(%s, path %s)\n", e.Dispatch.Kind, oneLine(e.Path.Forwarded))
	if len(e.Dispatch.Instances) == 0 {
		fmt.Fprintln(w, "nobody\t-\t-\t")
	}
	for _, i := range e.Dispatch.Instances {
		mark := oneLine(i.Note)
		if i.Chosen {
			mark = strings.TrimSpace("<- next " + mark)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", oneLine(i.ID), i.Address, stateText(i.State, i.Canary), mark)
	}
	if e.Dispatch.Intention != "" {
		fmt.Fprintf(w, "\n  intention\t%s\n", oneLine(e.Dispatch.Intention))
	}
}

// stateText is the state of an instance, and whether it is a canary.
func stateText(state string, canary bool) string {
	if canary {
		return state + ", canary"
	}
	return state
}

func agoText(age *float64) string {
	if age == nil {
		return ""
	}
	return ", " + seconds(*age) + " old"
}
