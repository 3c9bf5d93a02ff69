//go:build integration

package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// askAt sends a GET to the gateway with a Host of its own.
func askAt(t *testing.T, p *lictorProcess, host, path string, fields ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+p.Gateway, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.URL.Opaque = host, path // as it stands
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// goesTo waits until a host is answered by the backend, or refused for the reason.
func goesTo(t *testing.T, p *lictorProcess, host, want string) {
	t.Helper()
	eventually(t, soon, host+" goes to "+want, func() error {
		status, body := askAt(t, p, host, "/cart/x")
		if body != want && reason(body) != want {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

// problemsIn are the problems in /status.
func problemsIn(t *testing.T, p *lictorProcess) []string {
	t.Helper()
	var st struct{ Problems []string }
	if _, body := fetch(t, "http://"+p.Admin+"/status"); json.Unmarshal([]byte(body), &st) != nil {
		t.Fatalf("the status is %s", body)
	}
	return st.Problems
}

// tells waits until a problem in the status holds all the words.
func tells(t *testing.T, p *lictorProcess, words ...string) {
	t.Helper()
	eventually(t, soon, fmt.Sprintf("status tells of %q", words), func() error {
		all := problemsIn(t, p)
		if !slices.ContainsFunc(all, func(s string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s, w) })
		}) {
			return fmt.Errorf("problems: %q", all)
		}
		return nil
	})
}

func hostsMeta(hosts string) registerOption {
	return withMeta(map[string]string{"lictor-hosts": hosts})
}

// explainAt is the route in the explanation of a GET.
func explainAt(t *testing.T, p *lictorProcess, url string) (by, api, service, claim string) {
	t.Helper()
	resp, err := http.Post("http://"+p.Admin+"/explain", "application/json", strings.NewReader(fmt.Sprintf(`{"url": %q}`, url)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var e struct {
		Route struct{ By, API, Service, Claim string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		t.Fatal(err)
	}
	return e.Route.By, e.Route.API, e.Route.Service, e.Route.Claim
}

// TestHostsComeWithTheRegistration: K2, lictor-hosts on a real Consul.
func TestHostsComeWithTheRegistration(t *testing.T) {
	together(t)
	c := startConsul(t, persistent(t))
	shop, other, mapped := startBackend(t, "shop"), startBackend(t, "other"), startBackend(t, "mapped")
	register(t, c, "shop", "shop-1", shop.Addr, hostsMeta("shop.example.com, *.shop.example.com"))
	register(t, c, "cart", "cart-1", other.Addr)
	p := startLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: consulConfig(c, `host_suffixes = ["example.com"]`)})

	// Nobody asked for the service before.
	goesTo(t, p, "shop.example.com", "shop")
	goesTo(t, p, "a.shop.example.com", "shop")
	goesTo(t, p, "a.b.shop.example.com", "other") // by its path
	goesTo(t, p, "example.com", "other")
	by, api, service, claim := explainAt(t, p, "http://a.shop.example.com/x")
	if by != "registration" || api != "shop" || service != "shop" || claim != "*.shop.example.com" {
		t.Errorf("explained as %q, API %q, service %q, claim %q", by, api, service, claim)
	}

	// A younger one that claims it, as a new service and in an older registration.
	register(t, c, "thief", "thief-1", other.Addr, hostsMeta("shop.example.com, thief.example.com, any.org, *.example.com"))
	goesTo(t, p, "thief.example.com", "other")
	tells(t, p, "service thief", "shop.example.com", "shop", "older")
	tells(t, p, "any.org", "want a host below example.com")
	tells(t, p, "*.example.com", "want a host below example.com")
	register(t, c, "cart", "cart-1", other.Addr, hostsMeta("shop.example.com, cart.example.com"))
	goesTo(t, p, "cart.example.com", "other")
	goesTo(t, p, "shop.example.com", "shop")

	// All instances are replaced, lictor starts again, also without Consul.
	register(t, c, "shop", "shop-2", shop.Addr, hostsMeta("shop.example.com"))
	deregister(t, c, "shop-1")
	eventually(t, soon, "its other host is given up", func() error {
		if _, body := askAt(t, p, "a.shop.example.com", "/cart/x"); body != "other" {
			return errors.New(body)
		}
		return nil
	})
	goesTo(t, p, "shop.example.com", "shop")
	p.Stop(t)
	p.Start(t)
	goesTo(t, p, "shop.example.com", "shop")
	p.Stop(t)
	c.Kill(t)
	p.Start(t)
	goesTo(t, p, "shop.example.com", "shop")
	c.Start(t)
	register(t, c, "late", "late-1", other.Addr, hostsMeta("late.example.com"))
	goesTo(t, p, "late.example.com", "other")

	// A mapping object beats the registration.
	kvPut(t, c, "lictor/policy/mappings/shop.example.com", fmt.Sprintf(`{"backends": [%q]}`, mapped.URL))
	goesTo(t, p, "shop.example.com", "mapped")
	tells(t, p, "service shop", "shop.example.com", "mapped by an object")
	kvDelete(t, c, "lictor/policy/mappings/shop.example.com")
	goesTo(t, p, "shop.example.com", "shop")

	// While the service exists the host is its own; then the next one's.
	if err := c.Client.Agent().EnableServiceMaintenance("shop-2", "deploy"); err != nil {
		t.Fatal(err)
	}
	goesTo(t, p, "shop.example.com", "no_healthy_instance")
	deregister(t, c, "shop-2")
	goesTo(t, p, "shop.example.com", "other")
}

// TestHostsAreIgnoredWithoutASuffix: K2, told in status.
func TestHostsAreIgnoredWithoutASuffix(t *testing.T) {
	together(t)
	c := startConsul(t)
	b, cart := startBackend(t, "shop"), startBackend(t, "cart")
	register(t, c, "shop", "shop-1", b.Addr, hostsMeta("shop.example.com"))
	register(t, c, "cart", "cart-1", cart.Addr)
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "")})
	asks(t, soon, 200, "GET", "http://"+p.Gateway+"/shop/x")
	tells(t, p, "service shop", "lictor-hosts", "host_suffixes")
	goesTo(t, p, "shop.example.com", "cart")
}

// TestPartsAndServicesAsBackends: K2, by the admin API and by Consul KV.
func TestPartsAndServicesAsBackends(t *testing.T) {
	together(t)
	c := startConsul(t)
	b := startBackend(t, "chat")
	register(t, c, "chat", "chat-1", b.Addr, hostsMeta("chat.example.com"))
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, `host_suffixes = ["example.com"]`)})
	p.Ready(t)
	admin := func(want int, method, path, body string) string {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+p.Admin+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, resp.StatusCode, answer, want)
		}
		return string(answer)
	}
	admin(201, "POST", "/consumers", `{"name": "root", "groups": ["admins"], "key": "k-root"}`)
	admin(201, "POST", "/filters", `{"name": "admin-paths", "paths": ["/chat/admin"]}`)
	admin(201, "POST", "/apis", `{"name": "chat-admin", "service": "chat", "filters": ["admin-paths"]}`)
	admin(201, "POST", "/apis/chat-admin/acls", `{"groups": ["admins"]}`)
	if got := admin(200, "GET", "/apis/chat-admin", ""); !strings.Contains(got, `"service":"chat"`) && !strings.Contains(got, `"service": "chat"`) {
		t.Errorf("the API shows %s", got)
	}
	admin(400, "PATCH", "/apis/chat-admin", `{"filters": []}`) // it would leave them to chat's rules
	admin(400, "PUT", "/v1/acme/mapping", `{"domain": "chat.example.org", "backends": ["service:chat", "http://127.0.0.1:1"]}`)
	admin(201, "PUT", "/v1/acme/mapping", `{"domain": "chat.example.org", "backends": ["service:chat"]}`)
	kvPut(t, c, "lictor/policy/apis/talk", `{"backends": ["service:chat"]}`)
	for _, tt := range []struct {
		host, path string
		key        bool
		status     int
		want       string // body or reason
	}{
		{"x", "/chat/room", false, 200, "chat"},
		{"x", "/chat/admin/x", false, 401, "no_credentials"},
		{"x", "/chat/admin/x", true, 200, "chat"},
		{"x", "/chat//admin/x", true, 400, "bad_path"},
		{"x", "/chat/x/..;/admin", true, 400, "bad_path"},
		{"x", "/chat/x/%2e%2e/admin", false, 401, "no_credentials"},
		{"x", "/chat%2Fadmin", true, 404, "no_service"},
		{"x", "/talk/room", false, 200, "chat"},
		{"chat.example.org", "/room", false, 200, "chat"},
		{"chat.example.com", "/room", false, 200, "chat"},
		{"chat.example.com", "/admin", false, 401, "no_credentials"},
		{"chat.example.com", "/admin", true, 200, "chat"},
		{"chat.example.com", "/x/..%2fadmin", true, 400, "bad_path"},
	} {
		var fields []string
		if tt.key {
			fields = []string{"apikey: k-root"}
		}
		eventually(t, soon, fmt.Sprintf("%+v", tt), func() error {
			status, body := askAt(t, p, tt.host, tt.path, fields...)
			if status != tt.status || body != tt.want && reason(body) != tt.want {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		})
	}
	// A change of what the admin API cannot see holds the spelling just so.
	deregister(t, c, "chat-1")
	holds(t, time.Second, "the part is refused as before", func() error {
		if status, body := askAt(t, p, "x", "/chat//admin/x"); status != 400 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	goesTo(t, p, "chat.example.org", "unknown_service")
}
