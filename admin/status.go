package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"lictor/admin/api"
	"lictor/resolver"
)

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, s.Status())
}

// Status returns what /status shows now. It is the caller's.
func (s *Server) Status() *api.Status {
	why, _ := s.notReady()
	st := &api.Status{
		Started:       s.began,
		UptimeSeconds: int64(time.Since(s.began).Seconds()),
		Ready:         why == nil,
		NotReady:      append([]string{}, why...),
		Listeners:     []api.Listener{},
		Certificates:  []api.Certificate{},
		Resolvers:     []api.ResolverStatus{},
		Services:      []api.ServiceStatus{},
		Dispatchers:   []api.DispatcherStatus{},
		KeySets:       []api.KeySetStatus{},
		Feeds:         []api.FeedStatus{},
		Middleware:    []api.MiddlewareStatus{},
		Problems:      []string{},
	}
	for _, source := range s.cfg.Sources {
		addSource(st, source)
	}
	slices.SortStableFunc(st.Services, func(a, b api.ServiceStatus) int { return cmp.Compare(a.Name, b.Name) })
	for _, describe := range s.cfg.Describe {
		describe(st)
	}
	return st
}

func addSource(st *api.Status, source resolver.Source) {
	AddResolver(st, source.Kind(), source)
	catalog := source.Catalog()
	for service := range catalog.All() {
		addService(st, source.Kind(), service, catalog)
	}
}

// AddResolver adds what source says of itself to st, under the name kind, and its
// problems. It does not add its services.
func AddResolver(st *api.Status, kind string, source resolver.Source) {
	catalog, status := source.Catalog(), source.Status()
	r := api.ResolverStatus{
		Kind: kind, Ready: status.Ready, Services: catalog.Len(), Watches: status.Watches, Mesh: status.Mesh,
		Contact: timeOrNull(status.Contact), Snapshot: status.Snapshot, Held: status.Held,
		AgeSeconds: api.Age(status.Since), Error: status.Error, ErrorTime: timeOrNull(status.ErrorTime),
	}
	st.Resolvers = append(st.Resolvers, r)
	addProblem(st, "resolver "+r.Kind, status.Error)
	addProblem(st, "resolver "+r.Kind, status.Held)
	if status.Snapshot {
		addProblem(st, "resolver "+r.Kind, "serving from the last-good file, the registry has not answered yet")
	}
}

func addService(st *api.Status, kind string, service *resolver.Service, catalog *resolver.Catalog) {
	out := api.ServiceStatus{
		Name: service.Name, Resolver: kind, Loaded: service.Loaded, Usable: service.Usable(), Index: service.Index,
		Held: service.Held, Instances: []api.InstanceStatus{}, Problems: append([]string{}, service.Problems...),
	}
	for _, i := range service.Instances {
		out.Instances = append(out.Instances, api.InstanceStatus{
			ID: i.ID, Address: i.Address, State: i.State.String(), Weight: i.Weight, Canary: i.Canary, Note: i.Note, Mesh: i.Mesh, Datacenter: i.Datacenter,
		})
	}
	for _, c := range service.Hosts {
		if by, _ := catalog.Claimed(c.Host); by != service.Name {
			out.Problems = append(out.Problems, fmt.Sprintf("the host %s stays with the service %s, whose registration for it is older than that of %s", c.Host, by, service.Name))
			continue
		}
		out.Hosts = append(out.Hosts, c.Host)
	}
	st.Services = append(st.Services, out)
	addProblem(st, "service "+service.Name, service.Held)
	for _, text := range out.Problems {
		addProblem(st, "service "+service.Name, text)
	}
}

func addProblem(st *api.Status, where, text string) {
	if text != "" {
		st.Problems = append(st.Problems, fmt.Sprintf("%s: %s", where, text))
	}
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
