package app

import (
	"slices"
	"testing"

	"lictor/config"
	"lictor/internal/secret"
)

func TestKeep(t *testing.T) { // X10
	change := func(edit func(*config.Config)) *config.Config {
		cfg := config.Default()
		cfg.Resolvers = []config.Resolver{{Static: &config.StaticResolver{}}, {Consul: &config.ConsulResolver{}}}
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
