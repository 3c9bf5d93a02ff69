package upstream

import (
	"time"

	"lictor/resolver"
)

// lookup returns the service that requests for name go to, and the place of its
// source: the first with a usable instance that is not cut off, or else with a
// usable one, or else with a usable canary, or else the first that knows it. For
// canaries it is the same one. known tells an unknown name from one whose instances
// are not loaded: before they are, what later sources have does not count (D10).
func (s *Sender) lookup(name string) (svc *resolver.Service, at int, known bool) {
	return s.lookupLoaded(name, false)
}

// lookupLoaded is lookup that may leave out sources that have not loaded the service.
func (s *Sender) lookupLoaded(name string, leaveOut bool) (svc *resolver.Service, at int, known bool) {
	for i, src := range s.sources {
		found := src.Catalog().Lookup(name)
		switch {
		case found == nil:
			continue
		case !found.Loaded && !leaveOut:
			return svc, at, true
		case found.Loaded && found.Usable() && !s.isCut(found.Name, i):
			return found, i, true
		case found.Loaded && (svc == nil || found.Usable() && !svc.Usable() || found.UsableBy(true) && !svc.UsableBy(true)):
			svc, at = found, i
		}
		known = true
	}
	return svc, at, known
}

// Spelling returns the name by which a resolver knows the service that a path
// calls name: of the one that a request would go to, else the first. anyCase says
// that some resolver knows it in any case, or would if it came to know it now.
func (s *Sender) Spelling(name string) (proper string, anyCase, known bool) {
	if svc, _, _ := s.lookup(name); svc != nil {
		proper, known = svc.Name, true
	}
	mayBe := false // in any case, once it is known
	for _, src := range s.sources {
		c := src.Catalog()
		if known && !c.Folded() {
			continue // nothing is to be learned of it
		}
		mayBe = mayBe || c.Folded()
		if found := c.Lookup(name); found != nil {
			if !known {
				proper, known = found.Name, true
			}
			anyCase = anyCase || c.Folded()
		}
	}
	if !known {
		if g := (*s.groups.Load())[name]; g != nil && g.lost.Load() != 0 { // it went a moment ago
			proper, known, anyCase = g.name, true, mayBe
		}
	}
	return proper, anyCase || !known && mayBe, known
}

// loadPatience is how long a request waits for the first answer about a
// service that is known by name only; briefPatience, where another source can
// serve it now.
const (
	loadPatience  = 5 * time.Second
	briefPatience = 250 * time.Millisecond
)

// resolve is lookup that waits for services to be loaded. Later sources are asked
// to load the service as well, for the time when they are needed.
func (s *Sender) resolve(name string) (svc *resolver.Service, at int, known bool) {
	for i, src := range s.sources {
		found := src.Catalog().Lookup(name)
		if found != nil && !found.Loaded {
			patience := loadPatience
			if other, _, _ := s.lookupLoaded(name, true); other != nil && other.Usable() {
				patience = briefPatience
			}
			found = await(src, name, patience)
		}
		if found != nil && found.Loaded && found.Usable() && !s.isCut(found.Name, i) {
			for _, later := range s.sources[i+1:] {
				later.Want(name)
			}
			return found, i, true
		}
	}
	return s.lookupLoaded(name, true)
}

// await has src load a service and returns what it knows of it then.
func await(src resolver.Source, name string, patience time.Duration) *resolver.Service {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-src.Want(name):
	case <-timer.C:
	}
	return src.Catalog().Lookup(name)
}
