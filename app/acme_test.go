package app

import (
	"slices"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/hashicorp/go-hclog"

	"lictor/app/acme"
	"lictor/config"
	"lictor/policy/live"
	"lictor/policy/store/memory"
)

// TestHostsOfCertificatesAreBounded: those of the configuration come first.
func TestHostsOfCertificatesAreBounded(t *testing.T) {
	log := hclog.NewNullLogger()
	p := &Lictor{log: log, cfg: config.Default()}
	var err error
	if p.policy, err = live.New(live.Config{Store: memory.New(log), Log: log}); err != nil {
		t.Fatal(err)
	}
	p.cfg.Gateway.TLS.ACME = config.ACME{Hosts: []string{"z.test", "a.test", "z.test"}, HostSuffixes: []string{"example.com"}, MaxHosts: 3}
	if p.acme, err = acme.New(acme.Config{Directory: "https://ca.test/", Hosts: p.acmeHosts, Storage: &certmagic.FileStorage{Path: t.TempDir()}, Log: log}); err != nil {
		t.Fatal(err)
	}
	if hosts, left := p.acmeHosts(); !slices.Equal(hosts, []string{"a.test", "z.test"}) || left != 0 {
		t.Errorf("got %q, %d more", hosts, left)
	}
	domains := slices.Values([]string{"m.example.com", "*.example.com", "example.com", "x.example.org", "aexample.com", "z.test"})
	claims := slices.Values([]string{"b.example.com", "a.example.com", "m.example.com"})
	if hosts, left := p.cfg.Gateway.TLS.ACME.Among(p.acme.Has, domains, claims); !slices.Equal(hosts, []string{"a.test", "z.test", "m.example.com"}) || left != 2 {
		t.Errorf("got %q, %d more", hosts, left)
	}
	// Nobody takes a certificate from who has one by a name that comes before.
	p.cfg.Gateway.TLS.ACME.MaxHosts = 4
	has := func(host string) bool { return host == "b.example.com" }
	if hosts, left := p.cfg.Gateway.TLS.ACME.Among(has, domains, claims); !slices.Equal(hosts, []string{"a.test", "z.test", "m.example.com", "b.example.com"}) || left != 1 {
		t.Errorf("got %q, %d more", hosts, left)
	}
}
