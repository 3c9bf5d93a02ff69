package app

import (
	"net/netip"
	"slices"
	"testing"

	"lictor/config"
	"lictor/internal/secret"
)

func TestKeep(t *testing.T) { // X10
	change := func(edit func(*config.Config)) *config.Config {
		cfg := config.Default()
		cfg.Resolvers = []config.Resolver{{Static: &config.StaticResolver{}}, {Consul: &config.ConsulResolver{}}}
		cfg.Listeners = []config.Listener{{Name: "a", Address: ":1"}, {Name: "b", Address: ":2"}}
		edit(cfg)
		return cfg
	}
	tests := []struct {
		name string
		edit func(*config.Config)
		want []string
	}{
		{"nothing changed", func(*config.Config) {}, nil},
		{"time limits can change", func(c *config.Config) { c.Gateway.Timeout++ }, nil},
		{"static services can change", func(c *config.Config) { c.Resolvers[0].Static.Services = map[string][]string{"a": nil} }, nil},
		{"what of Consul a path may reach can change", func(c *config.Config) {
			c.Resolvers[1].Consul.Tag, c.Resolvers[1].Consul.Expose, c.Resolvers[1].Consul.Hide = "public", []string{"a"}, []string{"b"}
		}, nil},
		{"how Consul is believed cannot", func(c *config.Config) { c.Resolvers[1].Consul.PassingOnly = true }, []string{"resolver"}},
		{"addresses cannot", func(c *config.Config) { c.Gateway.Address = ":1"; c.Admin.Address = ":2" }, []string{"gateway: address", "admin"}},
		{"where plain HTTP is redirected from cannot", func(c *config.Config) { c.Gateway.RedirectAddress = ":80" }, []string{"gateway: redirect_address"}},
		{"where to, and HSTS, can", func(c *config.Config) { c.Gateway.RedirectPort, c.Gateway.HSTS = 1, "max-age=1" }, nil},
		{"who asks Consul can", func(c *config.Config) { c.Consul.Token, c.Consul.TokenFile = secret.New("x"), "y" }, nil},
		{"a token of the admin listener cannot be given", func(c *config.Config) { c.Admin.Token = secret.New("x") }, []string{"admin"}},
		{"Consul cannot", func(c *config.Config) { c.Consul.TLS.CAFile = "x" }, []string{"consul"}},
		{"whom a listener trusts can", func(c *config.Config) { c.Listeners[1].TrustedProxies = []netip.Prefix{{}} }, nil},
		{"where it is cannot", func(c *config.Config) { c.Listeners[1].Address = ":3" }, []string{`listener "b"`}},
		{"whose names count there cannot", func(c *config.Config) { c.Listeners[0].ClientNames = []string{"x"} }, []string{`listener "a"`}},
		{"one cannot go", func(c *config.Config) { c.Listeners = c.Listeners[1:] }, []string{`listener "a"`}},
		{"one cannot come", func(c *config.Config) { c.Listeners = append(c.Listeners, config.Listener{Name: "c"}) }, []string{`listener "c"`}},
		{"their order says nothing", func(c *config.Config) { slices.Reverse(c.Listeners) }, nil},
		{"the choice of resolvers cannot", func(c *config.Config) { c.Resolvers = nil }, []string{"resolver"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, next := change(func(*config.Config) {}), change(tt.edit)
			if got := keep(old, next); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if next.Consul.Token.Reveal() != change(tt.edit).Consul.Token.Reveal() {
				t.Error("the new token is lost")
			}
			if got := keep(old, next); got != nil {
				t.Errorf("the second time: got %q, want nothing left", got)
			}
		})
	}
}

// Whom a listener trusts is found by its name, whatever else stands in the file, and
// of one that is gone from the file nothing changes.
func TestListenersKeepTheirPlaceAtAReload(t *testing.T) {
	of := func(names ...string) *config.Config {
		cfg := config.Default()
		for _, name := range names {
			cfg.Listeners = append(cfg.Listeners, config.Listener{Name: name, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		}
		return cfg
	}
	old, next := of("a", "b"), of("c", "b")
	next.Listeners[1].TrustedProxies = nil
	kept := keep(old, next)
	if !slices.Equal(kept, []string{`listener "a"`, `listener "c"`}) {
		t.Errorf("it tells of %q", kept)
	}
	if got := trustedProxies(next.Listeners); len(got) != 2 || len(got[0]) != 1 || got[1] != nil {
		t.Errorf("trusted are %v", got)
	}
}

// A listener that waits for a restart to be what the configuration says believes
// nobody by then whom it did not believe before.
func TestNobodyIsTrustedByAListenerThatWaitsForARestart(t *testing.T) {
	nets := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	tests := []struct {
		name          string
		old, next     []netip.Prefix
		moves, speaks bool // to another address, the PROXY protocol
		want          []netip.Prefix
	}{
		{"another balancer", nets("10.0.0.1/32"), nets("10.0.0.2/32"), false, false, nets("10.0.0.2/32")},
		{"a balancer that begins to tell addresses by the PROXY protocol", nil, nets("10.0.0.1/32"), false, true, nil},
		{"an address that only the balancer reaches", nil, nets("0.0.0.0/0"), true, false, nil},
		{"fewer than before, elsewhere", nets("10.0.0.0/8", "::1/128"), nets("10.1.0.0/16", "192.168.0.1/32"), true, false, nets("10.1.0.0/16")},
		{"the same, elsewhere", nets("10.0.0.0/8", "::1/128"), nets("::/0", "10.0.0.0/8"), true, false, nets("10.0.0.0/8", "::1/128")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			of := func(trusted []netip.Prefix, address string, speaks bool) *config.Config {
				cfg := config.Default()
				cfg.Gateway.Address, cfg.Gateway.ProxyProtocol, cfg.Gateway.TrustedProxies = address, speaks, trusted
				cfg.Listeners = []config.Listener{{Name: "a", Address: address, ProxyProtocol: speaks, TrustedProxies: trusted}}
				return cfg
			}
			address := ":1"
			old := of(tt.old, address, false)
			if tt.moves {
				address = "127.0.0.1:1"
			}
			next := of(tt.next, address, tt.speaks)
			kept := keep(old, next)
			if got := next.Gateway.TrustedProxies; !slices.Equal(got, tt.want) {
				t.Errorf("the gateway trusts %v, want %v", got, tt.want)
			}
			if got := next.Listeners[0].TrustedProxies; !slices.Equal(got, tt.want) {
				t.Errorf("the listener trusts %v, want %v", got, tt.want)
			}
			if waits := !slices.Equal(tt.want, tt.next); waits != slices.Contains(kept, "gateway: trusted_proxies") {
				t.Errorf("it tells of %q", kept)
			}
		})
	}
}
