package mapping_test

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/admin"
	"lictor/admin/admintest"
	"lictor/internal/secret"
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
