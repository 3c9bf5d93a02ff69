//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lictor/admin/admintest"
)

// send sends a request to the gateway and returns the answer, its body closed.
func (p *lictorProcess) send(t *testing.T, method, path string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+p.Gateway+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// play makes the requests of steps at the admin listener.
func (p *lictorProcess) play(t *testing.T, steps []admintest.Step) {
	t.Helper()
	for _, s := range steps {
		if a := p.ask(t, s.Method, s.Path, s.Body); a.status != s.Status {
			t.Fatalf("%s %s %s: got %d %s, want %d", s.Method, s.Path, s.Body, a.status, a.text, s.Status)
		}
	}
}

// TestExtremeExample posts the seed's extreme example, in the bodies printed
// there and in its long forms, and looks at the traffic (C5, C7, C15-C18, C22).
func TestExtremeExample(t *testing.T) {
	together(t)
	agent := startConsul(t)
	back := startBackend(t, "mockbin")
	for name, steps := range map[string][]admintest.Step{
		"short": admintest.ExtremeShort, "filters": admintest.ExtremeFilters, "long": admintest.ExtremeLong,
	} {
		t.Run(name, func(t *testing.T) {
			p := startLictor(t, lictorConfig{Rest: fmt.Sprintf("consul {\n  address = %q\n}\npolicy {\n  prefix = %q\n}\n", agent.Addr, name+"/") +
				staticConfig("mockbin", "http://"+back.Addr)})
			p.Ready(t)
			p.play(t, steps)
			p.play(t, admintest.ExtremeKeys)
			for _, c := range []struct {
				method, key string
				status      int
				limit       string
			}{
				{"GET", "k-thefosk", 200, "10"}, {"POST", "k-thefosk", 403, ""}, {"HEAD", "k-thefosk", 403, ""},
				{"GET", "k-sinzone", 200, "1000"}, {"POST", "k-sinzone", 200, "1000"}, {"DELETE", "k-sinzone", 403, ""},
				{"GET", "", 401, ""}, {"GET", "unknown", 401, ""},
			} {
				resp := p.send(t, c.method, "/mockbin/x", "apikey", c.key)
				if got := resp.Header.Get("X-RateLimit-Limit-Second"); resp.StatusCode != c.status || got != c.limit {
					t.Errorf("%s as %s: got %d with the limit %q, want %d with %q", c.method, c.key, resp.StatusCode, got, c.status, c.limit)
				}
			}
			var senders sync.WaitGroup
			var thefosk, sinzone atomic.Int64
			for range 35 { // at once, for the limits are those of a second
				for key, refused := range map[string]*atomic.Int64{"k-thefosk": &thefosk, "k-sinzone": &sinzone} {
					senders.Go(func() {
						if resp := p.send(t, "GET", "/mockbin/x", "apikey", key); resp.StatusCode == 429 {
							refused.Add(1)
						}
					})
				}
			}
			senders.Wait()
			if thefosk.Load() == 0 || sinzone.Load() != 0 {
				t.Errorf("refused for their number: %d of thefosk, want some, and %d of sinzone, want none", thefosk.Load(), sinzone.Load())
			}
		})
	}
}

// TestMappedDomain creates, renames and deletes a domain and looks at the
// traffic each time (B2, B11, B12, B14, B15).
func TestMappedDomain(t *testing.T) {
	together(t)
	agent := startConsul(t)
	back := startBackend(t, "mapped")
	p := startLictor(t, lictorConfig{Rest: consulConfig(agent, "")})
	other := startLictor(t, lictorConfig{Rest: consulConfig(agent, "")})
	p.Ready(t)
	other.Ready(t)
	serves := func(p *lictorProcess, host string) bool {
		req, err := http.NewRequest("GET", "http://"+p.Gateway+"/some/path?q=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	}
	at := func(host string, want bool) { // at once here, soon on the other node (C36)
		t.Helper()
		if got := serves(p, host); got != want {
			t.Errorf("%s: served %v, want %v", host, got, want)
		}
		eventually(t, soon, "the other lictor follows", func() error {
			if serves(other, host) != want {
				return fmt.Errorf("%s: served %v", host, !want)
			}
			return nil
		})
	}
	body := func(domain string) string {
		return fmt.Sprintf(`{"domain":%q,"backends":["http://%s"]}`, domain, back.Addr)
	}
	p.play(t, []admintest.Step{{Method: "PUT", Path: "/v1/t/mapping", Body: body("a.example.org"), Status: 201}})
	at("a.example.org", true)
	at("A.Example.org:80", true)
	p.play(t, []admintest.Step{{Method: "POST", Path: "/v1/t/mapping/a.example.org", Body: body("*.example.net"), Status: 200}})
	at("a.example.org", false)
	at("x.example.net", true)
	at("x.y.example.net", false)
	p.play(t, []admintest.Step{{Method: "DELETE", Path: "/v1/t/mapping/*.example.net", Status: 204}})
	at("x.example.net", false)
}

// TestAdminWithoutConsul takes Consul away: reads come from the last good copy,
// writes are refused and change nothing (X7).
func TestAdminWithoutConsul(t *testing.T) {
	mostlyWaiting(t)
	agent := startConsul(t, persistent(t))
	p := startLictor(t, lictorConfig{Rest: consulConfig(agent, "")})
	p.Ready(t)
	p.play(t, []admintest.Step{{Method: "POST", Path: "/consumers", Body: "name=a&groups=g", Status: 201}})
	agent.Kill(t)
	for _, s := range []admintest.Step{
		{Method: "POST", Path: "/consumers", Body: "name=b"}, {Method: "PATCH", Path: "/consumers/a", Body: "groups=h"},
		{Method: "DELETE", Path: "/consumers/a"}, {Method: "PUT", Path: "/v1/t/mapping", Body: `{"domain":"a.b","backends":["http://h"]}`},
		{Method: "POST", Path: "/policy/objects", Body: `{"operations":[{"op":"delete","key":"consumers/a"}]}`},
	} {
		if a := p.ask(t, s.Method, s.Path, s.Body); a.status != 503 || !strings.Contains(a.text, `"store_unavailable"`) {
			t.Errorf("%s %s: got %d %s", s.Method, s.Path, a.status, a.text)
		}
	}
	p.play(t, []admintest.Step{
		{Method: "GET", Path: "/consumers", Status: 200}, {Method: "GET", Path: "/consumers/a", Status: 200}, {Method: "GET", Path: "/consumers/b", Status: 404},
	})
	agent.Start(t)
	eventually(t, time.Minute, "writes work again", func() error {
		if a := p.ask(t, "PATCH", "/consumers/a", "groups=h"); a.status != 200 {
			return fmt.Errorf("%d %s", a.status, a.text)
		}
		return nil
	})
	p.play(t, []admintest.Step{{Method: "GET", Path: "/consumers/b", Status: 404}})
}

// TestExplainAndPolicyCommands runs the commands against a lictor on Consul
// (contract 1, 5).
func TestExplainAndPolicyCommands(t *testing.T) {
	together(t)
	agent := startConsul(t)
	back := startBackend(t, "svc")
	p := startLictor(t, lictorConfig{
		Gateway: `  trusted_networks = ["127.0.0.0/8"]`, Admin: `  token = "secret"`,
		Rest: fmt.Sprintf("consul {\n  address = %q\n}\n", agent.Addr) + staticConfig("svc", "http://"+back.Addr),
	})
	p.Ready(t)
	to := []string{"-admin", p.Admin, "-token", "secret"}
	run := func(status int, want string, args ...string) {
		t.Helper()
		got, out, errs := runLictor(t, append(args[:len(args):len(args)], to...)...)
		if got != status || !strings.Contains(out+errs, want) {
			t.Errorf("lictor %s: got %d\n%s%s\nwant %d %s", strings.Join(args, " "), got, out, errs, status, want)
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "blacklist"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "blacklist", "ops"), []byte("/svc/admin # closed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(0, "+ blacklist/ops\n1 to make", "policy", "apply", "-dry-run", dir)
	run(0, "ALLOWED", "explain", "/svc/admin")
	run(0, "1 made", "policy", "apply", dir)
	run(0, "REFUSED: 403 blacklist\n  rule  lictor/policy/blacklist/ops entry /svc/admin", "explain", "-X", "POST", "/svc/x/../admin")
	run(0, "0 to make, 0 to change", "policy", "diff", dir)
	to[3] = "wrong"
	run(1, "wrong_token", "explain", "/svc")

	resp := p.send(t, "GET", "/svc/admin/x", "X-Lictor-Explain", "1")
	id := resp.Header.Get("X-Lictor-Decision")
	if resp.StatusCode != 403 || id == "" {
		t.Fatalf("got %s %v", resp.Status, resp.Header)
	}
	var e struct {
		Allowed bool
		Steps   []struct{ Rule struct{ Key string } }
	}
	eventually(t, soon, "the decision is kept", func() error {
		status, text := fetch(t, "http://"+p.Admin+"/explain/"+id, "X-Admin-Token", "secret")
		if status != 200 {
			return fmt.Errorf("%d %s", status, text)
		}
		return json.Unmarshal([]byte(text), &e)
	})
	if e.Allowed || len(e.Steps) != 1 || e.Steps[0].Rule.Key != "lictor/policy/blacklist/ops" {
		t.Errorf("got %+v", e)
	}
	status, text := fetch(t, "http://"+p.Admin+"/openapi.json", "X-Admin-Token", "secret")
	if status != 200 || !strings.Contains(text, `"openapi": "3.1.0"`) {
		t.Errorf("got %d %.100s", status, text)
	}
}
