package upstream

import (
	"time"

	"lictor/resolver"
)

// lookup returns the service that requests for name go to: of the first source
// with a usable instance, or else of the first with a usable canary, or else of
// the first that knows it. For canaries it is the same one, so that each service
// has its members of one source at a time. known tells an
// unknown name from one whose instances are not loaded: before they are, what
// later sources have does not count (D10).
func (s *Sender) lookup(name string) (svc *resolver.Service, known bool) {
	return s.lookupLoaded(name, false)
}

// lookupLoaded is lookup that may leave out sources that have not loaded the service.
func (s *Sender) lookupLoaded(name string, leaveOut bool) (svc *resolver.Service, known bool) {
	for _, src := range s.sources {
		found := src.Catalog().Lookup(name)
		switch {
		case found == nil:
			continue
		case !found.Loaded && !leaveOut:
			return svc, true
		case found.Loaded && found.Usable():
			return found, true
		case found.Loaded && (svc == nil || !svc.UsableBy(true) && found.UsableBy(true)):
			svc = found
		}
		known = true
	}
	return svc, known
}

// Spelling returns the name by which a resolver knows the service that a path
// calls name: of the one that a request would go to, else the first. folded says
// that some resolver knows it in any case.
func (s *Sender) Spelling(name string) (proper string, folded, known bool) {
	if svc, _ := s.lookup(name); svc != nil {
		proper, known = svc.Name, true
	}
	for _, src := range s.sources {
		c := src.Catalog()
		if found := c.Lookup(name); found != nil {
			if !known {
				proper, known = found.Name, true
			}
			folded = folded || c.Folded()
		}
	}
	return proper, folded, known
}

// loadPatience is how long a request waits for the first answer about a
// service that is known by name only; briefPatience, where another source can
// serve it now.
const (
	loadPatience  = 5 * time.Second
	briefPatience = 250 * time.Millisecond
)

// resolve is lookup that waits for services to be loaded.
func (s *Sender) resolve(name string) (*resolver.Service, bool) {
	for _, src := range s.sources {
		found := src.Catalog().Lookup(name)
		if found != nil && !found.Loaded {
			s.await(src, name)
			found = src.Catalog().Lookup(name)
		}
		if found != nil && found.Loaded && found.Usable() {
			return found, true
		}
	}
	return s.lookupLoaded(name, true)
}

// await has src load a service.
func (s *Sender) await(src resolver.Source, name string) {
	patience := loadPatience
	if found, _ := s.lookupLoaded(name, true); found != nil && found.Usable() {
		patience = briefPatience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-src.Want(name):
	case <-timer.C:
	}
}
