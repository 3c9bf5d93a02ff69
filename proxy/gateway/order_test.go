package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"lictor/resolver"
)

// lazySource knows names, and loads a service when it is wanted.
type lazySource struct {
	fakeSource
	loaded *resolver.Service // nil: it does not answer
}

func (s *lazySource) Want(string) <-chan struct{} {
	s.wanted.Add(1)
	if s.loaded == nil {
		return nil
	}
	s.catalog.Store(resolver.NewCatalog(s.loaded))
	done := make(chan struct{})
	close(done)
	return done
}

// D10: what a source has not loaded yet is loaded before a later one is asked,
// and a source that does not answer does not hold up what another one has.
func TestResolverOrder(t *testing.T) {
	at := func(name string) *resolver.Instance {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
		t.Cleanup(s.Close)
		return &resolver.Instance{ID: name, Address: s.Listener.Addr().String(), Weight: 1, State: resolver.Passing}
	}
	service := func(i ...*resolver.Instance) *resolver.Service {
		return &resolver.Service{Name: "svc", Loaded: true, Instances: i}
	}
	first, second := at("first"), at("second")
	down := *first
	down.State = resolver.Critical
	tests := []struct {
		name          string
		loads, second *resolver.Service
		want          string
		status        int
	}{
		{"the first is loaded and serves", service(first), service(second), "first", 200},
		{"the first is loaded and has none", service(&down), service(second), "second", 200},
		{"the first does not answer", nil, service(second), "second", 200},
		{"only the first knows it", service(first), nil, "first", 200},
		{"neither has one", service(&down), service(), "", 503},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lazy, later := &lazySource{loaded: tt.loads}, new(fakeSource)
			lazy.catalog.Store(resolver.NewCatalog(&resolver.Service{Name: "svc"}))
			later.catalog.Store(resolver.NewCatalog())
			if tt.second != nil {
				later.catalog.Store(resolver.NewCatalog(tt.second))
			}
			r := newRigWith(t, nil, func(c *Config) { c.Sources = []resolver.Source{lazy, later} })
			began := time.Now()
			resp, body := r.get("/svc/x")
			if resp.StatusCode != tt.status || tt.status == 200 && body != tt.want {
				t.Errorf("got %d %s, want %s", resp.StatusCode, body, tt.want)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			if lazy.wanted.Load() == 0 {
				t.Error("the first was not asked")
			}
		})
	}
}
