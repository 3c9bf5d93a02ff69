package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"lictor/resolver"
)

// entry is what is read of one element of a health answer.
type entry struct {
	Node struct {
		Node            string
		Datacenter      string
		Address         string
		TaggedAddresses map[string]string
	}
	Service struct {
		ID              string
		Service         string
		Kind            string // "" = an ordinary service; else a sidecar or gateway of the mesh
		Address         string
		SocketPath      string
		Port            int
		CreateIndex     uint64
		ModifyIndex     uint64
		Ports           []struct{ Port int }
		Tags            []string
		Meta            map[string]string
		TaggedAddresses map[string]struct {
			Address string
			Port    int
		}
		Weights   *struct{ Passing, Warning int }
		Connect   struct{ Native bool }
		Proxy     struct{ DestinationServiceName string }
		Namespace string // "" = default
		Partition string // "" = default
	}
	Checks []check // nil once they are judged

	state       resolver.State // by the checks
	note, doubt string         // as judge has them
	mesh        string         // who its peer must be, if it is reached through the mesh

	leftOut int // it is none, but stands for so many that are left out
}

// check is one health check. Of its output only that of one that is not passing is
// kept, cut: that of a passing one may differ at every run.
type check struct {
	CheckID   string
	Name      string
	Status    string
	Notes     string
	Output    output
	Type      string
	ServiceID string
}

// output is the beginning of what a check printed, as it stands in JSON: most are
// never read.
type output string

// UnmarshalJSON implements [json.Unmarshaler].
func (o *output) UnmarshalJSON(text []byte) error {
	if *o = ""; string(text) != `""` && string(text) != "null" {
		*o = output(text[:min(len(text), maxOutput)])
	}
	return nil
}

// text is the output without escapes. What was cut within one ends before it.
func (o output) text() string {
	end := min(len(o), 1) // behind the quote
	for end < len(o) && o[end] != '"' {
		next := end + 1
		if o[end] == '\\' {
			if next++; next <= len(o) && o[next-1] == 'u' {
				next += 4
			}
		}
		if next > len(o) {
			break
		}
		end = next
	}
	var plain string
	_ = json.Unmarshal([]byte(o[:end]+`"`), &plain) // it came out of JSON
	return strings.TrimSpace(plain)
}

// Bounds of what one service may be. An answer beyond the first two is none.
const (
	maxInstances = 10_000
	maxEntry     = 1 << 20 // bytes of JSON of one instance
	maxID        = 512     // bytes; an instance with a longer one is left out
	maxNote      = 256
	maxOutput    = 512 // bytes of JSON of what a check printed
	maxProblems  = 32  // texts about one service
	maxPlaces    = 1024
	maxWeight    = 65_535 // Consul's own
)

// readHealth asks for the instances of one service. Consul does not mind the
// case of the name that is asked for: it answers with the instances of every
// service whose name differs in case only. They are other services, with rules
// of their own, so an entry counts only if it carries the very name.
func (r *Resolver) readHealth(ctx context.Context, name string, q query) ([]entry, meta, error) {
	var entries []entry
	to := readEntries(&entries, func(e *entry) bool {
		return e.Service.Service == name && (e.Service.Kind == "" || r.cfg.Everywhere)
	})
	to.apart = r.cfg.Everywhere
	m, err := r.read(ctx, "/v1/health/service/"+name, q, to)
	if to.left > 0 {
		entries = append(entries, entry{leftOut: to.left})
	}
	return entries, m, err
}

// leftOut reports how many instances are not among the entries, since they are too many
// or too long. Who wants to know where all services are registered (Config.Everywhere)
// has to know of the others: else anybody who may register a service could keep it from
// them.
func leftOut(entries []entry) (n int) {
	for i := range entries {
		n += entries[i].leftOut
	}
	return n
}

// readEntries returns what reads those elements of a health answer that are the
// service's. Of their checks only what they say is kept.
func readEntries(entries *[]entry, mine func(*entry) bool) *parts {
	p := new(parts)
	p.each = func(element []byte) error {
		if p.apart && len(*entries) == maxInstances {
			p.left++
			return nil
		}
		var e entry
		if err := json.Unmarshal(element, &e); err != nil {
			return err
		}
		if !mine(&e) {
			return nil
		}
		e.judged()
		if *entries = append(*entries, e); len(*entries) > maxInstances {
			return fmt.Errorf("consul tells of more than %d instances", maxInstances)
		}
		return nil
	}
	return p
}

// judged has the checks say what they say, after which nobody needs them.
func (e *entry) judged() {
	slices.SortFunc(e.Checks, func(a, b check) int { return strings.Compare(a.CheckID, b.CheckID) })
	e.state, e.note, e.doubt = judge(e.Checks)
	e.note, e.doubt = cut(e.note, maxNote+maxOutput), cut(e.doubt, maxNote)
	e.Checks = nil
}

// sighting is one instance as Consul lists it.
type sighting struct {
	resolver.Instance
	doubt string // it is critical only for something that Consul does not know; "" = its state is a verdict
}

// sightings reads the entries, ordered by ID. What cannot be
// dialled is no instance; the problems say why.
func (r *Resolver) sightings(entries []entry) ([]sighting, resolver.Options, []string) {
	var p problems
	var metas, canaries []resolver.InstanceMeta
	seen := make([]sighting, 0, len(entries))
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.id(), b.id()) })
	for i := range entries {
		e := &entries[i]
		s := sighting{Instance: resolver.Instance{ID: e.id(), Datacenter: e.Node.Datacenter}}
		address, why := r.address(e)
		switch {
		case e.leftOut > 0:
			continue
		case why != "":
		case len(s.ID) > maxID:
			why = fmt.Sprintf("its ID is longer than %d bytes", maxID)
		case len(seen) > 0 && seen[len(seen)-1].ID == s.ID:
			why = "it is listed twice"
		}
		if why != "" {
			p.say(cut(s.ID, maxNote) + ": " + why)
			continue
		}
		s.Address = address
		s.TLS, s.Protocol = resolver.MetaWrong(p.add).Protocol(s.ID, e.Service.Meta)
		s.Canary = resolver.MetaWrong(p.add).Canary(s.ID, e.Service.Meta)
		if s.Mesh = e.mesh; s.Mesh != "" {
			s.TLS = false // the mesh has its own
		}
		s.State, s.Note, s.doubt = e.state, e.note, e.doubt
		s.Weight = e.weight(s.State, r.cfg.PassingOnly)
		seen = append(seen, s)
		if s.Canary {
			canaries = append(canaries, resolver.InstanceMeta{ID: s.ID, Meta: e.Service.Meta})
		} else {
			metas = append(metas, resolver.InstanceMeta{ID: s.ID, Meta: e.Service.Meta})
		}
	}
	options := resolver.MetaWrong(p.add).Options(append(metas, canaries...)) // a canary changes nothing for the others
	return seen, options, p.texts
}

// id is unique in the service: a service's ID is unique at its agent only.
func (e *entry) id() string { return e.Node.Node + "/" + e.Service.ID }

// weight returns the instance's share in the given state.
func (e *entry) weight(state resolver.State, passingOnly bool) int {
	passing, warning := 1, 1
	if w := e.Service.Weights; w != nil {
		passing, warning = w.Passing, w.Warning
	}
	switch {
	case state != resolver.Warning:
		return min(max(passing, 0), maxWeight)
	case passingOnly:
		return 0
	default:
		return min(max(warning, 0), maxWeight)
	}
}

// cut shortens what is shown only.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// judge returns the worst of the checks: maintenance, critical, warning,
// passing. doubt is set if all that is critical is so only because Consul does
// not know: the agent of the node is not seen, or a check has not run yet.
func judge(checks []check) (state resolver.State, note, doubt string) {
	state = resolver.Passing
	verdict := false
	for i := range checks {
		c := &checks[i]
		switch {
		case c.CheckID == "_node_maintenance" || strings.HasPrefix(c.CheckID, "_service_maintenance:"):
			return resolver.Maintenance, c.Notes, ""
		case c.Status == "passing":
		case c.Status == "warning":
			if state == resolver.Passing {
				state, note = resolver.Warning, "warning: "+c.told()
			}
		default: // critical, and whatever a later Consul may invent
			unknown := c.unknown()
			if state != resolver.Critical || unknown == "" && !verdict {
				state, note = resolver.Critical, "critical: "+c.told()
			}
			if doubt = unknown; unknown == "" {
				verdict = true
			}
		}
	}
	if verdict {
		doubt = ""
	}
	return state, note, doubt
}

// told is the name of a check and what it printed.
func (c *check) told() string {
	if printed := c.Output.text(); printed != "" {
		return cut(c.Name, maxNote) + ": " + printed
	}
	return cut(c.Name, maxNote)
}

// unknown returns why a critical check is no verdict on the service; "" if it
// is one. A check without a type is run by no agent, so it cannot be waited for.
func (c *check) unknown() string {
	switch {
	case c.CheckID == "serfHealth" && c.ServiceID == "":
		return "the agent of its node is not seen"
	case c.Output == "" && c.Type != "" && c.Type != "ttl" && c.Status == "critical":
		return "not checked yet: " + c.Name
	default:
		return ""
	}
}
