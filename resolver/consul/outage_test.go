package consul

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// TestRefusedOrFiltered: X6, D8,: the last good answer stays, loudly.
func TestRefusedOrFiltered(t *testing.T) {
	tests := []struct {
		name   string
		breaks func(*fakeConsul)
	}{
		{"filtered by ACLs", func(f *fakeConsul) {
			f.filtered = "/v1/"
			for _, name := range []string{"s1", "s2", "s3", "s4"} {
				delete(f.services, name)
			}
		}},
		{"refused", func(f *fakeConsul) { f.status = 403 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake()
			names := crowd(fake, 5, httpOK)
			onBench(t, fake, nil, func(b *bench) {
				b.want(names...)
				kept := fake.services
				fake.edit(func() {
					copied := map[string][]*api.ServiceEntry{}
					for k, v := range kept {
						copied[k] = v
					}
					fake.services = copied
					tt.breaks(fake)
					fake.index++
					for _, name := range names {
						fake.indexes["/v1/health/service/"+name] = fake.index
					}
					fake.indexes["/v1/catalog/services"] = fake.index
				})
				b.during(time.Minute, "s1", "a passing", tt.name)
				b.pass(time.Hour)
				b.expect("s1", "a passing", tt.name+" for an hour")
				if b.Status().Error == "" {
					t.Error("status shows no error")
				}
				if n := strings.Count(b.log.String(), "[ERROR]"); n < 1 || n > 6 {
					t.Errorf("%d errors are logged, want one for the names and each service at most:\n%s", n, b.log)
				}
				fake.edit(func() {
					fake.filtered, fake.status, fake.services = "", 0, kept
					fake.index++
					fake.indexes["/v1/catalog/services"] = fake.index
				})
				b.pass(2 * time.Minute)
				b.expect("s1", "a passing", "all well again")
				if s := b.Status(); s.Error != "" || s.Held != "" {
					t.Errorf("status is still %+v", s)
				}
			})
		})
	}
}

// TestFilteredButGone: with a token that may see only some services the list is
// always filtered; a service that it may see can go all the same.
func TestFilteredButGone(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK))
	fake.set("mine", instance("m", 2, httpOK))
	fake.filtered = "/v1/catalog/services"
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop", "mine")
		b.expect("shop", "a passing", "what is listed is used")
		fake.set("shop")
		b.settle()
		b.expect("shop", "unknown", "its own answer is empty, and not by ACLs")
		b.expect("mine", "m passing", "it did not change")
	})
}

// TestAway: no storm of queries or log lines, and the watches come back.
func TestAway(t *testing.T) {
	fake := newFake()
	names := crowd(fake, 9, httpOK)
	onBench(t, fake, nil, func(b *bench) {
		b.want(names...)
		b.pass(time.Minute)
		b.log.Reset()
		fake.queries()
		fake.edit(func() { fake.away = true })
		b.pass(time.Hour)
		b.expect("s1", "a passing", "away for an hour")
		if n := len(fake.queries()); n > 300 {
			t.Errorf("%d queries in an hour without consul", n)
		}
		if n := strings.Count(b.log.String(), "\n"); n != 1 {
			t.Errorf("%d lines are logged, want 1:\n%s", n, b.log)
		}
		fake.set("s1", instance("a", 1, httpBad))
		fake.edit(func() { fake.away = false })
		b.pass(31 * time.Second)
		b.expect("s1", "a critical", "back")
		lines := strings.Split(strings.TrimSpace(b.log.String()), "\n")
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "consul answers again") }); i != 1 {
			t.Errorf("it is not logged that consul answers again:\n%s", b.log)
		}
		if w := b.Status().Watches; w != 10 {
			t.Errorf("%d watches, want 10", w)
		}
	})
}

func TestMaxStale(t *testing.T) {
	fake := newFake()
	names := crowd(fake, 2, httpOK)
	onBench(t, fake, func(c *Config) { c.MaxStale = 20 * time.Second }, func(b *bench) {
		b.want(names...)
		was := b.Catalog().Lookup("s1")
		b.during(5*time.Minute, "s1", "a passing", "idle, but in contact")
		fake.edit(func() { fake.away = true })
		b.pass(9 * time.Second)
		b.expect("s1", "a passing", "away for less than max_stale")
		b.pass(15 * time.Second)
		b.expect("s1", "", "away for more than max_stale")
		if s := b.Catalog().Lookup("s1"); s.Usable() || s.Held == "" {
			t.Errorf("got %+v, want a service that says why it is not usable", s)
		}
		fake.edit(func() { fake.away = false })
		b.pass(30 * time.Second)
		if got := b.Catalog().Lookup("s1"); got != was {
			t.Errorf("got %+v, want the very service of before", got)
		}
	})
}
