package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"lictor/policy"
	"lictor/resolver"
)

// Status is the body of /status: what lictor knows, for people.
type Status struct {
	Version       string           `json:"version"`
	Commit        string           `json:"commit"`
	Go            string           `json:"go"`
	Started       time.Time        `json:"started"`
	UptimeSeconds int64            `json:"uptime_seconds"`
	Ready         bool             `json:"ready"`
	NotReady      []string         `json:"not_ready"`  // why, if it is not
	Generation    uint64           `json:"generation"` // of the configuration: 1, and one more for each reload
	Listeners     []Listener       `json:"listeners"`
	Resolvers     []ResolverStatus `json:"resolvers"` // in the order they are asked in
	Services      []ServiceStatus  `json:"services"`  // by name
	Policy        *PolicyStatus    `json:"policy"`
	Problems      []string         `json:"problems"` // what an operator should look at

	Dispatchers []DispatcherStatus `json:"dispatchers"`
	Middleware  []MiddlewareStatus `json:"middleware"` // in its order
}

// PolicyStatus says which policy is in force and how fresh it is. Two lictors
// with the same hash decide the same.
type PolicyStatus struct {
	Hash       string              `json:"hash"`
	Index      uint64              `json:"index"`       // the store's
	AgeSeconds *float64            `json:"age_seconds"` // since the last good exchange with the store; null = there was none
	Store      string              `json:"store"`       // consul, file, memory
	Live       bool                `json:"live"`        // the last exchange went well
	LastGood   bool                `json:"last_good"`   // from data_dir, the store has not answered yet
	Objects    int                 `json:"objects"`
	Held       int                 `json:"held"` // in force although the store no longer shows them
	Rejected   []*policy.Rejection `json:"rejected"`
	Closings   []policy.Closing    `json:"closings"` // what is refused until an object is repaired
	Notes      []policy.Note       `json:"notes"`    // what refers to nothing, or can match nothing
}

// Listener is an address that lictor serves.
type Listener struct {
	Name    string `json:"name"` // gateway, admin
	Address string `json:"address"`
}

// ResolverStatus says how fresh a resolver is.
type ResolverStatus struct {
	Kind       string     `json:"kind"`
	Ready      bool       `json:"ready"`
	Services   int        `json:"services"`
	Watches    int        `json:"watches"`
	Mesh       int        `json:"mesh"`        // services of the mesh (sidecar proxies, gateways), which no path reaches
	AgeSeconds *float64   `json:"age_seconds"` // of what it knows; null = it knows nothing
	Contact    *time.Time `json:"contact"`     // last good answer; null = none since the start
	Snapshot   bool       `json:"snapshot"`    // serving from data_dir
	Held       string     `json:"held"`        // why an older list is served, "" = it is not
	Error      string     `json:"error"`       // the last failure, "" while all is well
	ErrorTime  *time.Time `json:"error_time"`
}

// ServiceStatus is a service as one resolver knows it.
type ServiceStatus struct {
	Name      string           `json:"name"`
	Resolver  string           `json:"resolver"`
	Loaded    bool             `json:"loaded"` // false: the name is known, its instances were never asked for
	Usable    bool             `json:"usable"`
	Index     uint64           `json:"index"`
	Held      string           `json:"held"`
	Instances []InstanceStatus `json:"instances"`
	Problems  []string         `json:"problems"`
}

// InstanceStatus is one instance of a service.
type InstanceStatus struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
	Weight  int    `json:"weight"`
	Note    string `json:"note"`
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, s.Status())
}

// Status returns what /status shows.
func (s *Server) Status() *Status {
	why, _ := s.notReady()
	st := &Status{
		Started:       s.began,
		UptimeSeconds: int64(time.Since(s.began).Seconds()),
		Ready:         why == nil,
		NotReady:      append([]string{}, why...),
		Listeners:     []Listener{},
		Resolvers:     []ResolverStatus{},
		Services:      []ServiceStatus{},
		Dispatchers:   []DispatcherStatus{},
		Middleware:    []MiddlewareStatus{},
		Problems:      []string{},
	}
	for _, source := range s.cfg.Sources {
		st.addSource(source)
	}
	slices.SortStableFunc(st.Services, func(a, b ServiceStatus) int { return cmp.Compare(a.Name, b.Name) })
	for _, describe := range s.cfg.Describe {
		describe(st)
	}
	return st
}

func (st *Status) addSource(source resolver.Source) {
	st.AddResolver(source.Kind(), source)
	for service := range source.Catalog().All() {
		st.addService(source.Kind(), service)
	}
}

// AddResolver adds a resolver under the given name, and not its services.
func (st *Status) AddResolver(kind string, source resolver.Source) {
	catalog, status := source.Catalog(), source.Status()
	r := ResolverStatus{
		Kind: kind, Ready: status.Ready, Services: catalog.Len(), Watches: status.Watches, Mesh: status.Mesh,
		Contact: timeOrNull(status.Contact), Snapshot: status.Snapshot, Held: status.Held,
		Error: status.Error, ErrorTime: timeOrNull(status.ErrorTime),
	}
	if !status.Since.IsZero() {
		age := time.Since(status.Since).Seconds()
		r.AgeSeconds = &age
	}
	st.Resolvers = append(st.Resolvers, r)
	st.problem("resolver "+r.Kind, status.Error)
	st.problem("resolver "+r.Kind, status.Held)
	if status.Snapshot {
		st.problem("resolver "+r.Kind, "serving from the last-good file, the registry has not answered yet")
	}
}

func (st *Status) addService(kind string, service *resolver.Service) {
	out := ServiceStatus{
		Name: service.Name, Resolver: kind, Loaded: service.Loaded, Usable: service.Usable(), Index: service.Index,
		Held: service.Held, Instances: []InstanceStatus{}, Problems: append([]string{}, service.Problems...),
	}
	for _, i := range service.Instances {
		out.Instances = append(out.Instances, InstanceStatus{
			ID: i.ID, Address: i.Address, State: i.State.String(), Weight: i.Weight, Note: i.Note,
		})
	}
	st.Services = append(st.Services, out)
	st.problem("service "+service.Name, service.Held)
	for _, text := range service.Problems {
		st.problem("service "+service.Name, text)
	}
}

func (st *Status) problem(where, text string) {
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
