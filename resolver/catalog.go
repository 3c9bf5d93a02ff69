package resolver

import (
	"iter"
	"maps"
)

// Catalog is the immutable set of services of one source. A nil Catalog is empty.
type Catalog struct {
	services map[string]*Service
}

// NewCatalog returns a catalog of the given services; a later one of the same
// name replaces an earlier.
func NewCatalog(services ...*Service) *Catalog {
	c := &Catalog{services: make(map[string]*Service, len(services))}
	for _, s := range services {
		c.services[s.Name] = s
	}
	return c
}

// Lookup returns the service called name, nil if there is none.
func (c *Catalog) Lookup(name string) *Service {
	if c == nil {
		return nil
	}
	return c.services[name]
}

// Len is the number of services.
func (c *Catalog) Len() int {
	if c == nil {
		return 0
	}
	return len(c.services)
}

// All yields every service, in no order.
func (c *Catalog) All() iter.Seq[*Service] {
	return func(yield func(*Service) bool) {
		if c == nil {
			return
		}
		for _, s := range c.services {
			if !yield(s) {
				return
			}
		}
	}
}

// With returns a catalog in which put replaces or adds services and the names
// in drop are gone. c itself stays as it was.
func (c *Catalog) With(put []*Service, drop []string) *Catalog {
	next := &Catalog{services: make(map[string]*Service, c.Len()+len(put))}
	if c != nil {
		maps.Copy(next.services, c.services)
	}
	for _, name := range drop {
		delete(next.services, name)
	}
	for _, s := range put {
		next.services[s.Name] = s
	}
	return next
}
