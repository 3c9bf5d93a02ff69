package resolver_test

import (
	"testing"

	"lictor/resolver"
)

// claiming is a service that claims hosts since an index.
func claiming(name string, since uint64, hosts ...string) *resolver.Service {
	s := &resolver.Service{Name: name, Loaded: true}
	for _, h := range hosts {
		s.Hosts = append(s.Hosts, resolver.Claim{Host: h, Since: since})
	}
	return s
}

// TestTheOlderClaimKeepsAHost: K2, in whatever order the services come and go.
func TestTheOlderClaimKeepsAHost(t *testing.T) {
	old, young, wild := claiming("old", 5, "a.example.com", "b.example.com"), claiming("young", 9, "a.example.com"), claiming("wild", 1, "*.example.com")
	none := claiming("none", 0)
	tests := []struct {
		name    string
		catalog *resolver.Catalog
		want    map[string]string // service and claim
	}{
		{"the older one was there first", resolver.NewCatalog(old, young), map[string]string{"a.example.com": "old a.example.com", "b.example.com": "old b.example.com"}},
		{"the older one comes later", resolver.NewCatalog(young).With([]*resolver.Service{old}, nil), map[string]string{"a.example.com": "old a.example.com"}},
		{"the older one goes", resolver.NewCatalog(old, young).With(nil, []string{"old"}), map[string]string{"a.example.com": "young a.example.com", "b.example.com": " "}},
		{"the older one claims it no more", resolver.NewCatalog(old, young).With([]*resolver.Service{claiming("old", 5, "b.example.com")}, nil),
			map[string]string{"a.example.com": "young a.example.com", "b.example.com": "old b.example.com"}},
		{"somebody else comes and goes", resolver.NewCatalog(old).With([]*resolver.Service{none}, nil).With(nil, []string{"none"}),
			map[string]string{"a.example.com": "old a.example.com"}},
		{"a wildcard is another host", resolver.NewCatalog(old, wild), map[string]string{"a.example.com": "old a.example.com", ".example.com": "wild *.example.com", "*.example.com": "wild *.example.com"}},
		{"of the same age the first name counts", resolver.NewCatalog(claiming("y", 5, "a.example.com"), claiming("x", 5, "a.example.com")), map[string]string{"a.example.com": "x a.example.com"}},
		{"nobody claims anything", resolver.NewCatalog(none), map[string]string{"a.example.com": " ", "": " "}},
		{"there is no catalog", nil, map[string]string{"a.example.com": " "}},
		{"it was empty", (*resolver.Catalog)(nil).With([]*resolver.Service{old}, nil), map[string]string{"a.example.com": "old a.example.com"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for host, want := range tt.want {
				if service, claim := tt.catalog.Claimed(host); service+" "+claim != want {
					t.Errorf("%s is claimed by %q as %q, want %q", host, service, claim, want)
				}
			}
		})
	}
}
