package consul

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// TestWhatCannotBeDialledIsNoInstance and status says why: a guess would send
// requests to whatever listens there.
func TestWhatCannotBeDialledIsNoInstance(t *testing.T) {
	tests := []struct {
		name string
		edit func(e *api.ServiceEntry)
		want string // address; "" = no instance
		why  string // part of the problem
	}{
		{"an address and a port", func(e *api.ServiceEntry) { e.Service.Address = "10.9.9.9" }, "10.9.9.9:80", ""},
		{"a name", func(e *api.ServiceEntry) { e.Service.Address = "Shop_1.example.com." }, "Shop_1.example.com.:80", ""},
		{"IPv6", func(e *api.ServiceEntry) { e.Service.Address = "fd00::1" }, "[fd00::1]:80", ""},
		{"IPv6 in brackets", func(e *api.ServiceEntry) { e.Service.Address = "[fd00::1]" }, "[fd00::1]:80", ""},
		{"no port", func(e *api.ServiceEntry) { e.Service.Port = 0 }, "", "without a port"},
		{"no port, but https", func(e *api.ServiceEntry) {
			e.Service.Port, e.Service.Meta = 0, map[string]string{"lictor-scheme": "https"}
		}, "", "without a port"},
		{"a socket only", func(e *api.ServiceEntry) { e.Service.Port, e.Service.SocketPath = 0, "/run/x.sock" }, "", "socket"},
		{"a negative port", func(e *api.ServiceEntry) { e.Service.Port = -1 }, "", "-1"},
		{"a port that is none", func(e *api.ServiceEntry) { e.Service.Port = 65536 }, "", "65536"},
		{"no address anywhere", func(e *api.ServiceEntry) { e.Node.Address = "" }, "", "without an address"},
		{"the node's address is rubbish", func(e *api.ServiceEntry) { e.Node.Address = "node 1" }, "", `"node 1"`},
		{"every address of this machine", func(e *api.ServiceEntry) { e.Service.Address = "0.0.0.0" }, "", `"0.0.0.0"`},
		{"the same in IPv6", func(e *api.ServiceEntry) { e.Service.Address = "[::]" }, "", `"[::]"`},
		{"the same, mapped", func(e *api.ServiceEntry) { e.Service.Address = "::ffff:0.0.0.0" }, "", "0.0.0.0"},
		{"multicast", func(e *api.ServiceEntry) { e.Service.Address = "224.0.0.1" }, "", "224.0.0.1"},
		{"IPv4 in brackets", func(e *api.ServiceEntry) { e.Service.Address = "[10.0.0.1]" }, "", "[10.0.0.1]"},
		{"a scheme", func(e *api.ServiceEntry) { e.Service.Address = "http://10.0.0.1" }, "", "http://10.0.0.1"},
		{"a port in the address", func(e *api.ServiceEntry) { e.Service.Address = "10.0.0.1:80" }, "", "10.0.0.1:80"},
		{"brackets and a port", func(e *api.ServiceEntry) { e.Service.Address = "[::1]:80" }, "", "[::1]:80"},
		{"a blank behind", func(e *api.ServiceEntry) { e.Service.Address = "10.0.0.1 " }, "", `"10.0.0.1 "`},
		{"a blank before", func(e *api.ServiceEntry) { e.Service.Address = "\t10.0.0.1" }, "", `"\t10.0.0.1"`},
		{"a path", func(e *api.ServiceEntry) { e.Service.Address = "shop.example/x" }, "", "shop.example/x"},
		{"dots only", func(e *api.ServiceEntry) { e.Service.Address = ".." }, "", `".."`},
		{"a broken IPv4", func(e *api.ServiceEntry) { e.Service.Address = "10.0.0.300" }, "", "10.0.0.300"},
		{"an ID without end", func(e *api.ServiceEntry) { e.Service.ID = strings.Repeat("i", 600) }, "", "longer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake()
			e := instance("x", 80, httpOK)
			tt.edit(e)
			fake.set("shop", e, instance("good", 8080, httpOK))
			onBench(t, fake, nil, func(b *bench) {
				b.want("shop")
				s := b.Catalog().Lookup("shop")
				got := ""
				for _, i := range s.Instances {
					if i.ID == "n/x" {
						got = i.Address
					}
				}
				if got != tt.want || len(s.Instances) < 1 {
					t.Errorf("it is dialled at %q, want %q", got, tt.want)
				}
				told := slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, tt.why) })
				if (len(s.Problems) > 0) != (tt.why != "") || tt.why != "" && !told {
					t.Errorf("problems are %q, want one with %q", s.Problems, tt.why)
				}
			})
		})
	}
}

func TestAnInstanceThatLosesItsAddressServesNoMore(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("x", 80, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop")
		fake.set("shop", instance("x", 0, httpOK))
		b.settle()
		b.expect("shop", "", "its port is gone")
	})
}

func TestProblemsHaveABound(t *testing.T) {
	fake := newFake()
	var many []*api.ServiceEntry
	for i := range 500 {
		e := instance(fmt.Sprint(i), 0, httpOK)
		e.Service.Meta = map[string]string{"lictor-timeout": strings.Repeat("x", 500)}
		many = append(many, e)
	}
	fake.set("shop", many...)
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop")
		if n := len(b.Catalog().Lookup("shop").Problems); n != maxProblems+1 {
			t.Errorf("%d problems are told", n)
		}
	})
}

// TestEveryAddressAndPortIsRegistered: what the egress keeps away from.
func TestEveryAddressAndPortIsRegistered(t *testing.T) {
	address := func(a string, port int) api.ServiceAddress { return api.ServiceAddress{Address: a, Port: port} }
	tests := []struct {
		name string
		edit func(e *api.ServiceEntry)
		want []string
	}{
		{"one address", func(*api.ServiceEntry) {}, []string{"10.0.0.1:80"}},
		{"several ports", func(e *api.ServiceEntry) {
			e.Service.Address = "10.9.9.9"
			e.Service.Ports = api.ServicePorts{{Name: "a", Port: 80, Default: true}, {Name: "b", Port: 82}, {Name: "c", Port: -1}}
		}, []string{"10.9.9.9:80", "10.9.9.9:82"}},
		{"tagged addresses of the service, with and without ports", func(e *api.ServiceEntry) {
			e.Service.Address = "10.9.9.9"
			e.Service.TaggedAddresses = map[string]api.ServiceAddress{
				"lan": address("10.9.9.9", 0), "lan_ipv4": address("10.9.9.8", 0), "lan_ipv6": address("[fd00::1]", 81),
				"wan": address("198.51.100.1", 443), "virtual": address("240.0.0.1", 80), "odd": address("not an address", 1),
			}
		}, []string{"10.9.9.8:80", "10.9.9.9:80", "198.51.100.1:443", "240.0.0.1:80", "[fd00::1]:81"}},
		{"tagged addresses of the node, if the service has no address", func(e *api.ServiceEntry) {
			e.Node.TaggedAddresses = map[string]string{"lan": "10.0.0.1", "wan": "198.51.100.2"}
		}, []string{"10.0.0.1:80", "198.51.100.2:80"}},
		{"not of the node, if it has one", func(e *api.ServiceEntry) {
			e.Service.Address = "10.9.9.9"
			e.Node.TaggedAddresses = map[string]string{"wan": "198.51.100.2"}
		}, []string{"10.9.9.9:80"}},
		{"an instance that cannot serve", func(e *api.ServiceEntry) {
			e.Checks = api.HealthChecks{httpBad}
			e.Service.Address, e.Service.Port = "10.9.9.9", 0
			e.Service.TaggedAddresses = map[string]api.ServiceAddress{"wan": address("198.51.100.1", 443)}
		}, []string{"198.51.100.1:443"}},
		{"a sidecar of the mesh", func(e *api.ServiceEntry) { e.Service.Kind = api.ServiceKindConnectProxy }, []string{"10.0.0.1:80"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake()
			e := instance("x", 80, httpOK)
			tt.edit(e)
			fake.set("shop/x", e) // no path can name it, and it is registered all the same
			onBench(t, fake, func(c *Config) { c.Everywhere, c.Hide = true, []string{} }, func(b *bench) {
				b.want("shop/x")
				if got := b.Catalog().Lookup("shop/x").Registered; !slices.Equal(got, tt.want) {
					t.Errorf("registered at %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// TestWhatIsTooLongIsRegisteredNowhere: of a service with an instance that is longer than
// is read of one all others are known, and what was known of it stays. Else whoever may
// register a service could keep it from being known where all are.
func TestWhatIsTooLongIsRegisteredNowhere(t *testing.T) {
	long := func(id string, port int) *api.ServiceEntry {
		e := instance(id, port, httpOK)
		e.Service.Tags = []string{strings.Repeat("x", 2*maxPart)}
		return e
	}
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK), long("b", 2), instance("c", 3, httpOK))
	fake.set("big", long("a", 4))
	fake.set("grows", instance("a", 5, httpOK))
	onBench(t, fake, func(c *Config) { c.Everywhere = true }, func(b *bench) {
		b.want("shop", "big", "grows")
		fake.set("grows", long("a", 5))
		b.pass(2 * time.Second)
		for name, want := range map[string][]string{"shop": {"10.0.0.1:1", "10.0.0.1:3"}, "big": nil, "grows": {"10.0.0.1:5"}} {
			if s := b.Catalog().Lookup(name); !s.Loaded || !slices.Equal(s.Registered, want) {
				t.Errorf("%s is registered at %q, want %q; loaded: %v", name, s.Registered, want, s.Loaded)
			}
		}
		if s := b.Status(); !strings.Contains(s.Error, "1 instances are left out") {
			t.Errorf("the status tells %q", s.Error)
		}
	})
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop")
		if s := b.Catalog().Lookup("shop"); s.Loaded {
			t.Errorf("requests may go to a part of a service: %+v", s)
		}
	})
}

// TestANameThatNobodyCanAskAboutIsNoService: Consul registers it, and answers nothing
// about it. It would be unknown for ever where it is.
func TestANameThatNobodyCanAskAboutIsNoService(t *testing.T) {
	fake := newFake()
	names := map[string]bool{"/lead": false, "a//b": false, "//": false, "a\x00": false, "a\n": false, "a\u2028": false, "a/b": true, "a b": true, "ü?": true, "..": true, "a/": true}
	for name := range names {
		fake.set(name, instance("x", 80, httpOK))
	}
	onBench(t, fake, func(c *Config) { c.Everywhere = true }, func(b *bench) {
		b.settle()
		for name, known := range names {
			if s := b.Catalog().Lookup(name); (s != nil) != known {
				t.Errorf("%q is known: %v", name, s != nil)
			}
		}
	})
}

// TestAHiddenPartIsNotTakenForTheWhole: where ACLs hide instances from the first
// answer on it is not known where the service is.
func TestAHiddenPartIsNotTakenForTheWhole(t *testing.T) {
	for _, everywhere := range []bool{true, false} {
		fake := newFake()
		fake.set("shop", instance("a", 1, httpOK))
		fake.set("none")
		fake.set("none", []*api.ServiceEntry{}...)
		fake.edit(func() { fake.services["none"] = []*api.ServiceEntry{} })
		fake.filtered = "/v1/health"
		onBench(t, fake, func(c *Config) { c.Everywhere = everywhere }, func(b *bench) {
			b.want("shop", "none")
			if s := b.Catalog().Lookup("none"); s == nil || s.Loaded {
				t.Errorf("everywhere %v: a service of which all is hidden is loaded: %+v", everywhere, s)
			}
			if s := b.Catalog().Lookup("shop"); s.Loaded == everywhere || len(s.Instances) != 1 {
				t.Errorf("everywhere %v: a service of which a part is hidden is %+v", everywhere, s)
			}
			fake.edit(func() {
				fake.filtered = ""
				fake.index++
				fake.indexes["/v1/health/service/shop"] = fake.index
			})
			b.settle()
			if s := b.Catalog().Lookup("shop"); !s.Loaded {
				t.Errorf("everywhere %v: it is still not loaded when nothing is hidden", everywhere)
			}
		})
	}
}

func TestAHiddenPartOfTheListOfServicesIsTold(t *testing.T) {
	fake := newFake()
	fake.filtered = "/v1/catalog"
	onBench(t, fake, nil, func(b *bench) {
		if b.Status().Partial == "" {
			t.Error("the list is taken for whole")
		}
		fake.edit(func() { fake.filtered = "" })
		fake.set("new", instance("a", 1, httpOK))
		b.settle()
		if got := b.Status().Partial; got != "" {
			t.Errorf("the list is whole, and it is said: %s", got)
		}
	})
}
