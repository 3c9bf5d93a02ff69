package consul

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"lictor/resolver"
)

// sidecar is an entry of a sidecar of service.
func sidecar(service, id string, port int, checks ...*api.HealthCheck) *api.ServiceEntry {
	e := instance(id, port, checks...)
	e.Node.Datacenter = "dc1"
	e.Service.Kind = api.ServiceKindConnectProxy
	e.Service.Proxy = &api.AgentServiceConnectProxyConfig{DestinationServiceName: service}
	return e
}

// native is an entry of a service that speaks for itself in the mesh.
func native(id string, port int, checks ...*api.HealthCheck) *api.ServiceEntry {
	e := instance(id, port, checks...)
	e.Node.Datacenter = "dc1"
	e.Service.Connect = &api.AgentServiceConnect{Native: true}
	return e
}

// peers are the ids of a service's instances and who they must be.
func (b *bench) peers(name string) string {
	var all []string
	for _, i := range b.Catalog().Lookup(name).Instances {
		all = append(all, strings.TrimSpace(i.ID[2:]+" "+i.Mesh))
	}
	return strings.Join(all, ", ")
}

func connecting(how Connect) func(*Config) { return func(c *Config) { c.Connect = how } }

func TestConnectIsChecked(t *testing.T) {
	for how, ok := range map[Connect]bool{"": true, "off": true, "prefer": true, "require": true, "maybe": false} {
		if _, err := New(Config{Client: newTestClient(t, nil), Log: hclog.NewNullLogger(), Connect: how}); (err == nil) != ok {
			t.Errorf("%q: %v", how, err)
		}
	}
}

// Which instances count, by the setting.
func TestInstancesOfTheMesh(t *testing.T) {
	gateway := sidecar("web", "term", 7, httpOK)
	gateway.Service.Kind = api.ServiceKindTerminatingGateway
	plain := []*api.ServiceEntry{instance("p", 1, httpOK)}
	for _, tt := range []struct {
		name                  string
		services              map[string][]*api.ServiceEntry
		off, prefer, required string
	}{
		{"a service with a sidecar", map[string][]*api.ServiceEntry{"web": plain, "web-sidecar-proxy": {sidecar("web", "s", 2, httpOK)}},
			"p", "s /ns/default/dc/dc1/svc/web", "s /ns/default/dc/dc1/svc/web"},
		{"one that is native", map[string][]*api.ServiceEntry{"web": {native("n", 3, httpOK)}},
			"n", "n /ns/default/dc/dc1/svc/web", "n /ns/default/dc/dc1/svc/web"},
		{"one of both kinds", map[string][]*api.ServiceEntry{"web": {native("n", 3, httpOK), plain[0]}},
			"n, p", "n /ns/default/dc/dc1/svc/web", "n /ns/default/dc/dc1/svc/web"},
		{"one that is not in the mesh", map[string][]*api.ServiceEntry{"web": plain},
			"p", "p", ""},
		{"a sidecar that fails is no reason to do without", map[string][]*api.ServiceEntry{"web": plain, "web-proxy": {sidecar("web", "s", 2, httpBad)}},
			"p", "s /ns/default/dc/dc1/svc/web", "s /ns/default/dc/dc1/svc/web"},
		{"a sidecar of a service of another case", map[string][]*api.ServiceEntry{"web": plain, "x": {sidecar("WEB", "s", 2, httpOK)}},
			"p", "p", ""},
		{"a gateway to outside of the mesh", map[string][]*api.ServiceEntry{"web": plain, "term": {gateway}},
			"p", "p", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, want := range map[Connect]string{ConnectOff: tt.off, ConnectPrefer: tt.prefer, ConnectRequire: tt.required} {
				fake := newFake()
				for name, entries := range tt.services {
					fake.set(name, entries...)
				}
				onBench(t, fake, connecting(how), func(b *bench) {
					b.want("web")
					if got := b.peers("web"); got != want {
						t.Errorf("%q: got %q, want %q", how, got, want)
					}
				})
			}
		})
	}
}

func TestWhoAnInstanceMustBe(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*api.ServiceEntry)
		want string
	}{
		{"in another datacenter", func(e *api.ServiceEntry) { e.Node.Datacenter = "dc2" }, "/ns/default/dc/dc2/svc/web"},
		{"in a namespace", func(e *api.ServiceEntry) { e.Service.Namespace = "team" }, "/ns/team/dc/dc1/svc/web"},
		{"in a partition", func(e *api.ServiceEntry) { e.Service.Partition = "p1" }, "/ap/p1/ns/default/dc/dc1/svc/web"},
		{"in those that are default", func(e *api.ServiceEntry) { e.Service.Namespace, e.Service.Partition = "default", "default" }, "/ns/default/dc/dc1/svc/web"},
		{"whose own metadata wants TLS", func(e *api.ServiceEntry) { e.Service.Meta = map[string]string{"lictor-scheme": "https"} }, "/ns/default/dc/dc1/svc/web"},
	} {
		fake := newFake()
		e := sidecar("web", "s", 2, httpOK)
		tt.edit(e)
		fake.set("web", instance("p", 1, httpOK))
		fake.set("web-sidecar-proxy", e)
		onBench(t, fake, connecting(ConnectRequire), func(b *bench) {
			b.want("web")
			if i := b.one("web"); i.Mesh != tt.want || i.TLS {
				t.Errorf("%s: got %+v", tt.name, i)
			}
		})
	}
	if got := (&entry{}).identity("a b/%2F"); got != "/ns/default/dc//svc/a%20b/%252F" {
		t.Errorf("a strange name: %q", got)
	}
	fake := newFake()
	fake.set("web", instance("p", 1, httpOK))
	e := sidecar("web", "s", 2, httpOK)
	e.Service.Meta = map[string]string{"lictor-protocol": "h2"}
	fake.set("web-sidecar-proxy", e)
	onBench(t, fake, connecting(ConnectRequire), func(b *bench) {
		b.want("web")
		if i := b.one("web"); i.Protocol != resolver.H2 || i.TLS {
			t.Errorf("HTTP/2 within the mesh: got %+v", i)
		}
	})
}

// What changes is seen at once while the mesh counts, and a first sidecar soon.
func TestTheMeshIsFollowed(t *testing.T) {
	fake := newFake()
	fake.set("web", instance("p", 1, httpOK))
	onBench(t, fake, connecting(ConnectPrefer), func(b *bench) {
		b.want("web")
		b.expect("web", "p passing", "it is not in the mesh")
		fake.set("web", instance("p", 1, httpBad))
		b.settle()
		b.expect("web", "p critical", "its check failed")
		b.pass(time.Minute)
		fake.set("web-sidecar-proxy", sidecar("web", "s", 2, httpOK))
		b.pass(5 * time.Second)
		b.expect("web", "s passing", "it has a sidecar")
		fake.check("web-sidecar-proxy", httpBad)
		b.settle()
		b.expect("web", "s critical", "the sidecar's check failed")
		fake.set("web-sidecar-proxy", sidecar("web", "s", 2, httpOK), sidecar("web", "t", 3, httpOK))
		b.settle()
		b.expect("web", "s passing, t passing", "another sidecar")
		fake.set("web-other", sidecar("web", "u", 4, httpOK))
		b.settle()
		b.expect("web", "s passing, t passing, u passing", "one of another name")
		fake.set("web", instance("p", 1, httpOK))
		fake.set("web-other")
		fake.set("web-sidecar-proxy")
		b.pass(2 * confirmAfter)
		b.expect("web", "p passing", "it has none any more")
		b.pass(time.Minute)
		fake.set("web", instance("p", 1, httpOK), instance("q", 5, httpOK))
		b.settle()
		b.expect("web", "p passing, q passing", "and is followed as before")
	})
}

// Nothing has a service that must be in the mesh be reached otherwise.
func TestRequireNeverFallsBack(t *testing.T) {
	fake := newFake()
	fake.set("web", instance("p", 1, httpOK))
	onBench(t, fake, connecting(ConnectRequire), func(b *bench) {
		b.want("web")
		b.during(time.Minute, "web", "", "it has no sidecar")
		fake.set("web-sidecar-proxy", sidecar("web", "s", 2, httpOK))
		b.settle()
		b.expect("web", "s passing", "it has one")
		fake.edit(func() { fake.away = true })
		b.during(time.Minute, "web", "s passing", "Consul is away")
		fake.edit(func() { fake.away = false })
		b.pass(time.Minute)
		fake.set("web-sidecar-proxy")
		b.pass(2 * confirmAfter)
		b.during(2*time.Minute, "web", "", "it has none any more")
		if slices.ContainsFunc(fake.queries(), func(q string) bool { return strings.HasPrefix(q, "/v1/health/service/") }) {
			t.Error("Consul was asked for what is not in the mesh")
		}
	})
}

// Where ACLs hide the sidecars, a service that prefers the mesh does not do without.
func TestHiddenSidecarsAreNotMissingOnes(t *testing.T) {
	fake := newFake()
	fake.filtered = "/v1/health/connect/"
	fake.set("web", instance("p", 1, httpOK))
	onBench(t, fake, connecting(ConnectPrefer), func(b *bench) {
		b.want("web")
		b.expect("web", "not loaded", "what is in the mesh is hidden")
		if !strings.Contains(b.Status().Error, "ACLs") {
			t.Errorf("status is %+v", b.Status())
		}
	})
}

// Services without a watch of their own hear of their sidecars too.
func TestSidecarsOfServicesWithoutAWatch(t *testing.T) {
	fake := newFake()
	for i := range 4 {
		name := fmt.Sprint("web", i)
		fake.set(name, instance(name, 1, httpOK))
	}
	fake.set("proxy3", sidecar("web3", "s", 2, httpOK))
	few := func(c *Config) { c.Connect, c.Watches = ConnectPrefer, 1 }
	onBench(t, fake, few, func(b *bench) {
		b.want("web0", "web1", "web2", "web3")
		b.expect("web3", "s passing", "it has a sidecar")
		b.expect("web2", "web2 passing", "it has none")
		b.pass(time.Minute)
		fake.check("proxy3", httpBad)
		b.pass(2 * time.Second)
		b.expect("web3", "s critical", "its check failed")
		fake.set("proxy3", sidecar("web3", "s", 2, httpOK), sidecar("web3", "t", 3, httpOK))
		b.pass(2 * mostPace)
		b.expect("web3", "s passing, t passing", "another one")
		fake.set("proxy2", sidecar("web2", "s", 2, httpOK))
		b.pass(6 * time.Second)
		b.expect("web2", "s passing", "a first one")
	})
}

// What was kept under one setting is not used under another.
func TestASnapshotIsOfItsSetting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.json")
	fake := newFake()
	fake.set("web", instance("p", 1, httpOK))
	fake.set("web-sidecar-proxy", sidecar("web", "s", 2, httpOK))
	for _, tt := range []struct {
		wrote, reads Connect
		want         string
	}{
		{ConnectOff, ConnectOff, "p passing"},
		{ConnectOff, ConnectRequire, "unknown"},
		{ConnectPrefer, ConnectRequire, "unknown"},
		{ConnectRequire, ConnectOff, "unknown"},
		{ConnectRequire, ConnectRequire, "s passing"},
	} {
		fake.away = false
		onBench(t, fake, func(c *Config) { c.Connect, c.SnapshotFile = tt.wrote, file }, func(b *bench) { b.want("web"); b.pass(time.Minute) })
		fake.away = true
		onBench(t, fake, func(c *Config) { c.Connect, c.SnapshotFile = tt.reads, file }, func(b *bench) {
			b.pass(time.Second)
			b.expect("web", tt.want, fmt.Sprintf("kept under %q, read under %q", tt.wrote, tt.reads))
		})
	}
}
