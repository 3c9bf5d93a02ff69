//go:build integration

package integration_test

import (
	"fmt"
	"testing"
)

// P6: a limit in Consul counts apart what it is by, and together what differs in
// anything else.
func TestLimitsCountWhatTheyAreBy(t *testing.T) {
	together(t)
	c := startConsul(t)
	b := startBackend(t, "one")
	p := startLictor(t, lictorConfig{Gateway: "trusted_proxies = [\"127.0.0.0/8\"]\n", DataDir: t.TempDir(), Rest: consulConfig(c, "")})
	const k = "lictor/policy/"
	kvPut(t, c, k+"consumers/ann", `{"name": "ann"}`)
	kvPut(t, c, k+"consumers/bob", `{"name": "bob"}`)
	for key, who := range map[string]string{"ann-1": "ann", "ann-2": "ann", "bob-1": "bob"} {
		kvPut(t, c, credentialKey(key), fmt.Sprintf(`{"consumer": %q}`, who))
	}
	type request struct{ path, key, tenant, from string }
	tests := []struct {
		api, by              string
		first, like, another request
	}{
		{"shop-a", "consumer", request{"x", "ann-1", "", "203.0.113.1"}, request{"y", "ann-2", "b", "203.0.113.2"}, request{"x", "bob-1", "", "203.0.113.1"}},
		{"shop-b", "credential", request{"x", "ann-1", "", "203.0.113.1"}, request{"y", "ann-1", "b", "203.0.113.2"}, request{"x", "ann-2", "", "203.0.113.1"}},
		{"shop-c", "address", request{"x", "ann-1", "", "203.0.113.1"}, request{"y", "bob-1", "b", "203.0.113.1"}, request{"x", "ann-1", "", "203.0.113.2"}},
		{"shop-d", "header:X-Tenant", request{"x", "ann-1", "a", "203.0.113.1"}, request{"y", "bob-1", "a", "203.0.113.2"}, request{"x", "ann-1", "b", "203.0.113.1"}},
		{"shop-e", "path", request{"x", "ann-1", "a", "203.0.113.1"}, request{"x?q=1", "bob-1", "b", "203.0.113.2"}, request{"y", "ann-1", "a", "203.0.113.1"}},
	}
	for _, tt := range tests {
		register(t, c, tt.api, tt.api+"-1", b.Addr)
		asks(t, soon, 200, "GET", "http://"+p.Gateway+"/"+tt.api+"/")
		kvPut(t, c, k+"plugins/"+tt.api, fmt.Sprintf(`{"name": "rate-limiting", "config": {"year": 2, "by": %q}}`, tt.by))
		kvPut(t, c, k+"plugin-mappings/"+tt.api, fmt.Sprintf(`{"api": %q, "plugins": [%[1]q]}`, tt.api))
	}
	kvPut(t, c, k+"blacklist/last", "/last\n") // once it is in force, all are that were put before
	asks(t, soon, 403, "GET", "http://"+p.Gateway+"/last")
	for _, tt := range tests {
		send := func(r request) (int, string) {
			status, why, _ := ask(t, "GET", "http://"+p.Gateway+"/"+tt.api+"/"+r.path, "apikey: "+r.key, "X-Tenant: "+r.tenant, "X-Forwarded-For: "+r.from)
			return status, why
		}
		for i, step := range []struct {
			of   request
			want int
		}{{tt.first, 200}, {tt.like, 200}, {tt.first, 429}, {tt.like, 429}, {tt.another, 200}} {
			if status, why := send(step.of); status != step.want || status == 429 && why != "rate_limit" {
				t.Errorf("by %s, step %d: got %d %s, want %d", tt.by, i+1, status, why, step.want)
			}
		}
	}
}
