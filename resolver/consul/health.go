package consul

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"lictor/resolver"
)

// entry is what is read of one element of a health answer.
type entry struct {
	Node struct {
		Node            string
		Address         string
		TaggedAddresses map[string]string
	}
	Service struct {
		ID              string
		Service         string
		Address         string
		Port            int
		Tags            []string
		Meta            map[string]string
		TaggedAddresses map[string]struct {
			Address string
			Port    int
		}
		Weights *struct{ Passing, Warning int }
	}
	Checks []check
}

// check is one health check. Its output may differ at every run and is not kept.
type check struct {
	CheckID   string
	Name      string
	Status    string
	Notes     string
	Output    present
	Type      string
	ServiceID string
}

// present reads a JSON string as whether there is anything in it.
type present bool

// UnmarshalJSON implements [json.Unmarshaler].
func (p *present) UnmarshalJSON(text []byte) error {
	*p = string(text) != `""` && string(text) != "null"
	return nil
}

// readHealth asks for the instances of one service. Consul does not mind the
// case of the name that is asked for: it answers with the instances of every
// service whose name differs in case only. They are other services, with rules
// of their own, so an entry counts only if it carries the very name.
func (r *Resolver) readHealth(ctx context.Context, name string, q query) ([]entry, meta, error) {
	var entries []entry
	m, err := r.read(ctx, "/v1/health/service/"+name, q, &entries)
	return slices.DeleteFunc(entries, func(e entry) bool { return e.Service.Service != name }), m, err
}

// sighting is one instance as Consul lists it.
type sighting struct {
	resolver.Instance
	doubt string // it is critical only for something that Consul does not know; "" = its state is a verdict
}

// sightings reads the entries that carry the tag, ordered by ID.
func (r *Resolver) sightings(entries []entry) ([]sighting, resolver.Options, []string) {
	var p problems
	var metas []instanceMeta
	seen := make([]sighting, 0, len(entries))
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.id(), b.id()) })
	for i := range entries {
		e := &entries[i]
		if r.cfg.Tag != "" && !slices.Contains(e.Service.Tags, r.cfg.Tag) {
			continue
		}
		s := sighting{Instance: resolver.Instance{ID: e.id()}}
		s.TLS, s.Protocol = p.protocol(s.ID, e.Service.Meta)
		s.Address = r.address(e, s.TLS)
		slices.SortFunc(e.Checks, func(a, b check) int { return strings.Compare(a.CheckID, b.CheckID) })
		s.State, s.Note, s.doubt = judge(e.Checks)
		s.Weight = e.weight(s.State, r.cfg.PassingOnly)
		seen = append(seen, s)
		metas = append(metas, instanceMeta{s.ID, e.Service.Meta})
	}
	options := p.options(metas)
	return seen, options, p.texts
}

// id is unique in the service: a service's ID is unique at its agent only.
func (e *entry) id() string { return e.Node.Node + "/" + e.Service.ID }

// address returns where to dial: the tagged address if one is asked for and
// there, else the service's own, else that of its node.
func (r *Resolver) address(e *entry, tls bool) string {
	host, port := e.Service.Address, e.Service.Port
	tagged, ok := e.Service.TaggedAddresses[r.cfg.TaggedAddress]
	switch {
	case ok && tagged.Address != "":
		host = tagged.Address
		if tagged.Port != 0 {
			port = tagged.Port
		}
	case host == "":
		host = e.Node.Address
		if a := e.Node.TaggedAddresses[r.cfg.TaggedAddress]; a != "" {
			host = a
		}
	}
	switch {
	case port != 0:
	case tls:
		port = 443
	default:
		port = 80
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// weight returns the instance's share in the given state.
func (e *entry) weight(state resolver.State, passingOnly bool) int {
	passing, warning := 1, 1
	if w := e.Service.Weights; w != nil {
		passing, warning = w.Passing, w.Warning
	}
	switch {
	case state != resolver.Warning:
		return passing
	case passingOnly:
		return 0
	default:
		return warning
	}
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
				state, note = resolver.Warning, "warning: "+c.Name
			}
		default: // critical, and whatever a later Consul may invent
			unknown := c.unknown()
			if state != resolver.Critical || unknown == "" && !verdict {
				state, note = resolver.Critical, "critical: "+c.Name
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

// unknown returns why a critical check is no verdict on the service; "" if it
// is one. A check without a type is run by no agent, so it cannot be waited for.
func (c *check) unknown() string {
	switch {
	case c.CheckID == "serfHealth" && c.ServiceID == "":
		return "the agent of its node is not seen"
	case !bool(c.Output) && c.Type != "" && c.Type != "ttl" && c.Status == "critical":
		return "not checked yet: " + c.Name
	default:
		return ""
	}
}
