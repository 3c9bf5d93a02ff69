//go:build integration

package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lictor/resolver"
	"lictor/resolver/consul"
)

// neverWithout samples a service all the time and fails the test for each
// moment at which no instance may get a request. The returned function ends it.
func neverWithout(t *testing.T, r *consul.Resolver, names ...string) (stop func()) {
	t.Helper()
	end := make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		bad := make(map[string]time.Time)
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
			}
			for _, name := range names {
				s := r.Catalog().Lookup(name)
				if s != nil && s.Usable() {
					if since, ok := bad[name]; ok {
						t.Errorf("%s could not serve for %v", name, time.Since(since))
						delete(bad, name)
					}
				} else if _, ok := bad[name]; !ok {
					bad[name] = time.Now()
					t.Errorf("%s cannot serve: %v", name, describe(s))
				}
			}
		}
	})
	return func() {
		close(end)
		sampler.Wait()
	}
}

// served goes on for a while in which the services may be asked for all the time.
func served(t *testing.T, r *consul.Resolver, while time.Duration, names ...string) {
	t.Helper()
	holds(t, while, "they serve", func() error {
		for _, name := range names {
			if s := r.Catalog().Lookup(name); s == nil || !s.Usable() {
				return errors.New(name + ": " + describe(s))
			}
		}
		return nil
	})
}

// describe tells a service's instances and their states.
func describe(s *resolver.Service) string {
	if s == nil {
		return "unknown"
	}
	var parts []string
	for _, i := range s.Instances {
		parts = append(parts, fmt.Sprintf("%s %v (%s)", i.ID[strings.LastIndex(i.ID, "/")+1:], i.State, i.Note))
	}
	return strings.Join(parts, ", ")
}

// becomes waits until the service has exactly the given instances in the given states.
func becomes(t *testing.T, r *consul.Resolver, limit time.Duration, name string, want map[string]resolver.State) {
	t.Helper()
	eventually(t, limit, fmt.Sprintf("%s is %v", name, want), func() error {
		r.Want(name)
		s := r.Catalog().Lookup(name)
		if s == nil || len(s.Instances) != len(want) {
			return errors.New(describe(s))
		}
		for _, i := range s.Instances {
			if want[i.ID[strings.LastIndex(i.ID, "/")+1:]] != i.State {
				return errors.New(describe(s))
			}
		}
		return nil
	})
}

type states = map[string]resolver.State

// TestResolverFollowsChecks: D8, a failing check takes an instance out and back within 2 s.
func TestResolverFollowsChecks(t *testing.T) {
	together(t)
	c := startConsul(t)
	one, two := startBackend(t, "one"), startBackend(t, "two")
	register(t, c, "shop", "one", one.Addr, httpCheck(one.URL+"/health", "200ms"))
	register(t, c, "shop", "two", two.Addr, httpCheck(two.URL+"/health", "200ms"))
	r := startResolver(t, c, nil)
	becomes(t, r, soon, "shop", states{"one": resolver.Passing, "two": resolver.Passing})

	two.SetHealth(http.StatusInternalServerError)
	becomes(t, r, soon, "shop", states{"one": resolver.Passing, "two": resolver.Critical})
	two.SetHealth(http.StatusTooManyRequests)
	becomes(t, r, soon, "shop", states{"one": resolver.Passing, "two": resolver.Warning})
	two.SetHealth(http.StatusOK)
	becomes(t, r, soon, "shop", states{"one": resolver.Passing, "two": resolver.Passing})

	one.SetHealth(http.StatusInternalServerError)
	two.SetHealth(http.StatusInternalServerError)
	becomes(t, r, soon, "shop", states{"one": resolver.Critical, "two": resolver.Critical})
	two.SetHealth(http.StatusOK)
	becomes(t, r, soon, "shop", states{"one": resolver.Critical, "two": resolver.Passing})

	if err := c.Client.Agent().EnableServiceMaintenance("two", "deploy"); err != nil {
		t.Fatal(err)
	}
	becomes(t, r, soon, "shop", states{"one": resolver.Critical, "two": resolver.Maintenance})
	if err := c.Client.Agent().DisableServiceMaintenance("two"); err != nil {
		t.Fatal(err)
	}
	deregister(t, c, "one")
	becomes(t, r, soon, "shop", states{"two": resolver.Passing})
	deregister(t, c, "two")
	eventually(t, soon, "shop is unknown", func() error {
		if s := r.Catalog().Lookup("shop"); s != nil {
			return errors.New(describe(s))
		}
		return nil
	})
}

// TestResolverReadsRegistrations: contract 2, weights and metadata as Consul has them.
func TestResolverReadsRegistrations(t *testing.T) {
	together(t)
	c := startConsul(t)
	register(t, c, "shop", "a", "10.1.2.3:8443", withWeights(7, 2), withTags("blue"), withMeta(map[string]string{
		"lictor-scheme": "https", "lictor-protocol": "h2", "lictor-timeout": "3600s", "lictor-balance": "least_requests",
		"lictor-strip": "false", "lictor-host": "upstream"}))
	register(t, c, "shop", "b", "10.1.2.4:80", withMeta(map[string]string{"lictor-timeout": "soon"}))
	r := startResolver(t, c, nil)
	s := loaded(t, r, "shop")
	if len(s.Instances) != 2 || len(s.Problems) != 1 {
		t.Fatalf("got %s, problems %q", describe(s), s.Problems)
	}
	a := s.Instances[0]
	if a.Address != "10.1.2.3:8443" || a.Weight != 7 || !a.TLS || a.Protocol != resolver.H2 || a.State != resolver.Passing {
		t.Errorf("got %+v", a)
	}
	want := resolver.Options{Timeout: time.Hour, Balance: resolver.LeastRequests, KeepSegment: true, UpstreamHost: true}
	if s.Options != want {
		t.Errorf("got %+v, want %+v", s.Options, want)
	}
}

// TestResolverSurvivesKill: Consul is gone for 10 s and comes back with its data.
func TestResolverSurvivesKill(t *testing.T) {
	mostlyWaiting(t)
	c := startConsul(t, persistent(t))
	b := startBackend(t, "one")
	register(t, c, "shop", "one", b.Addr, httpCheck(b.URL+"/health", "500ms"))
	register(t, c, "cart", "two", b.Addr, httpCheck(b.URL+"/health", "500ms"))
	r := startResolver(t, c, nil)
	becomes(t, r, soon, "shop", states{"one": resolver.Passing})
	becomes(t, r, soon, "cart", states{"two": resolver.Passing})
	stop := neverWithout(t, r, "shop", "cart")
	c.Kill(t)
	served(t, r, 10*time.Second, "shop", "cart")
	c.Start(t)
	register(t, c, "late", "late", b.Addr)
	loadedWithin(t, r, 30*time.Second, "late")
	served(t, r, 3*time.Second, "shop", "cart")
	stop()
	becomes(t, r, time.Second, "shop", states{"one": resolver.Passing})
}

// loadedWithin waits until a service is known.
func loadedWithin(t *testing.T, r *consul.Resolver, limit time.Duration, name string) {
	t.Helper()
	eventually(t, limit, name+" is loaded", func() error {
		r.Want(name)
		if s := r.Catalog().Lookup(name); s == nil || !s.Loaded {
			return fmt.Errorf("status %+v", r.Status())
		}
		return nil
	})
}

// TestResolverSurvivesEmptyRestart: Consul restarts without its memory; the
// services are registered again 8 s later, and their checks have to run first.
func TestResolverSurvivesEmptyRestart(t *testing.T) {
	mostlyWaiting(t)
	for _, services := range []int{1, 5} {
		t.Run(fmt.Sprintf("%d services", services), func(t *testing.T) {
			beside(t)
			c := startConsul(t)
			b := startBackend(t, "one")
			var names []string
			enrol := func() {
				for i := range services {
					name := fmt.Sprintf("shop-%d", i)
					register(t, c, name, name+"-1", b.Addr, httpCheck(b.URL+"/health", "2s"))
				}
			}
			enrol()
			r := startResolver(t, c, nil)
			for i := range services {
				name := fmt.Sprintf("shop-%d", i)
				names = append(names, name)
				becomes(t, r, soon, name, states{name + "-1": resolver.Passing})
			}
			was := r.Catalog().Lookup("shop-0").Instances[0]
			stop := neverWithout(t, r, names...)
			c.Kill(t)
			c.Start(t)
			served(t, r, 8*time.Second, names...)
			enrol()
			served(t, r, 8*time.Second, names...)
			if held := r.Status().Held; held == "" {
				t.Error("status does not say that the last list is held")
			}
			eventually(t, 40*time.Second, "all is well", func() error {
				s := r.Catalog().Lookup("shop-0")
				if s == nil || r.Status().Held != "" || s.Held != "" {
					return errors.New(r.Status().Held + describe(s))
				}
				return nil
			})
			stop()
			if got := r.Catalog().Lookup("shop-0").Instances[0]; got != was {
				t.Errorf("got %+v, want the very instance %+v", got, was)
			}
		})
	}
}

// TestResolverSurvivesAgentRestart: an agent that was just restarted lists
// nothing passing for a while; here until its checks have run again.
func TestResolverSurvivesAgentRestart(t *testing.T) {
	mostlyWaiting(t)
	tests := []struct {
		name  string
		start func(t *testing.T) (asked, restarted *consulAgent)
	}{
		{"the only server", func(t *testing.T) (*consulAgent, *consulAgent) {
			c := startConsul(t, persistent(t))
			return c, c
		}},
		{"an agent behind a live server", func(t *testing.T) (*consulAgent, *consulAgent) {
			server := startConsul(t, persistent(t))
			return server, startConsul(t, joining(t, server))
		}},
		{"the agent that lictor asks", func(t *testing.T) (*consulAgent, *consulAgent) {
			agent := startConsul(t, joining(t, startConsul(t, persistent(t))))
			return agent, agent
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			beside(t)
			asked, restarted := tt.start(t)
			b := startBackend(t, "one")
			register(t, restarted, "shop", "one", b.Addr, httpCheck(b.URL+"/health", "3s"))
			r := startResolver(t, asked, nil)
			becomes(t, r, soon, "shop", states{"one": resolver.Passing})
			stop := neverWithout(t, r, "shop")
			restarted.Kill(t)
			served(t, r, 12*time.Second, "shop") // long enough for the server to see that the agent is dead
			restarted.Start(t)
			served(t, r, 8*time.Second, "shop")
			stop()
			becomes(t, r, soon, "shop", states{"one": resolver.Passing})
		})
	}
}

// TestResolverStartsBeforeConsul: lictor starts while Consul is away and catches up.
func TestResolverStartsBeforeConsul(t *testing.T) {
	together(t)
	c := startConsul(t)
	c.Kill(t)
	r := startResolver(t, c, nil)
	eventually(t, soon, "the status tells that Consul is away", func() error {
		if s := r.Status(); s.Ready || s.Error == "" {
			return fmt.Errorf("got %+v", s)
		}
		return nil
	})
	c.Start(t)
	register(t, c, "shop", "one", "127.0.0.1:9")
	loadedWithin(t, r, soon, "shop")
}

// TestResolverColdStart: restarted while Consul is away, lictor serves within a
// second from its last-good file.
func TestResolverColdStart(t *testing.T) {
	mostlyWaiting(t)
	c := startConsul(t)
	file := filepath.Join(t.TempDir(), "catalog.json")
	keep := func(cfg *consul.Config) { cfg.SnapshotFile = file }
	b := startBackend(t, "one")
	register(t, c, "shop", "one", b.Addr, httpCheck(b.URL+"/health", "200ms"))
	t.Run("first life", func(t *testing.T) {
		becomes(t, startResolver(t, c, keep), 5*time.Second, "shop", states{"one": resolver.Passing})
	})
	c.Kill(t)
	r := startResolver(t, c, keep)
	becomes(t, r, time.Second, "shop", states{"one": resolver.Passing})
	if s := r.Status(); !s.Snapshot || !s.Ready || time.Since(s.Since) > time.Minute {
		t.Errorf("got %+v, want a fresh snapshot", s)
	}
	stop := neverWithout(t, r, "shop")
	c.Start(t)
	served(t, r, 8*time.Second, "shop")
	register(t, c, "shop", "one", b.Addr, httpCheck(b.URL+"/health", "2s"))
	served(t, r, 5*time.Second, "shop")
	stop()
}
