package resolver

import (
	"iter"
	"maps"
)

// Catalog is the immutable set of services of one source. A nil Catalog is empty.
type Catalog struct {
	services map[string]*Service
	hosts    map[string]claimed // by hostKey; nil if no service claims any
	folded   bool               // the keys of services are in lower case
}

// NewCatalog returns a catalog of the given services; a later one of the same
// name replaces an earlier.
func NewCatalog(services ...*Service) *Catalog {
	c := &Catalog{services: make(map[string]*Service, len(services))}
	for _, s := range services {
		c.services[s.Name] = s
	}
	c.hosts = claimsOf(c.services)
	return c
}

// NewFoldedCatalog is NewCatalog for a registry that compares names without
// case (E7). The services' names must be in lower case (ASCII); Lookup takes any.
// A caller that decides by name must go by the found service's.
func NewFoldedCatalog(services ...*Service) *Catalog {
	c := NewCatalog(services...)
	c.folded = true
	return c
}

// Folded reports whether names are compared without case.
func (c *Catalog) Folded() bool { return c != nil && c.folded }

// Lookup returns the service called name, nil if there is none. It does not
// allocate.
func (c *Catalog) Lookup(name string) *Service {
	if c == nil {
		return nil
	}
	if !c.folded {
		return c.services[name]
	}
	var lower [128]byte // the longest name that a path can have (D22)
	if len(name) > len(lower) {
		return nil
	}
	for i := range len(name) {
		b := name[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	return c.services[string(lower[:len(name)])]
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
		next.folded = c.folded
		maps.Copy(next.services, c.services)
	}
	for _, name := range drop {
		delete(next.services, name)
	}
	for _, s := range put {
		next.services[s.Name] = s
	}
	if c.sameClaims(put, drop) {
		next.hosts = c.hosts
	} else {
		next.hosts = claimsOf(next.services)
	}
	return next
}
