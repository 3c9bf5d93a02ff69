package resolver

import "time"

// Ages remembers since when each instance of one source is in its state. The zero
// value is ready to use, and belongs to one goroutine. It holds as much as the catalog
// that it saw last.
type Ages struct {
	catalog  *Catalog
	services map[string]*serviceAges
}

// serviceAges are the ages of the instances of one service.
type serviceAges struct {
	service *Service
	since   map[string]stateAge // by instance
}

type stateAge struct {
	state State
	since time.Time // zero = it was so when the service was seen first
}

// Note takes over a catalog that is in force as of now. What has the same catalog as
// the time before costs nothing, and a service that did not change next to nothing.
func (a *Ages) Note(c *Catalog, now time.Time) {
	if c == a.catalog {
		return
	}
	next := make(map[string]*serviceAges, c.Len())
	for s := range c.All() {
		if !s.Loaded {
			continue
		}
		old := a.services[s.Name]
		switch {
		case old != nil && old.service == s:
			next[s.Name] = old
		default:
			next[s.Name] = old.after(s, now)
		}
	}
	a.catalog, a.services = c, next
}

// after is what is known once s follows; a is nil for a service that is new.
func (a *serviceAges) after(s *Service, now time.Time) *serviceAges {
	next := &serviceAges{service: s, since: make(map[string]stateAge, len(s.Instances))}
	for _, i := range s.Instances {
		age := stateAge{state: i.State}
		if a != nil {
			age.since = now
			if old, ok := a.since[i.ID]; ok && old.state == i.State {
				age = old
			}
		}
		next.since[i.ID] = age
	}
	return next
}

// Since returns since when an instance is in the state in which the last catalog has
// it; the zero time if it was when its service was seen first, or is not known.
func (a *Ages) Since(service, instance string) time.Time {
	if s := a.services[service]; s != nil {
		return s.since[instance].since
	}
	return time.Time{}
}
