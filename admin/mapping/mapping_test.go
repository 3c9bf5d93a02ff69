package mapping_test

import (
	"context"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/admin"
	"lictor/admin/admintest"
	"lictor/internal/secret"
	"lictor/policy"
	"lictor/policy/store"
	"lictor/policy/store/memory"
)

func TestMappingAPI(t *testing.T) { // table B
	t.Run("memory", func(t *testing.T) { admintest.MappingAPI(t, admintest.Memory) })
	t.Run("file", func(t *testing.T) { admintest.MappingAPI(t, admintest.File) })
}

// TestATenantMovesNoRules renames mappings with the token of a tenant, which may not
// change rules: those of the domain would go along, and leave whatever else has its
// name open, such as a service that claims the host, or is called so.
func TestATenantMovesNoRules(t *testing.T) { // B11, R6
	s := admintest.Start(t, memory.New(hclog.NewNullLogger()),
		admin.Access{Name: "admin", Token: secret.New("all"), All: true},
		admin.Access{Name: "acme", Token: secret.New("acme"), May: admin.Tenant, Tenants: []string{"acme"}})
	want := func(status int, token, method, path, body string) {
		t.Helper()
		s.Want(t, status, method, path, body, "X-Admin-Token", token, "Content-Type", "application/json")
	}
	want(201, "all", "POST", "/apis/shop.v2/acls", `{"groups": ["staff"]}`)
	want(201, "acme", "PUT", "/v1/acme/mapping", `{"domain": "shop.v2", "backends": ["http://10.0.0.1"]}`)
	want(403, "acme", "POST", "/v1/acme/mapping/shop.v2", `{"domain": "x.acme.org", "backends": ["http://10.0.0.1"]}`)
	want(201, "acme", "PUT", "/v1/acme/mapping", `{"domain": "free.acme.org", "backends": ["http://10.0.0.1"]}`)
	want(200, "acme", "POST", "/v1/acme/mapping/free.acme.org", `{"domain": "y.acme.org", "backends": ["http://10.0.0.1"]}`)
	want(200, "all", "POST", "/v1/acme/mapping/shop.v2", `{"domain": "x.acme.org", "backends": ["http://10.0.0.1"]}`)
}

// moment is a store to which something happens just before a write, once, and whose
// lists are those of a moment until it is refreshed.
type moment struct {
	store.Store
	before func(ops []store.Op) bool // reports whether this was the write
	acls   []store.Object            // nil: the store's own
}

func (m *moment) Write(ctx context.Context, ops []store.Op) (uint64, error) {
	if f := m.before; f != nil {
		m.before = nil
		if !f(ops) {
			m.before = f
		}
	}
	return m.Store.Write(ctx, ops)
}

func (m *moment) List(ctx context.Context, kind string) ([]store.Object, error) {
	if m.acls != nil && kind == string(policy.KindACLs) {
		return m.acls, nil
	}
	return m.Store.List(ctx, kind)
}

func (m *moment) Refresh(ctx context.Context) error {
	m.acls = nil
	return m.Store.Refresh(ctx)
}

// A rule that is made for a domain while that is renamed goes along: else the domain would
// be open under its new name.
func TestARenamedDomainLeavesNoRuleBehind(t *testing.T) { // B11
	const made, renamed = `{"domain": "a.example", "backends": ["http://10.0.0.1"]}`, `{"domain": "b.example", "backends": ["http://10.0.0.1"]}`
	rules := map[string]struct{ path, body string }{
		"an ACL":     {"/apis/a.example/acls", `{"groups": ["staff"]}`},
		"a plugin":   {"/apis/a.example/plugins", `{"name": "key-auth"}`},
		"an API":     {"/apis", `{"name": "a.example", "protected_headers": ["X-A"]}`},
		"a mapping":  {"/mappings", `{"api": "a.example", "groups": ["staff"]}`},
		"a known id": {"/mappings/acls/x", `{"api": "a.example", "groups": ["staff"]}`},
	}
	for name, rule := range rules {
		t.Run(name+" at the same moment", func(t *testing.T) {
			m := &moment{Store: memory.New(hclog.NewNullLogger())}
			s := admintest.Start(t, m)
			s.Want(t, 201, "PUT", "/v1/acme/mapping", made)
			m.before = func(ops []store.Op) bool {
				if !slices.ContainsFunc(ops, func(o store.Op) bool { return o.Kind == "mappings" && o.Name == "b.example" }) {
					return false
				}
				method := "POST"
				if rule.path == "/mappings/acls/x" {
					method = "PUT"
				}
				s.Want(t, 201, method, rule.path, rule.body)
				return true
			}
			s.Want(t, 200, "PUT", "/v1/acme/mapping/a.example", renamed)
			guards(t, s, "b.example")
		})
	}
	t.Run("an ACL that this node has not seen yet", func(t *testing.T) {
		m := &moment{Store: memory.New(hclog.NewNullLogger())}
		s := admintest.Start(t, m)
		s.Want(t, 201, "PUT", "/v1/acme/mapping", made)
		s.Want(t, 201, "POST", "/apis/a.example/acls", `{"groups": ["staff"]}`)
		m.acls = []store.Object{}
		s.Want(t, 200, "PUT", "/v1/acme/mapping/a.example", renamed)
		guards(t, s, "b.example")
	})
}

// guards wants one rule, which is about a domain.
func guards(t *testing.T, s *admintest.Server, domain string) {
	t.Helper()
	about := 0
	for _, path := range []string{"/mappings/acls?api=", "/mappings/plugins?api=", "/apis?name="} {
		about += len(s.Want(t, 200, "GET", path+domain, "").JSON["data"].([]any))
	}
	if about != 1 {
		t.Errorf("%d rules are about %s, want the one that was made", about, domain)
	}
}

// A token that is for some domains takes, changes, renames and removes no other.
func TestATokenIsForItsDomainsAlone(t *testing.T) { // R6
	s := admintest.Start(t, memory.New(hclog.NewNullLogger()),
		admin.Access{Name: "admin", Token: secret.New("all"), All: true},
		admin.Access{Name: "acme", Token: secret.New("acme"), May: admin.Tenant, Tenants: []string{"acme"}, Domains: []string{"acme.org", "*.acme.org"}})
	want := func(status int, token, method, path, body string) {
		t.Helper()
		s.Want(t, status, method, path, body, "X-Admin-Token", token, "Content-Type", "application/json")
	}
	mapped := func(domain string) string { return `{"domain": "` + domain + `", "backends": ["http://10.0.0.1"]}` }
	for _, domain := range []string{"acme.org", "Shop.acme.org.", "a.b.acme.org", "*.acme.org", "*.b.acme.org"} {
		want(201, "acme", "PUT", "/v1/acme/mapping", mapped(domain))
	}
	for _, domain := range []string{"shop.v2", "notacme.org", "acme.org.evil.example", "*.evil.example", "*.notacme.org", "org.acme"} {
		want(403, "acme", "PUT", "/v1/acme/mapping", mapped(domain))
	}
	want(201, "all", "PUT", "/v1/acme/mapping", mapped("given.example"))
	want(200, "acme", "GET", "/v1/acme/mapping/given.example", "")
	want(403, "acme", "POST", "/v1/acme/mapping/given.example", mapped("given.example"))
	want(403, "acme", "POST", "/v1/acme/mapping/given.example", mapped("taken.acme.org"))
	want(403, "acme", "POST", "/v1/acme/mapping/acme.org", mapped("given2.example"))
	want(403, "acme", "DELETE", "/v1/acme/mapping/given.example", "")
	want(200, "acme", "POST", "/v1/acme/mapping/acme.org", mapped("www.acme.org"))
	want(204, "acme", "DELETE", "/v1/acme/mapping/www.acme.org", "")
}
