// Package static serves the services that stand in the configuration (D7). They
// are never unhealthy, and change only with the configuration.
package static

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"

	"lictor/resolver"
)

// Resolver is a [resolver.Source] that knows what it was given last.
type Resolver struct {
	catalog atomic.Pointer[resolver.Catalog]
	bell    resolver.Bell
}

// New reads the base URLs of each service's instances, http or https with a
// host, maybe a port and a path, and the options of services, in the names of the
// metadata of registries ([resolver.OwnMeta]). All mistakes are reported at once.
func New(services map[string][]string, meta map[string]map[string]string) (*Resolver, error) {
	r := &Resolver{}
	put, err := r.Prepare(services, meta)
	if err != nil {
		return nil, err
	}
	put()
	return r, nil
}

// Prepare reads other services, as New does; put replaces all that there are by them. It
// must not be called twice at the same time.
func (r *Resolver) Prepare(services map[string][]string, meta map[string]map[string]string) (put func(), err error) {
	all, err := read(services, meta)
	if err != nil {
		return nil, err
	}
	return func() {
		old := r.catalog.Load()
		for n, s := range all {
			all[n] = share(s, old.Lookup(s.Name))
		}
		r.catalog.Store(resolver.NewCatalog(all...))
		r.bell.Ring()
	}, nil
}

// share returns next with the pointers of old for what did not change.
func share(next, old *resolver.Service) *resolver.Service {
	if old == nil {
		return next
	}
	for n, i := range next.Instances {
		same := func(o *resolver.Instance) bool { return *o == *i }
		if at := slices.IndexFunc(old.Instances, same); at >= 0 {
			next.Instances[n] = old.Instances[at]
		}
	}
	if slices.Equal(next.Instances, old.Instances) && next.Options == old.Options {
		return old
	}
	return next
}

func read(services map[string][]string, meta map[string]map[string]string) ([]*resolver.Service, error) {
	var errs *multierror.Error
	var all []*resolver.Service
	for _, name := range slices.Sorted(maps.Keys(services)) {
		s := &resolver.Service{Name: name, Loaded: true}
		seen := make(map[string]bool)
		for n, text := range services[name] {
			i, err := parse(text)
			switch {
			case err != nil:
				errs = multierror.Append(errs, fmt.Errorf("service %q: instance %d: %w", name, n+1, err))
				continue
			case seen[i.ID]:
				errs = multierror.Append(errs, fmt.Errorf("service %q: instance %d: %q is there twice", name, n+1, text))
				continue
			}
			seen[i.ID] = true
			s.Instances = append(s.Instances, i)
		}
		wrong := resolver.MetaWrong(func(id, key, value, want string) {
			errs = multierror.Append(errs, fmt.Errorf("service %q: %s = %q: want %s", id, key, value, want))
		})
		s.Options = wrong.Own(name, meta[name])
		for _, i := range s.Instances {
			scheme := map[bool]string{false: "http", true: "https"}[i.TLS]
			_, i.Protocol = wrong.Protocol(name, map[string]string{resolver.MetaScheme: scheme, resolver.MetaProtocol: meta[name][resolver.MetaProtocol]})
		}
		all = append(all, s)
	}
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		if services[name] == nil {
			errs = multierror.Append(errs, fmt.Errorf("service %q: it has options, but no instances", name))
		}
	}
	return all, errs.ErrorOrNil()
}

// parse reads the base URL of an instance.
func parse(text string) (*resolver.Instance, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL", text)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q: want http:// or https://", text)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q has no host", text)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return nil, fmt.Errorf("%q: want only scheme, host, port and path", text)
	}
	standard := "80"
	if u.Scheme == "https" {
		standard = "443"
	}
	port := cmp.Or(u.Port(), standard)
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, errors.New(strconv.Quote(text) + ": want a port of 1 to 65535")
	}
	i := &resolver.Instance{
		Address:  net.JoinHostPort(u.Hostname(), port),
		TLS:      u.Scheme == "https",
		BasePath: strings.TrimRight(u.EscapedPath(), "/"),
		Weight:   1,
		State:    resolver.Passing,
	}
	i.ID = i.Address + i.BasePath
	return i, nil
}

// Kind implements [resolver.Source].
func (r *Resolver) Kind() string { return "static" }

// Catalog implements [resolver.Source].
func (r *Resolver) Catalog() *resolver.Catalog { return r.catalog.Load() }

// OnChange implements [resolver.Notifier].
func (r *Resolver) OnChange(f func()) { r.bell.OnChange(f) }

// Want implements [resolver.Source]. There is never anything to wait for.
func (r *Resolver) Want(string) <-chan struct{} { return resolver.NoWait() }

// Status implements [resolver.Source]. What is configured is always right.
func (r *Resolver) Status() resolver.Status {
	now := time.Now()
	return resolver.Status{Ready: true, Contact: now, Since: now}
}
