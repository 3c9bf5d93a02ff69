package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// fakeConsul answers the queries of a Resolver as an agent does, blocking ones
// too, so that hours of it pass in no time.
type fakeConsul struct {
	mu       sync.Mutex // guards all
	index    uint64
	services map[string][]*api.ServiceEntry
	indexes  map[string]uint64 // by path
	changed  chan struct{}     // closed at every change
	asked    []string          // path and index of each query, less those of the heartbeat
	beats    int               // queries of the heartbeat

	era      int             // queries that began in an earlier one are never answered
	away     bool            // connections are refused
	dead     bool            // nothing is ever answered
	status   int             // instead of 200; 0 = 200
	refuse   string          // answers 403 to what begins so; "" = to nothing
	filtered string          // of what begins so, ACLs hide something; "" = of nothing
	lies     map[string]bool // services whose answer is empty unless it is a consistent one
	reading  uint64          // it is as far in its log, where it knows no service; consistent answers wait until it has read it; 0 = it has
}

func newFake() *fakeConsul {
	f := &fakeConsul{}
	f.reset(100)
	return f
}

// reset makes a Consul without memory; its index begins at the given one.
func (f *fakeConsul) reset(index uint64) {
	f.edit(func() {
		f.index = index
		f.services = map[string][]*api.ServiceEntry{"consul": nil}
		f.indexes = map[string]uint64{}
	})
}

// edit changes the fake and wakes up whoever waits.
func (f *fakeConsul) edit(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	if f.changed != nil { // nil outside of a bubble
		close(f.changed)
		f.changed = make(chan struct{})
	}
}

// set gives a service its instances, none being a deregistration of all.
func (f *fakeConsul) set(name string, entries ...*api.ServiceEntry) {
	f.edit(func() {
		f.index++
		for _, e := range entries {
			e.Service.Service = name
		}
		before := f.services[name]
		f.services[name] = entries
		if len(entries) == 0 {
			delete(f.services, name)
		}
		f.indexes["/v1/health/service/"+name] = f.index
		f.indexes["/v1/catalog/services"] = f.index
		for _, e := range append(before, entries...) {
			if target, ok := meshTarget(e); ok {
				f.indexes["/v1/health/connect/"+target] = f.index
			}
		}
	})
}

// meshTarget returns the service that e is an instance of in the mesh.
func meshTarget(e *api.ServiceEntry) (string, bool) {
	switch s := e.Service; {
	case s.Proxy != nil:
		return s.Proxy.DestinationServiceName, true
	case s.Connect != nil && s.Connect.Native:
		return s.Service, true
	}
	return "", false
}

// inMesh returns what is listed of a service in the mesh.
func (f *fakeConsul) inMesh(name string) []*api.ServiceEntry {
	entries := []*api.ServiceEntry{}
	for _, more := range f.services {
		for _, e := range more {
			if target, ok := meshTarget(e); ok && strings.EqualFold(target, name) {
				entries = append(entries, e)
			}
		}
	}
	return entries
}

// check gives the instances of a service new checks; the list of names does not move.
func (f *fakeConsul) check(name string, checks ...*api.HealthCheck) {
	f.edit(func() {
		f.index++
		for i, e := range f.services[name] {
			next := *e
			next.Checks = checks
			f.services[name][i] = &next
		}
		f.indexes["/v1/health/service/"+name] = f.index
		f.indexes["/v1/health/state/critical"] = f.index
		for _, e := range f.services[name] {
			if target, ok := meshTarget(e); ok {
				f.indexes["/v1/health/connect/"+target] = f.index
			}
		}
	})
}

// forget loses the connections that exist, as a middle box does that restarts:
// nobody is told. New ones work.
func (f *fakeConsul) forget() { f.edit(func() { f.era++ }) }

// queries returns what was asked since the last call.
func (f *fakeConsul) queries() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

// RoundTrip implements [http.RoundTripper].
func (f *fakeConsul) RoundTrip(req *http.Request) (*http.Response, error) {
	q, path := req.URL.Query(), req.URL.Path
	if resp := f.readingItsLog(q.Has("consistent")); resp != nil {
		return resp, nil
	}
	index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	deadline := time.Now().Add(wait + wait/16)
	filter := q.Get("filter")
	f.mu.Lock()
	era := f.era
	switch filter {
	case "", noMesh.Get("filter"):
		f.asked = append(f.asked, path+"?"+strconv.FormatUint(index, 10))
	default:
		f.beats++
	}
	f.mu.Unlock()
	for {
		f.mu.Lock()
		if era != f.era {
			f.mu.Unlock()
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		if f.away {
			f.mu.Unlock()
			return nil, errors.New("connection refused")
		}
		if f.dead {
			f.mu.Unlock()
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		if f.at(path) > index || index == 0 || !time.Now().Before(deadline) || f.status != 0 {
			defer f.mu.Unlock()
			_, consistent := q["consistent"]
			return f.answer(path, filter, consistent), nil
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-changed:
		case <-time.After(time.Until(deadline)):
		}
	}
}

// readingItsLog answers as a leader does that was just restarted with its data.
func (f *fakeConsul) readingItsLog(consistent bool) *http.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reading == 0 {
		return nil
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}
	resp.Header.Set("X-Consul-Index", strconv.FormatUint(f.reading, 10))
	if consistent {
		resp.StatusCode = http.StatusInternalServerError
	}
	return resp
}

// at returns the index of a path, which does not mind the case of a service.
func (f *fakeConsul) at(path string) uint64 {
	at := min(f.index, 1)
	for p, i := range f.indexes {
		if strings.EqualFold(p, path) {
			at = max(at, i)
		}
	}
	return at
}

func (f *fakeConsul) answer(path, filter string, consistent bool) *http.Response {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}}
	resp.Header.Set("X-Consul-Index", strconv.FormatUint(f.at(path), 10))
	resp.Header.Set("X-Consul-KnownLeader", "true")
	resp.Header.Set("X-Consul-LastContact", "0")
	resp.Header.Set("X-Consul-Results-Filtered-By-Acls", strconv.FormatBool(f.filtered != "" && strings.HasPrefix(path, f.filtered)))
	if f.refuse != "" && strings.HasPrefix(path, f.refuse) {
		resp.StatusCode = http.StatusForbidden
	}
	if f.status != 0 {
		resp.StatusCode = f.status
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body = io.NopCloser(strings.NewReader("the fake refuses"))
		return resp
	}
	var body any
	name, health := strings.CutPrefix(path, "/v1/health/service/")
	switch {
	case path == "/v1/catalog/services":
		names := map[string][]string{}
		for name, entries := range f.services {
			if f.passes(filter, entries) {
				names[name] = []string{"tag"}
			}
		}
		body = names
	case health:
		entries := []*api.ServiceEntry{}
		for twin, more := range f.services { // a real one does not mind the case either
			if strings.EqualFold(twin, name) && (!f.lies[twin] || consistent) {
				entries = append(entries, more...)
			}
		}
		body = entries
	case strings.HasPrefix(path, "/v1/health/connect/"):
		body = f.inMesh(strings.TrimPrefix(path, "/v1/health/connect/"))
	case path == "/v1/internal/ui/services":
		body = f.overview()
	case path == "/v1/health/state/critical":
		body = f.critical()
	default:
		body = []any{}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp
}

// passes reports whether the filter for service kinds leaves any of the entries.
func (f *fakeConsul) passes(filter string, entries []*api.ServiceEntry) bool {
	if filter == "" || filter == noMesh.Get("filter") && len(entries) == 0 {
		return true
	}
	return slices.ContainsFunc(entries, func(e *api.ServiceEntry) bool {
		switch filter {
		case noMesh.Get("filter"):
			return e.Service.Kind == ""
		case onlyMesh.Get("filter"):
			return e.Service.Kind != ""
		case claiming.Get("filter"):
			return e.Service.Kind == "" && e.Service.Meta[metaHosts] != ""
		}
		return false
	})
}

// overview lists the services with how many instances they have.
func (f *fakeConsul) overview() any {
	type line struct {
		Name          string
		InstanceCount int
		Tags          []string
	}
	list := []line{}
	for name, entries := range f.services {
		one := line{Name: name, InstanceCount: len(entries)}
		for _, e := range entries {
			one.Tags = append(one.Tags, e.Service.Tags...)
		}
		list = append(list, one)
	}
	return list
}

// critical lists the failing checks.
func (f *fakeConsul) critical() []*api.HealthCheck {
	list := []*api.HealthCheck{}
	for name, entries := range f.services {
		for _, e := range entries {
			for _, c := range e.Checks {
				if c.Status == api.HealthCritical {
					list = append(list, &api.HealthCheck{Node: e.Node.Node, CheckID: c.CheckID, Notes: c.Notes, ServiceName: name})
				}
			}
		}
	}
	return list
}

// instance is an entry of a service on node n, listening on the given port.
func instance(id string, port int, checks ...*api.HealthCheck) *api.ServiceEntry {
	return &api.ServiceEntry{
		Node:    &api.Node{Node: "n", Address: "10.0.0.1"},
		Service: &api.AgentService{ID: id, Port: port, Weights: api.AgentWeights{Passing: 1, Warning: 1}},
		Checks:  checks,
	}
}

// The checks that instances have in these tests.
var (
	serfAlive = &api.HealthCheck{CheckID: "serfHealth", Name: "serf", Status: "passing", Output: "alive"}
	serfDead  = &api.HealthCheck{CheckID: "serfHealth", Name: "serf", Status: "critical", Output: "not live"}
	httpOK    = &api.HealthCheck{CheckID: "h", Name: "http", Status: "passing", Type: "http", Output: "200", ServiceID: "x"}
	httpBad   = &api.HealthCheck{CheckID: "h", Name: "http", Status: "critical", Type: "http", Output: "500", ServiceID: "x"}
	httpNever = &api.HealthCheck{CheckID: "h", Name: "http", Status: "critical", Type: "http", ServiceID: "x"}
	ttlNever  = &api.HealthCheck{CheckID: "t", Name: "ttl", Status: "critical", Type: "ttl", ServiceID: "x"}
	external  = &api.HealthCheck{CheckID: "e", Name: "external", Status: "critical", ServiceID: "x"}
	slow      = &api.HealthCheck{CheckID: "w", Name: "slow", Status: "warning", Type: "http", Output: "429", ServiceID: "x"}
	maint     = &api.HealthCheck{CheckID: "_service_maintenance:x", Status: "critical", Notes: "deploy"}
)

// heartbeats is how many queries of the heartbeat there were.
func (f *fakeConsul) heartbeats() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.beats
}
