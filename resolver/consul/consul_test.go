package consul

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"lictor/resolver"
)

func TestNewChecksItsConfig(t *testing.T) {
	good := Config{Client: newTestClient(t, nil), Log: hclog.NewNullLogger()}
	tests := []struct {
		name string
		edit func(*Config)
		ok   bool
	}{
		{"client and log are enough", func(*Config) {}, true},
		{"a client is needed", func(c *Config) { c.Client = nil }, false},
		{"a log is needed", func(c *Config) { c.Log = nil }, false},
		{"times are not negative", func(c *Config) { c.EmptyHold = -1 }, false},
		{"a broken glob in expose", func(c *Config) { c.Expose = []string{"[a"} }, false},
		{"a broken glob in hide", func(c *Config) { c.Hide = []string{"[a"} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.edit(&cfg)
			if _, err := New(cfg); (err == nil) != tt.ok {
				t.Errorf("New: %v", err)
			}
		})
	}
}

// TestOnlyKnownNamesReachConsul: D8, a scanner cannot create watches.
func TestOnlyKnownNamesReachConsul(t *testing.T) {
	fake := newFake()
	for _, name := range []string{"shop", "internal-db", "lictor", "a/b"} {
		fake.set(name, instance(name, 80, httpOK))
	}
	expose := func(c *Config) { c.Hide, c.OwnService = []string{"consul", "internal-*"}, "lictor" }
	onBench(t, fake, expose, func(b *bench) {
		fake.queries()
		for _, name := range []string{"nosuch", "internal-db", "consul", "lictor", "a/b", ""} {
			select {
			case <-b.Want(name):
			default:
				t.Errorf("Want(%q) makes one wait", name)
			}
			b.settle()
			b.expect(name, "unknown", "always")
		}
		if asked := fake.queries(); len(asked) > 0 || len(b.followers) > 0 {
			t.Errorf("consul was asked %q, %d followers are left", asked, len(b.followers))
		}
		b.expect("shop", "not loaded", "before it is wanted")
		b.want("shop")
		b.expect("shop", "shop passing", "after it is wanted")
		if asked := fake.queries(); !slices.Equal(asked, []string{"/v1/health/service/shop?0", "/v1/health/service/shop?105"}) &&
			!slices.Equal(asked, []string{"/v1/health/service/shop?0", "/v1/health/service/shop?101"}) {
			t.Errorf("consul was asked %q", asked)
		}
		for range 1000 {
			<-b.Want("shop")
		}
		if asked := fake.queries(); len(asked) > 0 || b.Status().Watches != 2 {
			t.Errorf("wanting again asks %q, %d watches", asked, b.Status().Watches)
		}
	})
}

func TestExpose(t *testing.T) {
	fake := newFake()
	fake.set("shop-a", instance("1", 80))
	fake.set("shop-b", instance("2", 80))
	fake.set("other", instance("3", 80))
	onBench(t, fake, func(c *Config) { c.Expose, c.Hide = []string{"shop-*"}, []string{"*-b"} }, func(b *bench) {
		b.expect("shop-a", "not loaded", "exposed")
		b.expect("shop-b", "unknown", "exposed, but hide wins")
		b.expect("other", "unknown", "not exposed")
	})
}

// TestChangesArriveAtOnce: no time passes between a change and its effect, and
// what did not change keeps its pointers.
func TestChangesArriveAtOnce(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK), instance("b", 2, httpOK))
	fake.set("other", instance("o", 3, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop", "other")
		other := b.Catalog().Lookup("other")
		a := b.Catalog().Lookup("shop").Instances[0]

		fake.set("shop", instance("a", 1, httpOK), instance("b", 2, httpBad))
		b.settle()
		b.expect("shop", "a passing, b critical", "a check failed")
		fake.set("shop", instance("a", 1, httpOK))
		b.settle()
		b.expect("shop", "a passing", "an instance was deregistered")
		fake.set("shop", instance("a", 1, httpOK), instance("c", 3, maint))
		b.settle()
		b.expect("shop", "a passing, c maintenance", "one came in maintenance")
		if got := b.Catalog().Lookup("shop").Instances[1]; got.Note != "deploy" {
			t.Errorf("note %q, want the reason of the maintenance", got.Note)
		}
		fake.check("other", &api.HealthCheck{CheckID: "h", Name: "http", Status: "passing", Type: "http", Output: "another", ServiceID: "x"})
		b.settle()
		if got := b.Catalog().Lookup("other"); got != other {
			t.Error("a check's output changed the service")
		}
		if got := b.Catalog().Lookup("shop").Instances[0]; got != a {
			t.Error("an instance that did not change has a new pointer")
		}
		fake.set("new", instance("n", 4, httpOK))
		b.settle()
		b.expect("new", "not loaded", "a service appeared")
		fake.set("shop")
		b.settle()
		b.expect("shop", "unknown", "the service was deregistered")
		if b.Status().Watches != 2 || len(b.followers) != 1 {
			t.Errorf("%d watches, %d followers, want those of other only", b.Status().Watches, len(b.followers))
		}
	})
}

// TestWantAnswersOnFailure: a waiting request learns of a bad answer too.
func TestWantAnswersOnFailure(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		fake.edit(func() { fake.away = true })
		b.settle()
		began := time.Now()
		<-b.Want("shop")
		if waited := time.Since(began); waited > 0 {
			t.Errorf("waited %v for a refused connection", waited)
		}
		b.expect("shop", "not loaded", "consul is away")
		fake.edit(func() { fake.away = false })
		b.pass(30 * time.Second)
		b.expect("shop", "a passing", "consul came back")
	})
}

// TestWarning: D8, passing_only and the warning weight.
func TestWarning(t *testing.T) {
	tests := []struct {
		name        string
		passingOnly bool
		weight      int
		usable      bool
	}{
		{"passing_only leaves it out", true, 0, false},
		{"else it serves by its warning weight", false, 3, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake()
			e := instance("a", 1, httpOK, slow)
			e.Service.Weights = api.AgentWeights{Passing: 10, Warning: 3}
			fake.set("shop", e)
			onBench(t, fake, func(c *Config) { c.PassingOnly = tt.passingOnly }, func(b *bench) {
				b.want("shop")
				i := b.one("shop")
				if i.State != resolver.Warning || i.Weight != tt.weight || i.Usable() != tt.usable {
					t.Errorf("got %+v", i)
				}
			})
		})
	}
}

func TestTag(t *testing.T) {
	fake := newFake()
	blue, green := instance("a", 1, httpOK), instance("b", 2, httpOK)
	blue.Service.Tags, green.Service.Tags = []string{"blue"}, []string{"green"}
	fake.set("shop", blue, green)
	onBench(t, fake, func(c *Config) { c.Tag = "green" }, func(b *bench) {
		b.want("shop")
		b.expect("shop", "b passing", "with a tag filter")
		fake.set("shop", blue)
		b.settle()
		b.expect("shop", "", "no instance carries the tag")
	})
}

func TestAddress(t *testing.T) {
	fake := newFake()
	own := instance("own", 80)
	own.Service.Address = "10.9.9.9"
	tagged := instance("tagged", 80)
	tagged.Service.TaggedAddresses = map[string]api.ServiceAddress{"wan": {Address: "198.51.100.1", Port: 443}}
	node := instance("node", 80)
	node.Node.TaggedAddresses = map[string]string{"wan": "198.51.100.2"}
	six := instance("six", 80)
	six.Service.Address = "fd00::1"
	secure := instance("secure", 443)
	secure.Service.Meta = map[string]string{"lictor-scheme": "https"}
	fake.set("shop", own, tagged, node, six, secure, instance("plain", 8080))
	tests := []struct {
		tagged string
		want   map[string]string
	}{
		{"", map[string]string{"own": "10.9.9.9:80", "tagged": "10.0.0.1:80", "node": "10.0.0.1:80", "six": "[fd00::1]:80",
			"secure": "10.0.0.1:443", "plain": "10.0.0.1:8080"}},
		{"wan", map[string]string{"own": "10.9.9.9:80", "tagged": "198.51.100.1:443", "node": "198.51.100.2:80",
			"six": "[fd00::1]:80", "secure": "10.0.0.1:443", "plain": "10.0.0.1:8080"}},
	}
	for _, tt := range tests {
		t.Run("tagged address "+tt.tagged, func(t *testing.T) {
			onBench(t, fake, func(c *Config) { c.TaggedAddress = tt.tagged }, func(b *bench) {
				b.want("shop")
				for _, i := range b.Catalog().Lookup("shop").Instances {
					if got, want := i.Address, tt.want[strings.TrimPrefix(i.ID, "n/")]; got != want {
						t.Errorf("%s: got %s, want %s", i.ID, got, want)
					}
				}
			})
		})
	}
}

// TestManyServices: beyond Watches nothing is lost, only later (sweep.go).
func TestManyServices(t *testing.T) {
	fake := newFake()
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		names = append(names, name)
		fake.set(name, instance("a", i+1, httpOK))
	}
	onBench(t, fake, func(c *Config) { c.Watches = 3 }, func(b *bench) {
		b.want(names...)
		for _, name := range names {
			b.expect(name, "a passing", "wanted")
		}
		if got := b.Status().Watches; got != 6 {
			t.Errorf("%d watches, want 3, that of the names and 2 of checks", got)
		}
		b.pass(10 * time.Second)
		fake.check("s15", httpBad)
		b.pass(500 * time.Millisecond)
		b.expect("s15", "a critical", "a check failed")
		fake.check("s15", httpOK)
		b.pass(500 * time.Millisecond)
		b.expect("s15", "a passing", "and passes again")
		fake.set("s16", instance("a", 17, httpOK), instance("b", 99, httpOK))
		b.pass(50 * time.Millisecond)
		b.expect("s16", "a passing, b passing", "an instance was registered, and an overview takes no time")
		fake.check("s17", serfDead)
		b.pass(500 * time.Millisecond)
		b.expect("s17", "a last_resort", "its node is not seen")
		b.pass(31 * time.Second)
		b.expect("s17", "a critical", "its node was not seen for empty_hold")
		fake.set("s18")
		b.settle()
		b.expect("s18", "unknown", "a service was deregistered")
		if got := len(b.sweeper.members); got != 16 {
			t.Errorf("%d services are swept, want 16", got)
		}
		fake.queries()
		b.pass(time.Hour)
		if n := len(fake.queries()); n > 1000 {
			t.Errorf("%d queries in an idle hour", n)
		}
	})
}

// TestAChangeDoesNotWaitForAllOthers: while all that have no watch are read again, one
// that is known to have moved is read first.
func TestAChangeDoesNotWaitForAllOthers(t *testing.T) {
	fake := newFake()
	var names []string
	for i := range 600 {
		name := fmt.Sprintf("s%d", i)
		names = append(names, name)
		fake.set(name, instance("a", i+1, httpOK))
	}
	onBench(t, fake, func(c *Config) { c.Watches = 3 }, func(b *bench) {
		b.want(names...)
		b.pass(20 * time.Second)
		fake.set("s500", instance("a", 9999, httpOK)) // in place, which nothing tells
		b.pass(sweepLazy + time.Second)
		for i := range 5 {
			name := fmt.Sprint("s", 300+i)
			fake.check(name, httpBad)
			b.pass(100 * time.Millisecond)
			b.expect(name, "a critical", "a check failed")
		}
		b.pass(5 * time.Second)
		if s := b.Catalog().Lookup("s500"); !strings.HasSuffix(s.Instances[0].Address, ":9999") {
			t.Errorf("s500 is still at %s", s.Instances[0].Address)
		}
	})
}

// TestAServiceThatCannotBeReadKeepsNoOtherFromIt: of those that have no watch one is
// refused, again and again; the others are read as if it were not there.
func TestAServiceThatCannotBeReadKeepsNoOtherFromIt(t *testing.T) {
	fake := newFake()
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		names = append(names, name)
		fake.set(name, instance("a", i+1, httpOK))
	}
	fake.set("bad", instance("a", 99, httpOK))
	onBench(t, fake, func(c *Config) { c.Watches = 3 }, func(b *bench) {
		b.want(names...)
		fake.edit(func() { fake.refuse = "/v1/health/service/bad" })
		b.want("bad")
		b.pass(5 * time.Minute)
		fake.queries()
		b.pass(10 * time.Minute)
		tries := 0
		for _, query := range fake.queries() {
			if strings.HasPrefix(query, fake.refuse) {
				tries++
			}
		}
		if tries < 10 || tries > 60 {
			t.Errorf("it was asked for %d times in ten minutes", tries)
		}
		fake.check("s16", httpBad)
		b.pass(500 * time.Millisecond)
		b.expect("s16", "a critical", "a check failed")
		fake.set("s15", instance("a", 9999, httpOK)) // in place, which nothing tells
		b.pass(sweepLazy + 2*time.Second)
		if s := b.Catalog().Lookup("s15"); !strings.HasSuffix(s.Instances[0].Address, ":9999") {
			t.Errorf("s15 is still at %s", s.Instances[0].Address)
		}
		fake.edit(func() { fake.refuse = "" })
		b.pass(time.Minute)
		b.expect("bad", "a passing", "it may be read again")
	})
}

// TestWhatIsTooLongHidesNothingElse: a service with more tags, and a check with longer
// notes, than is read of one keeps nobody from seeing what happens to others.
func TestWhatIsTooLongHidesNothingElse(t *testing.T) {
	fake := newFake()
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		names = append(names, name)
		fake.set(name, instance("a", i+1, httpOK))
	}
	long := strings.Repeat("x", 2*maxPart)
	big := instance("a", 99, &api.HealthCheck{CheckID: "h", Name: "http", Status: "critical", Notes: long, Output: "500", ServiceID: "x"})
	big.Service.Tags = []string{long}
	fake.set("big", big)
	onBench(t, fake, func(c *Config) { c.Watches = 3 }, func(b *bench) {
		b.want(names...)
		b.pass(20 * time.Second)
		fake.check("s16", httpBad)
		b.pass(500 * time.Millisecond)
		b.expect("s16", "a critical", "a check failed")
		fake.queries()
		fake.set("s17", instance("a", 18, httpOK), instance("b", 99, httpOK))
		b.pass(500 * time.Millisecond)
		b.expect("s17", "a passing, b passing", "an instance was registered")
		if asked := strings.Join(fake.queries(), " "); strings.Contains(asked, "/s15?") {
			t.Errorf("for one service others were asked for: %s", asked)
		}
	})
}

// TestPacing: a storm of changes does not become a storm of queries.
func TestPacing(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop")
		fake.queries()
		for i := range 3000 {
			fake.check("shop", []*api.HealthCheck{httpOK, httpBad}[i%2])
			b.pass(10 * time.Millisecond)
		}
		if n := len(fake.queries()); n > 60 {
			t.Errorf("%d queries for one service in 30 s, want about one a second", n)
		}
		b.pass(2 * time.Second)
		b.expect("shop", "a critical", "the last change arrives")
	})
}
