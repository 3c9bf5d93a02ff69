package consul

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"lictor/resolver"
)

// Selection says which services a path may reach, and by which of their
// instances (K1). It is not changed once it was handed over.
type Selection struct {
	Tag    string   // only instances that carry it; "" = all
	Expose []string // globs of names that may be looked up; nil = all
	Hide   []string // globs of names that may not; wins over Expose; nil = consul
}

// complete puts the defaults in. The error is a glob that is none.
func (s *Selection) complete() error {
	if s.Expose == nil {
		s.Expose = []string{"*"}
	}
	if s.Hide == nil {
		s.Hide = []string{"consul"}
	}
	for _, glob := range slices.Concat(s.Expose, s.Hide) {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("consul resolver: %q is no glob: %w", glob, err)
		}
	}
	return nil
}

func (s *Selection) equal(o *Selection) bool {
	return s.Tag == o.Tag && slices.Equal(s.Expose, o.Expose) && slices.Equal(s.Hide, o.Hide)
}

// carrying returns the entries that carry the tag.
func (s *Selection) carrying(entries []entry) []entry {
	if s.Tag == "" {
		return entries
	}
	var all []entry
	for i := range entries {
		if slices.Contains(entries[i].Service.Tags, s.Tag) {
			all = append(all, entries[i])
		}
	}
	return all
}

// without returns the known instances less those that Consul lists and that do
// not carry the tag: that it does not select them is no doubt about them.
func (s *Selection) without(known []*resolver.Instance, entries []entry) []*resolver.Instance {
	if s.Tag == "" {
		return known
	}
	others := make(map[string]bool)
	for i := range entries {
		if !slices.Contains(entries[i].Service.Tags, s.Tag) {
			others[entries[i].id()] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(known), func(i *resolver.Instance) bool { return others[i.ID] })
}

func matches(globs []string, name string) bool {
	for _, glob := range globs {
		if ok, _ := path.Match(glob, name); ok { // complete has checked the globs
			return true
		}
	}
	return false
}

// askable reports whether Consul can be asked about a service of that name. It takes the
// registration of any name, and answers 307 or 400 to a path with an empty part, or with
// a character that cannot be printed: what nobody can be told about would be waited for
// for ever.
func askable(name string) bool {
	return name != "" && name[0] != '/' && !strings.Contains(name, "//") &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// exposes reports whether a path may reach the service.
func (r *Resolver) exposes(name string) bool {
	if r.cfg.Everywhere {
		return askable(name)
	}
	return askable(name) && len(name) <= maxName && !strings.Contains(name, "/") && r.mayBeReached(name)
}

// mayBeReached reports whether the configuration lets a path reach the service.
func (r *Resolver) mayBeReached(name string) bool {
	s := r.selection.Load()
	return name != r.cfg.OwnService && matches(s.Expose, name) && !matches(s.Hide, name)
}

// wouldExpose reports whether a path could reach the service, were it not for what its
// name looks like.
func (r *Resolver) wouldExpose(name string) bool {
	return !r.exposes(name) && (r.cfg.Everywhere || r.mayBeReached(strings.ReplaceAll(name, "/", "-"))) // which globs do not match
}

// Prepare checks another selection; put replaces what New was told by it. A service that
// a path may no longer reach is unknown at once then. One that it may reach now, and
// instances by another tag, are known with Consul's next answers, which are asked for;
// until then, and while Consul is away, instances with the former tag stay.
func (r *Resolver) Prepare(s Selection) (put func(), err error) {
	if err := s.complete(); err != nil {
		return nil, err
	}
	return func() { r.selects(s) }, nil
}

func (r *Resolver) selects(s Selection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.selection.Load()
	if old.equal(&s) {
		return
	}
	r.selection.Store(&s)
	var hidden []string
	for service := range r.truth.All() {
		if !r.exposes(service.Name) {
			hidden = append(hidden, service.Name)
		}
	}
	r.unfollowLocked(hidden)
	r.publishLocked(nil, hidden)
	r.namesNudge.Now()
	if old.Tag != s.Tag {
		for _, f := range r.followers {
			f.nudge.Now()
		}
		r.sweeper.markAllLocked(0)
		poke(r.save)
	}
}

// otherTagLocked returns a service whose instances are still those of a former
// tag, "" if there is none. r.mu is held.
func (r *Resolver) otherTagLocked() string {
	tag := r.selection.Load().Tag
	for name, f := range r.followers {
		if f.tag != tag {
			return name
		}
	}
	return ""
}
