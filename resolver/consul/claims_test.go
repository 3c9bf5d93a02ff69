package consul

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/internal/uri"
)

// claimant is an instance whose registration claims hosts.
func claimant(id string, made, changed uint64, hosts string) *api.ServiceEntry {
	e := instance(id, 1, httpOK)
	e.Service.Meta = map[string]string{metaHosts: hosts}
	e.Service.CreateIndex, e.Service.ModifyIndex = made, changed
	return e
}

// TestClaims: K2, what of lictor-hosts counts, and what is told of the rest.
func TestClaims(t *testing.T) {
	com := []string{"example.com"}
	const syntax = "want hosts such as shop.example.com or *.shop.example.com, separated by commas"
	tests := []struct {
		name     string
		metas    []string
		suffixes []string
		want     string
		problems []string
	}{
		{"the issue's own", []string{"shop.example.com, *.shop.example.com"}, com, "*.shop.example.com shop.example.com", nil},
		{"in any case, with a dot at the end", []string{"Shop.Example.COM."}, com, "shop.example.com", nil},
		{"deeper below", []string{"a.b.c.example.com"}, com, "a.b.c.example.com", nil},
		{"any of several suffixes", []string{"a.example.com,b.internal"}, []string{"example.com", "internal"}, "a.example.com b.internal", nil},
		{"what all instances say counts", []string{"a.example.com", "b.example.com", "a.example.com"}, com, "a.example.com b.example.com", nil},
		{"no suffix, no host", []string{"shop.example.com"}, nil, "",
			[]string{`n/0: lictor-hosts = "shop.example.com": want resolver "consul" { host_suffixes } to name the domain that it is below; it names none`}},
		{"the suffix itself", []string{"example.com"}, com, "", []string{`n/0: lictor-hosts = "example.com": want a host below example.com`}},
		{"all that is below the suffix", []string{"*.example.com"}, com, "", []string{`n/0: lictor-hosts = "*.example.com": want a host below example.com`}},
		{"a name that only ends alike", []string{"badexample.com,a.badexample.com"}, com, "", []string{
			`n/0: lictor-hosts = "badexample.com": want a host below example.com`, `n/0: lictor-hosts = "a.badexample.com": want a host below example.com`}},
		{"nothing between commas", []string{"a.example.com,,b.example.com"}, com, "a.example.com b.example.com", []string{`n/0: lictor-hosts = "": ` + syntax}},
		{"a port, an address, a URL, a star inside", []string{"a.example.com:80, 10.0.0.1, http://a.example.com, a.*.example.com"}, com, "", []string{
			`n/0: lictor-hosts = "a.example.com:80": ` + syntax, `n/0: lictor-hosts = "10.0.0.1": want a host below example.com`,
			`n/0: lictor-hosts = "http://a.example.com": ` + syntax, `n/0: lictor-hosts = "a.*.example.com": ` + syntax}},
		{"a mistake of all instances is told once", []string{"x.org", "x.org"}, com, "", []string{`n/0: lictor-hosts = "x.org": want a host below example.com`}},
		{"not said", []string{""}, com, "", []string{`n/0: lictor-hosts = "": ` + syntax}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var entries []entry
			for i, meta := range tt.metas {
				var e entry
				e.Node.Node, e.Service.ID, e.Service.Meta = "n", fmt.Sprint(i), map[string]string{metaHosts: meta}
				entries = append(entries, e)
			}
			var p problems
			var got []string
			for _, c := range p.claims(entries, tt.suffixes) {
				got = append(got, c.host)
			}
			if strings.Join(got, " ") != tt.want || !slices.Equal(p.texts, tt.problems) {
				t.Errorf("got %q\n%q\nwant %q\n%q", got, p.texts, tt.want, tt.problems)
			}
		})
	}
}

func TestClaimsAreBounded(t *testing.T) {
	var entries []entry
	for i := range 3 * maxHosts {
		var e entry
		e.Service.Meta = map[string]string{metaHosts: fmt.Sprintf("h%d.example.com", i)}
		entries = append(entries, e)
	}
	var p problems
	if n := len(p.claims(entries, []string{"example.com"})); n != maxHosts || len(p.texts) != maxProblems+1 {
		t.Errorf("got %d hosts and %d problems", n, len(p.texts))
	}
}

// FuzzReadClaim: what is taken is a host as requests have it, below a suffix.
func FuzzReadClaim(f *testing.F) {
	for _, s := range []string{"shop.example.com", "*.shop.example.com", "*.example.com", "a..example.com", "A.EXAMPLE.com.", "\u212a.example.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		claim, want := readClaim(s, []string{"example.com"})
		if want != "" {
			return
		}
		host := strings.Replace(claim, "*", "x", 1)
		if got, port, _, err := uri.Host(host, nil); err != nil || got != host || port != 0 || !strings.HasSuffix(strings.TrimPrefix(claim, "*."), ".example.com") {
			t.Errorf("%q is taken as %q: %q, %d, %v", s, claim, got, port, err)
		}
	})
}

// has fails the test unless the host goes to the service.
func (b *bench) has(host, want, when string) {
	b.t.Helper()
	if got, _ := b.Catalog().Claimed(host); got != want {
		b.t.Errorf("%s: %s goes to %q, want %q", when, host, got, want)
	}
}

func below1(c *Config) { c.HostSuffixes = []string{"example.com"} }

// TestHostsAreKnownBeforeAnybodyAsks: K2, and go with their service.
func TestHostsAreKnownBeforeAnybodyAsks(t *testing.T) {
	fake := newFake()
	fake.set("shop", claimant("s", 10, 10, "shop.example.com"))
	fake.set("cart", instance("c", 2, httpOK))
	onBench(t, fake, below1, func(b *bench) {
		b.has("shop.example.com", "shop", "at the start")
		if s := b.Catalog().Lookup("cart"); s.Loaded {
			t.Error("a service that claims nothing was asked for")
		}
		b.pass(2 * time.Second)
		fake.set("late", claimant("l", 20, 20, "late.example.com"))
		b.pass(time.Second)
		b.has("late.example.com", "late", "it was registered a second ago")
		changed := claimant("c", 5, 30, "cart.example.com")
		fake.set("cart", changed)
		b.pass(time.Second)
		b.has("cart.example.com", "cart", "its meta changed")
		fake.check("shop", httpBad)
		b.pass(2 * time.Second)
		b.has("shop.example.com", "shop", "none of its instances passes")
		fake.set("shop")
		b.pass(2 * time.Second)
		b.has("shop.example.com", "", "the service is gone")
	})
	fake.queries()
	onBench(t, fake, nil, func(b *bench) {
		b.want("late")
		b.has("late.example.com", "", "no suffix is allowed")
		if s := b.Catalog().Lookup("late"); len(s.Problems) != 1 {
			t.Errorf("it is not told: %q", s.Problems)
		}
		for _, asked := range fake.queries() {
			if strings.HasPrefix(asked, "/v1/health/service/cart") {
				t.Error("what is off asks for services")
			}
		}
	})
}

// TestTheOlderRegistrationKeepsItsHost: K2, whatever the other one does.
func TestTheOlderRegistrationKeepsItsHost(t *testing.T) {
	const host = "shop.example.com"
	fake := newFake()
	fake.set("thief", instance("t", 9, httpOK)) // an old registration, without a claim
	fake.set("young", claimant("y", 20, 20, host))
	fake.set("shop", claimant("s1", 10, 10, host))
	file := filepath.Join(t.TempDir(), "catalog.json")
	edit := func(c *Config) { below1(c); c.SnapshotFile = file }
	onBench(t, fake, edit, func(b *bench) {
		b.has(host, "shop", "it is the older one")
		fake.set("thief", claimant("t", 1, 30, host))
		b.pass(time.Second)
		b.has(host, "shop", "a claim was added to an old registration")
		fake.set("shop", claimant("s1", 10, 10, host), claimant("s2", 40, 40, host))
		b.pass(time.Second)
		fake.set("shop", claimant("s2", 40, 40, host))
		b.pass(time.Second)
		b.has(host, "shop", "all its instances were replaced")
		b.pass(2 * saveDelay)
	})
	onBench(t, fake, edit, func(b *bench) {
		b.has(host, "shop", "lictor was started again")
		b.pass(5 * time.Second)
		b.has(host, "shop", "and has asked Consul")
		services := fake.services
		fake.reset(3) // Consul lost its memory; all come back, and one that is new
		b.pass(5 * time.Second)
		b.has(host, "shop", "Consul shows nothing, which is not believed")
		fake.edit(func() { fake.services = services })
		fake.set("thief2", claimant("t2", 4, 4, host))
		b.pass(b.cfg.EmptyHold + 5*time.Second)
		b.has(host, "shop", "Consul's index began anew")
		fake.set("shop")
		b.pass(2 * time.Second)
		b.has(host, "young", "it is gone, and the next one has it")
	})
}

// TestHostsOutliveConsul: neither silence nor a loss takes a host away.
func TestHostsOutliveConsul(t *testing.T) {
	const host = "shop.example.com"
	fake := newFake()
	fake.set("shop", claimant("s", 10, 10, host))
	fake.set("cart", claimant("c", 11, 11, "cart.example.com"))
	file := filepath.Join(t.TempDir(), "catalog.json")
	edit := func(c *Config) { below1(c); c.SnapshotFile, c.MaxStale = file, time.Minute }
	onBench(t, fake, edit, func(b *bench) {
		b.pass(2 * saveDelay)
		fake.edit(func() { fake.away = true })
		b.pass(30 * time.Second)
		b.has(host, "shop", "Consul is away")
		b.pass(time.Hour)
		b.has(host, "shop", "the services are too old to be used")
		b.expect("shop", "", "they are")
	})
	onBench(t, fake, edit, func(b *bench) {
		b.has(host, "shop", "it starts while Consul is away")
	})
	onBench(t, fake, func(c *Config) { edit(c); c.HostSuffixes = []string{"other.org"} }, func(b *bench) {
		b.has(host, "", "the host may be claimed no more")
	})
	fake.edit(func() { fake.away = false })
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), `"Hosts":[{"Host":"shop.example.com","Since":10}]`) {
		t.Errorf("the snapshot is %s, %v", text, err)
	}
	onBench(t, fake, below1, func(b *bench) {
		fake.edit(func() { fake.filtered = "/v1/health/service/shop" })
		fake.set("shop")
		fake.edit(func() {
			fake.services["shop"] = []*api.ServiceEntry{}
			fake.index++
			fake.indexes["/v1/health/service/shop"] = fake.index
		})
		b.pass(2 * time.Second)
		b.has(host, "shop", "ACLs hide its instances")
	})
}

// TestOnlyInstancesWithTheTagClaim hosts, also when it changes.
func TestOnlyInstancesWithTheTagClaim(t *testing.T) {
	blue, green := claimant("b", 10, 10, "blue.example.com"), claimant("g", 11, 11, "green.example.com")
	blue.Service.Tags, green.Service.Tags = []string{"blue"}, []string{"green"}
	fake := newFake()
	fake.set("shop", blue, green)
	onBench(t, fake, func(c *Config) { below1(c); c.Tag = "blue" }, func(b *bench) {
		b.has("blue.example.com", "shop", "it has the tag")
		b.has("green.example.com", "", "it does not")
		b.selects(Selection{Tag: "green"})
		b.pass(time.Second)
		b.has("blue.example.com", "", "the tag is another one")
		b.has("green.example.com", "shop", "which this one has")
		b.selects(Selection{Tag: "green", Hide: []string{"shop"}})
		b.has("green.example.com", "", "the service is hidden")
	})
}
