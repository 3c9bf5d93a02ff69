//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// startTeller is a backend that tells its name, and what it was asked.
func startTeller(t *testing.T, name string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", name)
		fmt.Fprint(w, name, " ", r.RequestURI, " ", r.Header["X-Canary"], " ", r.Header["X-Old"])
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const canary = `
middleware "mobile" {
  match {
    paths   = ["/shop"]
    headers = { "User-Agent" = "~Mobile" }
  }
  request {
    set    = { "X-Canary" = "yes" }
    remove = ["X-Old"]
  }
  response {
    remove = ["Server"]
    set    = { "X-By" = "mobile" }
  }
  route {
    service = "canary"
  }
}
middleware "shut" {
  match {
    methods = ["DELETE"]
  }
  block {
    status  = 405
    message = "Read only"
  }
}
middleware "audit" {
  match {
    hosts = ["audited.test"]
  }
  record = true
}
middleware "stamp" {
}
`

// TestMiddlewareThroughTheBinary edits, blocks, routes and records by what is
// in the configuration, and follows it on SIGHUP (D19, X10).
func TestMiddlewareThroughTheBinary(t *testing.T) {
	together(t)
	shop, other := startTeller(t, "shop"), startTeller(t, "canary")
	access := filepath.Join(t.TempDir(), "access.log")
	rules := t.TempDir()
	config := func(middleware string) lictorConfig {
		return lictorConfig{Rest: fmt.Sprintf(`
resolver "static" {
  services = { "shop" = [%q], "canary" = [%q] }
}
policy {
  store = "file"
  dir   = %q
}
access_log {
  path   = %q
  format = "common"
}
%s`, shop, other, rules, access, middleware)}
	}
	p := startLictor(t, config(canary))
	gateway := "http://" + p.Gateway
	send := func(method, path, host string, fields ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(method, gateway+path, nil)
		must(t, err)
		req.Host = host
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			req.Header.Add(name, value)
		}
		resp, err := client.Do(req)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp, string(body)
	}

	if resp, body := send("GET", "/shop/a?b=c", "", "X-Old: 1"); body != "shop /a?b=c [] [1]" || resp.Header.Get("Server") != "shop" || resp.Header.Get("X-Served-By") == "" {
		t.Errorf("unmatched: %q %v", body, resp.Header)
	}
	if resp, body := send("GET", "/shop/a?b=c", "", "X-Old: 1", "User-Agent: A Mobile"); body != "canary /a?b=c [yes] []" || resp.Header.Get("Server") != "" || resp.Header.Get("X-By") != "mobile" {
		t.Errorf("matched: %q %v", body, resp.Header)
	}
	if resp, body := send("DELETE", "/shop/a", ""); resp.StatusCode != 405 || reason(body) != "middleware" || !strings.Contains(body, "Read only") {
		t.Errorf("blocked: %d %s", resp.StatusCode, body)
	}
	send("DELETE", "/shop/secret?key=1", "audited.test") // blocked before it could be recorded
	send("GET", "/shop/seen?key=1", "audited.test")
	eventually(t, soon, "the record is written", func() error { return recorded(access, "/shop/seen") })

	t.Run("routing is no way round the other service's rules", func(t *testing.T) {
		must(t, os.MkdirAll(filepath.Join(rules, "acls"), 0o700))
		must(t, os.WriteFile(filepath.Join(rules, "acls", "a"), []byte(`{"id": "a", "api": "canary", "groups": ["staff"]}`), 0o600))
		eventually(t, soon, "the ACL is in force", func() error {
			if status, why, _ := ask(t, "GET", gateway+"/canary/x"); status != 401 {
				return fmt.Errorf("%d %s", status, why)
			}
			return nil
		})
		if resp, body := send("GET", "/shop/a", "", "User-Agent: Mobile"); resp.StatusCode != 401 || reason(body) != "no_credentials" {
			t.Errorf("got %d %s", resp.StatusCode, body)
		}
		if resp, _ := send("GET", "/shop/a", ""); resp.StatusCode != 200 {
			t.Errorf("the way that is not routed: %d", resp.StatusCode)
		}
	})
	t.Run("explain and status tell", func(t *testing.T) {
		if status, out, _ := runLictor(t, "explain", "-admin", "http://"+p.Admin, "-X", "DELETE", "/shop/a"); !strings.Contains(out, "shut: block with 405") {
			t.Errorf("explain: %d\n%s", status, out)
		}
		if status, out, _ := runLictor(t, "status", "-admin", "http://"+p.Admin); status != 0 || !strings.Contains(out, "mobile      enforce  2") || !strings.Contains(out, "route to canary, edit the request, edit the response") {
			t.Errorf("status: %d\n%s", status, out)
		}
		if n := metric(t, p, `lictor_middleware_matched_total{middleware="shut"}`); n != 2 {
			t.Errorf("%v matches of shut are counted, want 2", n)
		}
	})
	t.Run("SIGHUP brings another chain", func(t *testing.T) {
		p.Configure(t, config("middleware \"bad\" {\n  match {\n    headers = { \"A\" = \"~(\" }\n  }\n  record = true\n}\n"))
		p.Signal(t, syscall.SIGHUP)
		eventually(t, soon, "the mistake is logged", func() error { return logged(p, "want a regular expression behind the ~") })
		if resp, _ := send("DELETE", "/shop/a", ""); resp.StatusCode != 405 {
			t.Errorf("after a mistake: got %d, want the former chain", resp.StatusCode)
		}
		p.Configure(t, config("middleware \"shut\" {\n  mode = \"report\"\n  block {\n    status = 410\n  }\n}\n"))
		p.Signal(t, syscall.SIGHUP)
		eventually(t, soon, "the reload is logged", func() error { return logged(p, "generation=2") })
		if resp, body := send("DELETE", "/shop/a", "", "User-Agent: Mobile"); resp.StatusCode != 200 || !strings.HasPrefix(body, "shop ") || resp.Header.Get("X-Served-By") != "" {
			t.Errorf("in report mode: %d %s", resp.StatusCode, body)
		}
		eventually(t, soon, "the report is logged", func() error {
			return logged(p, `middleware would act: middleware=shut action="block with 410"`)
		})
		if n := metric(t, p, `lictor_denied_total{api="shop",listener="gateway",mode="report",reason="middleware",service="shop"}`); n != 1 {
			t.Errorf("%v reports are counted, want 1", n)
		}
	})
}

// recorded reports as an error that the file has no record of a request for path.
func recorded(file, path string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		var r struct {
			Record, Path, Service string
			Status                int
		}
		if strings.HasPrefix(line, "{") {
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				return fmt.Errorf("%w in %s", err, line)
			}
		}
		if r.Record == "audit" && r.Path == path && r.Service == "shop" && r.Status == 200 {
			return nil
		}
	}
	return fmt.Errorf("no record in\n%s", text)
}

// TestRecordsWithoutAnAccessLog go to standard output.
func TestRecordsWithoutAnAccessLog(t *testing.T) {
	together(t)
	p := startLictor(t, lictorConfig{Rest: staticConfig("shop", startTeller(t, "shop")) + "middleware \"audit\" {\n  record = true\n}\n"})
	fetch(t, "http://"+p.Gateway+"/shop/x")
	eventually(t, soon, "the record is written", func() error { return logged(p, `{"record": "audit", "time": "`) })
}
