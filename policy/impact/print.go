package impact

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// most bounds how many names, and lines, are printed; [Report.Lines] has all.
const (
	mostNames = 6
	mostLines = 200
)

// Print writes the report for people.
func (rep *Report) Print(out io.Writer) error {
	var b strings.Builder
	for i := range rep.Lines {
		if i == mostLines {
			fmt.Fprintf(&b, "... and %s more lines, which -json has\n", thousands(len(rep.Lines)-mostLines))
			break
		}
		b.WriteString(rep.Lines[i].String() + "\n")
	}
	for _, m := range rep.Moves {
		fmt.Fprintf(&b, "MOVES   %s: what passes before and after goes to %s instead of %s\n", oneLine(m.API), oneLine(m.After), oneLine(m.Before))
	}
	for _, text := range rep.Aside {
		fmt.Fprintf(&b, "not decided here: %s\n", oneLine(text))
	}
	if len(rep.Changed) > 0 {
		fmt.Fprintf(&b, "never decided here: %s\n", Never)
	}
	if rep.ClosedEntries > 0 && len(rep.Lines) > 0 {
		fmt.Fprintf(&b, "left out: what %s refuse before and after\n", plural(rep.ClosedEntries, "entry of blacklists", "entries of blacklists"))
	}
	b.WriteString(rep.Proven())
	_, err := io.WriteString(out, b.String())
	return err
}

// Proven says what was proven, and what was not.
func (rep *Report) Proven() string {
	var b strings.Builder
	classes, roads := 0, 0
	missing := make(map[string][]string)
	for _, p := range rep.Roads {
		classes += p.Classes
		if p.Classes > 0 {
			roads++
		}
		if p.Missing != "" {
			why := p.Missing
			if p.Would > 0 {
				why += fmt.Sprintf(" (%s, and %s at most, %s of all APIs)", approximately(p.Would), thousands(MaxClasses), thousands(MaxTotal))
			}
			missing[why] = append(missing[why], p.Road)
		}
	}
	for _, why := range sortedKeys(missing) {
		fmt.Fprintf(&b, "NOT PROVEN: %s: %s\n", oneLine(strings.Join(few(missing[why]), ", ")), oneLine(why))
	}
	switch {
	case rep.Complete:
		fmt.Fprintf(&b, "proof: %s of %s, complete\n", plural(classes, "class", "classes"), plural(roads, "API", "APIs"))
	case classes > 0:
		fmt.Fprintf(&b, "proof: %s of %s, not complete\n", plural(classes, "class", "classes"), plural(roads, "API", "APIs"))
	default:
		b.WriteString("proof: none\n")
	}
	return b.String()
}

// String is the line for people.
func (l *Line) String() string {
	parts := []string{fmt.Sprintf("%-6s  %s", l.Effect, oneLine(strings.TrimSpace(shortRule(l.Rule)+" "+l.Entry)))}
	add := func(before string, names []string) {
		if len(names) > 0 {
			parts = append(parts, before+oneLine(strings.Join(few(names), ", ")))
		}
	}
	add("", peopleText(l.Consumers))
	parts = append(parts, oneLine(methodsText(l.Methods)))
	add("", l.Paths)
	add("hosts ", l.Hosts)
	add("ports ", l.Ports)
	add("from ", l.From)
	add("countries ", l.Countries)
	text := strings.Join(parts, "  ")
	if l.Example != nil {
		text += "\n        e.g. " + oneLine(l.Example.String()) + ": " + map[Effect]string{Opens: "was ", Closes: "is then "}[l.Effect] + fmt.Sprintf("%d %s", l.Example.Status, l.Reason)
	} else {
		text += "\n        no such request is known, and none is ruled out"
	}
	return text
}

// shortRule names a rule for people: of a key the first digits of its hash.
func shortRule(key string) string {
	key = strings.TrimPrefix(key, "policy/")
	if i := strings.Index(key, "credentials/"); i >= 0 && len(key) > i+20 {
		return key[:i+20]
	}
	return key
}

// peopleText tells consumers from who is none.
func peopleText(names []string) []string {
	var known, unknown []string
	for _, n := range names {
		if n == nobody {
			unknown = []string{n}
		} else {
			known = append(known, n)
		}
	}
	if len(known) > 0 {
		known = few(known)
		known[0] = "consumers " + known[0]
	}
	return append(slices.Clone(known), unknown...)
}

// methodsText names methods. What is meant in upper case and in any other is named
// once.
func methodsText(names []string) string {
	if names == nil {
		return "any method"
	}
	return strings.Join(few(distinct(names)), ",")
}

// String is the request as a command line would have it.
func (e *Example) String() string {
	text := e.Method + " "
	if e.Preflight {
		text = "preflight of "
	}
	text += e.Path + " as "
	switch {
	case e.Before == e.After && e.Before == "":
		text += nobody
	case e.Before == e.After:
		text += e.Before
	default:
		text += cmp.Or(e.Before, nobody) + ", then " + cmp.Or(e.After, nobody)
	}
	if e.Host != "" {
		text += " to " + e.Host
		if e.Port != 0 {
			text += ":" + portText(e.Port)
		}
	}
	text += " from " + e.From.String()
	if e.Country != "" {
		text += " in " + e.Country
	}
	return text
}
