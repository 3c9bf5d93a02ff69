package consul

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// crowd registers services s1..sn of one instance each, and returns their names.
func crowd(fake *fakeConsul, n int, checks ...*api.HealthCheck) []string {
	var names []string
	for i := range n {
		name := "s" + string(rune('1'+i))
		names = append(names, name)
		fake.set(name, instance("a", i+1, checks...))
	}
	return names
}

// TestOneEmptiedService: D8, an answer that empties one service is believed
// after an uncached, consistent re-read agrees.
func TestOneEmptiedService(t *testing.T) {
	t.Run("a lie is not believed", func(t *testing.T) {
		fake := newFake()
		fake.set("shop", instance("a", 1, httpOK))
		onBench(t, fake, nil, func(b *bench) {
			b.want("shop")
			fake.edit(func() {
				fake.index++
				fake.lies = map[string]bool{"shop": true}
				fake.indexes["/v1/health/service/shop"] = fake.index
			})
			b.during(10*time.Minute, "shop", "a passing", "the plain answer is empty")
		})
	})
	t.Run("a deregistration is obeyed at once", func(t *testing.T) {
		fake := newFake()
		crowd(fake, 5, httpOK)
		onBench(t, fake, nil, func(b *bench) {
			b.want("s1", "s2")
			fake.set("s1")
			b.settle()
			b.expect("s1", "unknown", "deregistered")
			fake.set("s3")
			b.settle()
			b.expect("s3", "unknown", "deregistered, though nobody wanted it")
		})
	})
	t.Run("a health answer that stays empty is believed in the end", func(t *testing.T) {
		fake := newFake()
		fake.set("shop", instance("a", 1, httpOK))
		onBench(t, fake, nil, func(b *bench) {
			b.want("shop")
			fake.edit(func() {
				fake.index++
				fake.services["shop"] = []*api.ServiceEntry{}
				fake.indexes["/v1/health/service/shop"] = fake.index
			})
			b.pass(2 * time.Second)
			b.expect("shop", "", "twice confirmed, while the name stays")
		})
	})
}

// TestMostVanishAtOnce: D8, at least three and more than half.
func TestMostVanishAtOnce(t *testing.T) {
	vanish := func(fake *fakeConsul, names ...string) {
		fake.edit(func() {
			fake.index++
			for _, name := range names {
				delete(fake.services, name)
				fake.indexes["/v1/health/service/"+name] = fake.index
			}
			fake.indexes["/v1/catalog/services"] = fake.index
		})
	}
	t.Run("they serve on for empty_hold, then they go", func(t *testing.T) {
		fake := newFake()
		names := crowd(fake, 5, httpOK)
		onBench(t, fake, nil, func(b *bench) {
			b.want(names...)
			vanish(fake, "s1", "s2", "s3")
			b.during(29*time.Second, "s1", "a passing", "held")
			if held := b.Status().Held; held == "" {
				t.Error("status does not say that services are held")
			}
			b.pass(4 * time.Second)
			b.expect("s1", "unknown", "given up")
			b.expect("s4", "a passing", "was there all the time")
			if held := b.Status().Held; held != "" {
				t.Errorf("status still says %q", held)
			}
			if got := len(b.followers); got != 2 {
				t.Errorf("%d followers, want 2", got)
			}
		})
	})
	t.Run("what comes back is used", func(t *testing.T) {
		fake := newFake()
		names := crowd(fake, 4, httpOK)
		onBench(t, fake, nil, func(b *bench) {
			b.want(names...)
			vanish(fake, names...)
			b.pass(10 * time.Second)
			fake.set("s2", instance("a", 2, httpOK), instance("b", 22, httpOK))
			b.settle()
			b.expect("s2", "a passing, b passing", "came back")
			b.pass(60 * time.Second)
			b.expect("s2", "a passing, b passing", "stays")
			b.expect("s1", "unknown", "did not come back")
		})
	})
	t.Run("two are not most", func(t *testing.T) {
		fake := newFake()
		names := crowd(fake, 3, httpOK)
		onBench(t, fake, nil, func(b *bench) {
			b.want(names...)
			vanish(fake, "s1", "s2")
			b.settle()
			b.expect("s1", "unknown", "gone")
		})
	})
	t.Run("three of six are not more than half", func(t *testing.T) {
		fake := newFake()
		names := crowd(fake, 6, httpOK)
		onBench(t, fake, nil, func(b *bench) {
			b.want(names...)
			vanish(fake, "s1", "s2", "s3")
			b.settle()
			b.expect("s1", "unknown", "gone")
		})
	})
	t.Run("without empty_hold they go at once", func(t *testing.T) {
		fake := newFake()
		names := crowd(fake, 4, httpOK)
		onBench(t, fake, func(c *Config) { c.EmptyHold = 0 }, func(b *bench) {
			b.want(names...)
			vanish(fake, names...)
			b.settle()
			b.expect("s1", "unknown", "gone")
		})
	})
}

// TestConsulLosesItsMemory: restarted empty, with the services registered
// again 8 s later, not one moment without the instance.
func TestConsulLosesItsMemory(t *testing.T) {
	tests := []struct {
		name     string
		services int
		index    uint64 // where the new one begins
		blind    bool   // the connection survives, so that nothing shows the restart
		checks   []*api.HealthCheck
		again    string // state once it is registered again, until the check has run
	}{
		{"the index went backwards", 5, 1, false, []*api.HealthCheck{serfAlive, httpOK}, "a passing"},
		{"a single service", 1, 1, false, []*api.HealthCheck{serfAlive, httpOK}, "a passing"},
		{"two services", 2, 1, false, []*api.HealthCheck{httpOK}, "a passing"},
		{"the index did not go backwards", 5, 1000, false, []*api.HealthCheck{httpOK}, "a passing"},
		{"a single service, the index did not go backwards", 1, 1000, false, []*api.HealthCheck{httpOK}, "a passing"},
		{"nothing shows it but the answers", 5, 1000, true, []*api.HealthCheck{httpOK}, "a passing"},
		{"the check has not run yet", 5, 1, false, []*api.HealthCheck{serfAlive, httpNever}, "a passing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake()
			names := crowd(fake, tt.services, serfAlive, httpOK)
			onBench(t, fake, nil, func(b *bench) {
				b.want(names...)
				was := b.one("s1")
				if !tt.blind {
					fake.edit(func() { fake.away = true })
					b.during(2*time.Second, "s1", "a passing", "away")
				}
				fake.reset(tt.index)
				fake.edit(func() {
					fake.away = false
					if tt.blind {
						for _, name := range names {
							fake.indexes["/v1/health/service/"+name] = tt.index
						}
					}
					fake.indexes["/v1/catalog/services"] = tt.index
				})
				b.during(8*time.Second, "s1", "a passing", "back and empty")
				crowd(fake, tt.services, tt.checks...)
				b.during(10*time.Second, "s1", tt.again, "registered again")
				crowd(fake, tt.services, serfAlive, httpOK)
				b.during(60*time.Second, "s1", "a passing", "all well")
				if got := b.one("s1"); got != was {
					t.Error("the instance has a new pointer, though it is the same")
				}
				if s := b.Catalog().Lookup("s1"); s.Held != "" || b.Status().Held != "" || b.Status().Error != "" {
					t.Errorf("held %q, status %+v", s.Held, b.Status())
				}
			})
		})
	}
}

// TestDoubtAndVerdict: D8, what Consul does not know does not empty a service;
// what a check found, maintenance and deregistration do.
func TestDoubtAndVerdict(t *testing.T) {
	tests := []struct {
		name   string
		checks []*api.HealthCheck
		first  string // at once
		later  string // after empty_hold
	}{
		{"its node is not seen", []*api.HealthCheck{serfDead, httpOK}, "a last_resort", "a critical"},
		{"its check has not run yet", []*api.HealthCheck{serfAlive, httpNever}, "a last_resort", "a critical"},
		{"both", []*api.HealthCheck{serfDead, httpNever}, "a last_resort", "a critical"},
		{"its check ran and failed", []*api.HealthCheck{serfAlive, httpBad}, "a critical", "a critical"},
		{"its node is not seen, and its check failed", []*api.HealthCheck{serfDead, httpBad}, "a critical", "a critical"},
		{"one check has not run, another failed", []*api.HealthCheck{httpNever, httpBad}, "a critical", "a critical"},
		{"a TTL without output", []*api.HealthCheck{ttlNever}, "a critical", "a critical"},
		{"a check that no agent runs", []*api.HealthCheck{external}, "a critical", "a critical"},
		{"maintenance", []*api.HealthCheck{serfDead, maint}, "a maintenance", "a maintenance"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake()
			fake.set("shop", instance("a", 1, serfAlive, httpOK))
			onBench(t, fake, nil, func(b *bench) {
				b.want("shop")
				fake.check("shop", tt.checks...)
				b.settle()
				b.during(29*time.Second, "shop", tt.first, "at once")
				b.pass(5 * time.Second)
				b.expect("shop", tt.later, "after empty_hold")
				fake.check("shop", tt.checks...)
				b.settle()
				b.expect("shop", tt.later, "a second answer does not begin anew")
				fake.check("shop", serfAlive, httpOK)
				b.settle()
				b.expect("shop", "a passing", "well again")
			})
		})
	}
}

func TestLastResort(t *testing.T) {
	t.Run("not while another instance passes", func(t *testing.T) {
		fake := newFake()
		fake.set("shop", instance("a", 1, httpOK), instance("b", 2, httpOK))
		onBench(t, fake, nil, func(b *bench) {
			b.want("shop")
			fake.set("shop", instance("a", 1, serfDead), instance("b", 2, httpOK))
			b.settle()
			b.expect("shop", "a critical, b passing", "a in doubt")
			b.pass(5 * time.Second)
			fake.set("shop", instance("a", 1, serfDead), instance("b", 2, httpNever))
			b.settle()
			b.expect("shop", "a last_resort, b last_resort", "both in doubt")
			b.during(24*time.Second, "shop", "a last_resort, b last_resort", "both in doubt")
			b.pass(3 * time.Second)
			b.expect("shop", "a critical, b last_resort", "the first one's time is over")
			b.pass(5 * time.Second)
			b.expect("shop", "a critical, b critical", "both are over")
		})
	})
	t.Run("not for one that did not pass last", func(t *testing.T) {
		fake := newFake()
		fake.set("shop", instance("a", 1, httpBad))
		onBench(t, fake, nil, func(b *bench) {
			b.want("shop")
			fake.check("shop", httpNever)
			b.settle()
			b.expect("shop", "a critical", "it failed, then its agent restarted")
		})
	})
	t.Run("not for one that is new", func(t *testing.T) {
		fake := newFake()
		fake.set("shop", instance("a", 1, httpNever))
		onBench(t, fake, nil, func(b *bench) {
			b.want("shop")
			b.expect("shop", "a critical", "registered just now")
		})
	})
	t.Run("not for the same ID at another address", func(t *testing.T) {
		fake := newFake()
		fake.set("shop", instance("a", 1, httpOK))
		onBench(t, fake, nil, func(b *bench) {
			b.want("shop")
			fake.set("shop", instance("a", 2, httpNever))
			b.settle()
			b.expect("shop", "a critical", "another process")
		})
	})
}
