//go:build integration

package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTheGatewaySendsNothingToItsOwnInfrastructure, whatever a service or a
// mapping says; what merely shares the machine is served.
func TestTheGatewaySendsNothingToItsOwnInfrastructure(t *testing.T) {
	together(t)
	c := startConsul(t)
	neighbour := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "neighbour") }))
	defer neighbour.Close()
	p := newLictor(t, lictorConfig{})
	adminPort := p.Admin[strings.LastIndex(p.Admin, ":")+1:]
	p.Configure(t, lictorConfig{Rest: consulConfig(c, "") + fmt.Sprintf(`
resolver "static" {
  services = {
    admin  = ["http://%s"]
    name   = ["http://localhost:%s"]
    zero   = ["http://0.0.0.0:%s"]
    consul = ["http://%s"]
    near   = [%q]
  }
}
`, p.Admin, adminPort, adminPort, c.Addr, neighbour.URL)})
	p.Start(t)
	p.Ready(t)
	register(t, c, "registered", "r", p.Admin)
	ask := func(path, host string, fields ...string) (int, string) {
		req, err := http.NewRequest(http.MethodGet, "http://"+p.Gateway+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		for i := 0; i < len(fields); i += 2 {
			req.Header.Set(fields[i], fields[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	eventually(t, soon, "the service is known", func() error {
		if code, _ := ask("/registered/status", ""); code == http.StatusNotFound {
			return fmt.Errorf("%d", code)
		}
		return nil
	})
	for _, path := range []string{"/admin/status", "/name/status", "/zero/status", "/consul/v1/status/leader", "/registered/status"} {
		for _, how := range [][]string{nil, {"Content-Type", "application/grpc"}} {
			code, body := ask(path, "", how...)
			if code == http.StatusOK && how == nil || strings.Contains(body, "uptime_seconds") || strings.Contains(body, ":8300") {
				t.Errorf("%s %v: %d %s", path, how, code, body)
			}
			// A refusal of gRPC is 200 with its status in the head, and no body.
			if how != nil && body != "" {
				t.Errorf("%s %v: a body came: %s", path, how, body)
			}
		}
		if code, _ := ask(path, ""); code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d, want 503", path, code)
		}
	}
	if code, body := ask("/near/x", ""); code != http.StatusOK || body != "neighbour" {
		t.Errorf("what shares the machine: %d %s", code, body)
	}
	mapping := strings.NewReader(fmt.Sprintf(`{"domain":"evil.example","backends":["http://%s"]}`, p.Admin))
	req, err := http.NewRequest(http.MethodPut, "http://"+p.Admin+"/v1/t/mapping", mapping)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode/100 != 2 {
		t.Logf("the mapping is not taken, which is as well: %v", err)
	}
	eventually(t, soon, "the mapping leads nowhere", func() error {
		if code, _ := ask("/status", "evil.example"); code != http.StatusServiceUnavailable {
			return fmt.Errorf("%d", code)
		}
		return nil
	})
	resp, err := http.Get("http://" + p.Admin + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	status, _ := io.ReadAll(resp.Body)
	for _, of := range []string{"service admin:", "service zero:", "service consul:", "service registered:", "backend of evil.example:"} {
		if !strings.Contains(string(status), of) || !strings.Contains(string(status), "our own infrastructure") {
			t.Errorf("status has no problem of %s", of)
		}
	}
}
