//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lictor/admin/admintest"
)

// TestRefusalsSayWhoAndWhy has requests refused by a blacklist, key-auth, an ACL and a
// rate limit, and looks at the access log and at /metrics for who it was and which
// rule spoke (X17); and at the log for who made the rules.
func TestRefusalsSayWhoAndWhy(t *testing.T) {
	together(t)
	back := startBackend(t, "shop")
	access := filepath.Join(t.TempDir(), "access.log")
	cfg := lictorConfig{Rest: fmt.Sprintf("policy {\n  store = \"memory\"\n}\naccess_log {\n  path = %q\n}\nmetrics {\n  codes     = true\n  consumers = 1\n}\n", access) +
		staticConfig("shop", "http://"+back.Addr)}
	p := startLictor(t, cfg)
	p.Ready(t)
	p.play(t, []admintest.Step{
		{Method: "POST", Path: "/consumers", Body: `{"name": "ann"}`, Status: 201},
		{Method: "POST", Path: "/consumers", Body: `{"name": "bob"}`, Status: 201},
		{Method: "POST", Path: "/consumers/ann/key-auth/", Body: `{"key": "key-of-ann"}`, Status: 201},
		{Method: "POST", Path: "/consumers/bob/key-auth/", Body: `{"key": "key-of-bob"}`, Status: 201},
		{Method: "POST", Path: "/plugins", Body: `{"id": "auth", "name": "key-auth"}`, Status: 201},
		{Method: "POST", Path: "/plugins", Body: `{"id": "limit", "name": "rate-limiting", "config": {"hour": 1}}`, Status: 201},
		{Method: "POST", Path: "/apis/shop/acls/", Body: `{"id": "only-ann", "consumers": ["ann"]}`, Status: 201},
		{Method: "POST", Path: "/blacklist", Body: `{"name": "ops", "entries": ["/shop/admin"]}`, Status: 201},
	})
	var keys struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(p.ask(t, "GET", "/consumers/bob/key-auth/", "").text), &keys); err != nil || len(keys.Data) != 1 {
		t.Fatalf("bob has the keys %+v, %v", keys, err)
	}
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for i, c := range []struct {
		path, key string
		status    int
		want      []string
	}{
		{"/shop/x", "key-of-ann", 200, []string{`"consumer": "ann"`, `"service": "shop", "api": "shop"`, `"upstream_status": 200`, `"protocol": "HTTP/1.1", "user_agent": "test/1"`, `"trace_id": "` + trace + `"`}},
		{"/shop/x", "key-of-ann", 429, []string{`"consumer": "ann"`, `"reason": "rate_limit", "plugin": "rate-limiting", "mode": "enforce", "rule": "lictor/policy/plugins/limit"`, `"service": "shop"`}},
		{"/shop/x", "key-of-bob", 403, []string{`"consumer": "bob", "credential": "` + keys.Data[0].ID + `"`, `"reason": "acl", "plugin": "acl", "mode": "enforce", "rule": "lictor/policy/acls/only-ann"`}},
		{"/shop/x", "key-of-eve", 401, []string{`"reason": "bad_credentials", "plugin": "key-auth", "mode": "enforce", "rule": "lictor/policy/plugins/auth"`}},
		{"/shop/admin", "key-of-ann", 403, []string{`"reason": "blacklist", "mode": "enforce", "rule": "lictor/policy/blacklist/ops", "entry": "/shop/admin", "policy": "`}},
		{"/made-up", "key-of-ann", 503, []string{`"reason": "unknown_service"`, `"service": "made-up"`}},
	} {
		if resp := p.send(t, http.MethodGet, c.path, "apikey", c.key, "User-Agent", "test/1", "traceparent", "00-"+trace+"-b7ad6b7169203331-01"); resp.StatusCode != c.status {
			t.Errorf("%s with %s: got %d, want %d", c.path, c.key, resp.StatusCode, c.status)
		}
		var line string
		eventually(t, soon, "the line is written", func() error {
			text, err := os.ReadFile(access)
			lines := strings.Split(string(text), "\n")
			if err != nil || len(lines) < i+2 {
				return fmt.Errorf("there are %d lines, %w", len(lines)-1, err)
			}
			line = lines[i]
			return nil
		})
		for _, want := range c.want {
			if !strings.Contains(line, want) || strings.Contains(line, "key-of") {
				t.Errorf("%s with %s: no %s, or a key, in %s", c.path, c.key, want, line)
			}
		}
	}
	for series, want := range map[string]float64{
		`lictor_denied_total{api="shop",listener="gateway",mode="enforce",reason="rate_limit",service="shop"}`:      1,
		`lictor_denied_total{api="shop",listener="gateway",mode="enforce",reason="acl",service="shop"}`:             1,
		`lictor_denied_total{api="shop",listener="gateway",mode="enforce",reason="bad_credentials",service="shop"}`: 1,
		`lictor_denied_total{api="shop",listener="gateway",mode="enforce",reason="blacklist",service="shop"}`:       1,
		`lictor_denied_total{api="",listener="gateway",mode="enforce",reason="unknown_service",service=""}`:         1,
		`lictor_requests_total{code="4xx",listener="gateway",service="shop"}`:                                       4,
		`lictor_responses_total{code="429",listener="gateway",service="shop"}`:                                      1,
		`lictor_consumer_requests_total{code="4xx",consumer="ann",listener="gateway",reason="rate_limit"}`:          1,
		`lictor_consumer_requests_total{code="4xx",consumer="other",listener="gateway",reason="acl"}`:               1,
	} {
		eventually(t, soon, series, func() error {
			if got := metric(t, p, series); got != want {
				return fmt.Errorf("got %v, want %v", got, want)
			}
			return nil
		})
	}
	eventually(t, soon, "the log says who made the rule", func() error { return logged(p, "policy changed: changes=1 keys=blacklist/ops index=") })
	if !strings.Contains(p.Log(), " by=127.0.0.1:") {
		t.Error("the log does not say by whom")
	}
	p.Configure(t, lictorConfig{Rest: strings.Replace(cfg.Rest, "codes     = true", "codes = false", 1)})
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the reload is a line", func() error { return logged(p, "needs a restart: options=metrics generation=2") })
}
