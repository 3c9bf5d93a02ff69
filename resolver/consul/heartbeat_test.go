package consul

import (
	"testing"
	"time"
)

// TestAWatchWhoseConnectionWasForgottenIsFoundWithinFiveSeconds: no connection
// breaks, no time runs out, the watches wait and would wait for a minute.
func TestAWatchWhoseConnectionWasForgottenIsFoundWithinFiveSeconds(t *testing.T) {
	tests := []struct {
		name   string
		change func(f *fakeConsul)
		who    string
		want   string
	}{
		{"a service is registered", func(f *fakeConsul) { f.set("new", instance("n", 9, httpOK)) }, "new", "not loaded"},
		{"a service is deregistered", func(f *fakeConsul) { f.set("other") }, "other", "unknown"},
		{"an instance is deregistered", func(f *fakeConsul) { f.set("shop", instance("a", 1, httpOK)) }, "shop", "a passing"},
		{"an instance is registered", func(f *fakeConsul) {
			f.set("shop", instance("a", 1, httpOK), instance("b", 2, httpOK), instance("c", 3, httpOK))
		}, "shop", "a passing, b passing, c passing"},
		{"a check fails", func(f *fakeConsul) { f.check("shop", httpBad) }, "shop", "a critical, b critical"},
		{"an instance moves", func(f *fakeConsul) {
			f.set("shop", instance("a", 1, httpOK), instance("z", 2, httpOK))
		}, "shop", "a passing, z passing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake()
			fake.set("shop", instance("a", 1, httpOK), instance("b", 2, httpOK))
			fake.set("other", instance("o", 4, httpOK))
			onBench(t, fake, nil, func(b *bench) {
				b.want("shop", "other")
				b.pass(33 * time.Second)
				fake.forget()
				b.pass(7 * time.Second)
				tt.change(fake)
				b.pass(5 * time.Second)
				b.expect(tt.who, tt.want, tt.name)
			})
		})
	}
}

// TestStalenessTellsTheTruth: what is known counts as right as of when Consul
// last said so, by whatever query.
func TestStalenessTellsTheTruth(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop")
		for range 100 {
			b.pass(time.Second)
			if age := time.Since(b.Status().Since); age > 5*time.Second {
				t.Fatalf("consul is well and idle, and what is known is called %v old", age)
			}
		}
		fake.edit(func() { fake.away = true })
		b.pass(time.Minute)
		if age := time.Since(b.Status().Since); age < 55*time.Second {
			t.Errorf("consul is away for a minute, and what is known is called %v old", age)
		}
	})
}

// TestMaxStaleIsKeptByAnIdleConsul: contact is proved in time however short it is.
func TestMaxStaleIsKeptByAnIdleConsul(t *testing.T) {
	for _, limit := range []time.Duration{time.Second, 2 * time.Second, 10 * time.Second} {
		fake := newFake()
		fake.set("shop", instance("a", 1, httpOK))
		onBench(t, fake, func(c *Config) { c.MaxStale = limit }, func(b *bench) {
			b.want("shop")
			b.during(2*time.Minute, "shop", "a passing", "an idle consul, max_stale "+limit.String())
		})
	}
}

// TestAQuietConsulIsAskedLittle: the heartbeat costs a few empty answers.
func TestAQuietConsulIsAskedLittle(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop")
		b.pass(time.Minute)
		fake.queries()
		before := fake.heartbeats()
		b.pass(time.Hour)
		if n := fake.heartbeats() - before; n > 2*1300 {
			t.Errorf("%d heartbeats in an hour", n)
		}
		if n := len(fake.queries()); n > 200 {
			t.Errorf("%d other queries in an idle hour", n)
		}
	})
}
