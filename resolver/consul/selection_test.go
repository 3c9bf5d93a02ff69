package consul

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// tagged is an instance with tags.
func tagged(id string, port int, tags ...string) *api.ServiceEntry {
	e := instance(id, port, httpOK)
	e.Service.Tags = tags
	return e
}

// selects has b select anew, and lets the answers to it come in.
func (b *bench) selects(s Selection) {
	b.t.Helper()
	put, err := b.Prepare(s)
	if err != nil {
		b.t.Fatal(err)
	}
	put()
}

// TestNamesThatAreLeftOutAreTold: they are in Consul, nobody hides them, and no request
// reaches them.
func TestNamesThatAreLeftOutAreTold(t *testing.T) {
	tests := []struct{ name, service, told string }{
		{"a path cannot have it", "shop/v2", `1 services are left out for their names, which no path can have or consul cannot be asked about, as "shop/v2"`},
		{"consul cannot be asked about it", "shop\nv2", `as "shop\nv2"`},
		{"it is too long for a path", strings.Repeat("s", maxName+1), `as "sss`},
		{"it is too long to be read", strings.Repeat("s", 7*maxName), "1 services are left out, for what consul lists of each is too long"},
		{"somebody hides it", "hidden/v2", ""},
		{"nothing is wrong with it", "shop", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake()
			fake.set(tt.service, instance("a", 1, httpOK))
			onBench(t, fake, func(c *Config) { c.Hide = []string{"consul", "hidden*"} }, func(b *bench) {
				if got := b.Status().Error; !strings.Contains(got, tt.told) || tt.told == "" && got != "" {
					t.Errorf("status tells %q, want %q", got, tt.told)
				}
				fake.set(tt.service)
				b.settle()
				if got := b.Status().Error; got != "" {
					t.Errorf("status tells %q though it is gone", got)
				}
			})
		})
	}
}

// TestSelectWhileItRuns: K1, expose, hide and tag change at any time.
func TestSelectWhileItRuns(t *testing.T) {
	all := []string{"*"}
	fake := newFake()
	fake.set("shop", tagged("blue", 1, "blue"), tagged("green", 2, "green"), tagged("none", 3))
	fake.set("cart", tagged("c", 4, "blue"))
	onBench(t, fake, func(c *Config) { c.Hide = []string{"cart"} }, func(b *bench) {
		b.want("shop")
		b.expect("cart", "unknown", "it is hidden at first")
		b.selects(Selection{Expose: all, Hide: []string{"shop"}})
		b.expect("shop", "unknown", "it is hidden, at once")
		b.settle()
		b.want("cart")
		b.expect("cart", "c passing", "it is not hidden any more")
		b.selects(Selection{Expose: []string{"sh*"}, Hide: []string{}})
		b.expect("cart", "unknown", "it is not exposed any more")
		b.settle()
		b.want("shop")
		b.expect("shop", "blue passing, green passing, none passing", "it came back")
		b.selects(Selection{Tag: "green", Expose: all, Hide: []string{}})
		b.settle()
		b.expect("shop", "green passing", "only that one carries the tag")
		b.selects(Selection{Tag: "red", Expose: all, Hide: []string{}})
		b.settle()
		b.expect("shop", "", "none carries the tag, but the service is there")
		b.selects(Selection{Expose: all, Hide: []string{}})
		b.settle()
		b.expect("shop", "blue passing, green passing, none passing", "no tag is wanted any more")
		before := len(fake.queries())
		b.selects(Selection{Expose: all, Hide: []string{}})
		b.settle()
		if asked := fake.queries(); len(asked) != 0 || before == 0 {
			t.Errorf("nothing changed, and it asks %q", asked)
		}
		if _, err := b.Prepare(Selection{Hide: []string{"[a"}}); err == nil {
			t.Error("a broken glob is taken")
		}
		b.expect("shop", "blue passing, green passing, none passing", "a broken glob changes nothing")
	})
}

// TestATagIsNoLoss: instances that Consul lists without the tag are not held as
// lost ones are, although Consul is in doubt.
func TestATagIsNoLoss(t *testing.T) {
	fake := newFake()
	for _, name := range []string{"a", "b", "c", "d"} {
		fake.set(name, tagged(name, 1, "blue"))
	}
	fake.set("shop", tagged("blue", 1, "blue"), tagged("green", 2, "green"))
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop")
		fake.edit(func() {
			fake.index++
			for _, name := range []string{"a", "b", "c"} {
				delete(fake.services, name)
			}
			fake.indexes["/v1/catalog/services"] = fake.index
		})
		b.pass(time.Second)
		if b.Status().Held == "" {
			t.Fatal("no doubt is there")
		}
		b.selects(Selection{Tag: "green"})
		b.settle()
		b.expect("shop", "green passing", "blue is listed, so it is not lost")
	})
}

// TestATagWhileConsulIsAway: the instances stay, status says which they are, and
// no snapshot calls them by the new tag.
func TestATagWhileConsulIsAway(t *testing.T) {
	fake := newFake()
	fake.set("shop", tagged("blue", 1, "blue"), tagged("green", 2, "green"))
	file := filepath.Join(t.TempDir(), "catalog.json")
	saved := func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	onBench(t, fake, func(c *Config) { c.Tag, c.SnapshotFile = "blue", file }, func(b *bench) {
		b.want("shop")
		b.pass(2 * saveDelay)
		fake.edit(func() { fake.away = true })
		b.selects(Selection{Tag: "green"})
		b.pass(time.Minute)
		b.expect("shop", "blue passing", "Consul is away")
		if held := b.Status().Held; !strings.Contains(held, "former") {
			t.Errorf("status says %q", held)
		}
		if text := saved(); !strings.Contains(text, `"Tag":"blue"`) {
			t.Errorf("the snapshot is %s", text)
		}
		fake.edit(func() { fake.away = false })
		b.pass(time.Minute)
		b.expect("shop", "green passing", "Consul is back")
		if held := b.Status().Held; held != "" {
			t.Errorf("status says %q", held)
		}
		if text := saved(); !strings.Contains(text, `"Tag":"green"`) || strings.Contains(text, "n/blue") {
			t.Errorf("the snapshot is %s", text)
		}
	})
}

// TestATagReachesServicesWithoutAWatch, which the sweep reads.
func TestATagReachesServicesWithoutAWatch(t *testing.T) {
	fake := newFake()
	for _, name := range []string{"s1", "s2", "s3"} {
		fake.set(name, tagged("blue", 1, "blue"), tagged("green", 2, "green"))
	}
	onBench(t, fake, func(c *Config) { c.Watches = 1 }, func(b *bench) {
		b.want("s1", "s2", "s3")
		b.selects(Selection{Tag: "green"})
		b.pass(time.Second)
		for _, name := range []string{"s1", "s2", "s3"} {
			b.expect(name, "green passing", "the tag was changed a second ago")
		}
	})
}
