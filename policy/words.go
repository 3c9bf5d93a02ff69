package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Words says in plain words what a rule does: a sentence for each entry of a list,
// and one for an object of another kind. It judges by the object alone, and tells no
// secret. The object is one that [Check] has completed (R5).
func Words(o Object) []string {
	switch x := o.(type) {
	case *List:
		return x.words()
	case *Consumer:
		return []string{"Is known by the keys and tokens that name " + sayID(x.Name, x.ID) + after(", and is a member of ", and(x.Groups)) + "."}
	case *Credential:
		return []string{"Is a key of " + x.Consumer + after(", until ", day(x.NotAfter)) + "."}
	case *Group:
		return []string{"Is a group" + after(" that has the plugins ", and(x.Plugins)) + "."}
	case *Filter:
		return []string{"Matches " + x.words() + "."}
	case *Plugin:
		return []string{x.words()}
	case *ACL:
		return []string{only(x.Mode) + x.words()}
	case *PluginMapping:
		return []string{x.words()}
	case *API:
		return []string{x.words()}
	case *Mapping:
		return []string{"Sends requests for the host " + x.Domain + " to " + or(x.Backends) + "."}
	}
	return nil
}

// only begins a sentence about a rule in report mode.
func only(m Mode) string {
	if m.Reports() {
		return "Reports alone, and refuses nothing: "
	}
	return ""
}

func (l *List) words() (all []string) {
	verb := "refuses"
	if l.Allow {
		verb = "is what whitelists let through:"
	}
	for _, text := range l.Entries {
		e, err := parseEntry(text)
		if err != nil {
			continue
		}
		r := &listRule{entry: e}
		var parts []string
		if l.Direction.covers(Ingress) && r.speaksAt(gateway) {
			parts = append(parts, "at the gateway "+e.incoming())
		}
		if l.Direction.covers(Egress) && r.speaksAt(egress) {
			parts = append(parts, "at the egress "+e.outgoing())
		}
		if len(parts) > 0 {
			all = append(all, only(l.Mode)+text+" "+verb+" "+strings.Join(parts, ", ")+after(", for ", subjects(l.Consumers, l.Groups, "or"))+".")
		}
	}
	return all
}

// incoming says which requests to the gateway an entry speaks of.
func (e *entry) incoming() string {
	switch {
	case e.service != "":
		return "requests to the service " + e.service
	case e.prefix.IsValid():
		return "clients " + e.where()
	case !e.isPath():
		return "requests for " + e.where()
	}
	return withMethod(e.method) + e.below()
}

// outgoing says which requests of the forward proxy an entry speaks of.
func (e *entry) outgoing() string {
	switch {
	case e.service != "":
		return "addresses that are registered for the service " + e.service
	case e.isPath():
		return withMethod(e.method) + e.below() + fmt.Sprintf(" on port %d", e.port)
	case e.port != 0:
		return fmt.Sprintf("destinations %s, port %d", e.where(), e.port)
	}
	return "destinations " + e.where()
}

func withMethod(method string) string {
	if method == "" {
		return "requests"
	}
	return method + " requests"
}

// below says which paths an entry covers, and of which host.
func (e *entry) below() string {
	text := after(" for the host ", e.host)
	if path := e.paths[0]; path != "" {
		return text + " below " + path
	}
	return text + " for any path"
}

// where says which hosts or addresses an entry covers.
func (e *entry) where() string {
	switch {
	case e.prefix.IsSingleIP():
		return "at " + e.prefix.Addr().String()
	case e.prefix.IsValid():
		return "in " + e.prefix.String()
	case e.scope == hostDomain:
		return e.host + " and all hosts below it"
	case e.scope == hostSubdomains:
		return "all hosts below " + e.host
	}
	return "the host " + e.host
}

func (f *Filter) words() string {
	text := "requests"
	if len(f.Methods) > 0 {
		text = or(f.Methods) + " requests"
	}
	return text + after(" for the host ", or(f.Hosts)) + after(" below ", or(f.Paths)) + after(" from ", or(f.IPs)) + after(" from the country ", or(f.Locations))
}

func (a *ACL) words() string {
	who := "Anyone may use "
	if !a.anyone() {
		who = "Lets " + subjects(a.Consumers, a.Groups, "and") + " use "
	}
	others := ", and closes it to all whom no ACL of it lets in."
	return who + a.API + filtered(a.Filters) + others
}

func filtered(filters []string) string { return after(" with requests that match ", or(filters)) }

// words says what a plugin does where, with the settings that are no secrets.
func (p *Plugin) words() string {
	if !p.enabled() {
		return "Is switched off: " + p.Name + "."
	}
	where := " everywhere, until a mapping names it"
	if p.Global != nil && !*p.Global {
		where = " where it is mapped"
	}
	shown := p.Shown()
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		value, _ := json.Marshal(shown[name]) // it was read from a document
		settings = append(settings, fmt.Sprintf("%s = %.200s", name, value))
	}
	return only(p.Mode) + "Runs " + p.Name + where + after(", with ", strings.Join(settings, ", ")) + "."
}

func (m *PluginMapping) words() string {
	what := after("the plugins ", and(m.Plugins))
	if what == "" {
		what = "the plugins of its groups"
	}
	api := "every API"
	if m.API != "" {
		api = m.API
	}
	return "Has " + what + " run for " + api + after(", for ", subjects(m.Consumers, m.Groups, "and")) + filtered(m.Filters) + "."
}

func (a *API) words() string {
	target := a.ServiceName()
	if len(a.Backends) > 0 {
		target = or(a.Backends)
	}
	what := "requests for " + a.Name
	if len(a.Filters) > 0 {
		what = "requests that match " + or(a.Filters)
	}
	return "Sends " + what + " to " + target + after(", and lets these headers pass neither in nor out: ", and(a.ProtectedHeaders)) + "."
}

// sayID adds an id to a name that is another one.
func sayID(name, id string) string {
	if id == "" || id == name {
		return name
	}
	return name + " (id " + id + ")"
}

// subjects says whom two lists name; "" if they name nobody.
func subjects(consumers, groups []string, word string) string {
	return strings.TrimPrefix(after("", join(consumers, word))+after(" "+word+" ", groupsOf(groups)), " "+word+" ")
}

func groupsOf(groups []string) string { return after("members of ", or(groups)) }

// after puts text behind other text, if there is any.
func after(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func and(names []string) string { return join(names, "and") }
func or(names []string) string  { return join(names, "or") }

// maxNames is how many names a sentence lists.
const maxNames = 12

// join lists names as prose does.
func join(names []string, word string) string {
	if n := len(names); n > maxNames {
		names = append(slices.Clone(names[:maxNames]), fmt.Sprintf("%d others", n-maxNames))
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " " + word + " " + names[last]
}
