//go:build integration

package integration_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/proxy/egress/dns/dnstest"
)

// outside is a lictor whose egress may reach the loopback, and what is there:
// names, an HTTP server and an HTTPS server.
type outside struct {
	*lictorProcess
	Egress string // host:port
	Lists  string // directory of the policy
	DNS    *dnstest.Server
	Plain  string // port of the HTTP server, at every name
	Secure string // port of the HTTPS server
	cert   *httptest.Server
}

// startOutside runs it; more are further arguments of the block egress, rest
// are further blocks.
func startOutside(t *testing.T, more, rest string) *outside {
	t.Helper()
	o := &outside{
		Egress: fmt.Sprintf("127.0.0.1:%d", freePort(t)), Lists: t.TempDir(), DNS: dnstest.Start(t),
	}
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.RequestURI, body)
	})
	plain, secure := httptest.NewServer(echo), httptest.NewTLSServer(echo)
	t.Cleanup(func() { plain.Close(); secure.Close() })
	o.cert = secure
	o.Plain, o.Secure = portOf(t, plain.URL), portOf(t, secure.URL)
	for _, name := range []string{"shop.example", "www.shop.example", "other.example"} {
		o.DNS.Set(name, dnstest.Name{Addrs: []string{"127.0.0.1"}})
	}
	o.DNS.Set("inside.example", dnstest.Name{Addrs: []string{"10.1.2.3"}})
	if !strings.Contains(rest, "policy {") {
		rest += fmt.Sprintf("\npolicy {\n  store = \"file\"\n  dir = %q\n}\n", o.Lists)
	}
	o.lictorProcess = startLictor(t, lictorConfig{Rest: fmt.Sprintf(
		"egress {\n  address = %q\n  dns_servers = [%q]\n  allow_private = [\"127.0.0.0/8\"]\n  connect_ports = [%s]\n%s\n}\n%s",
		o.Egress, o.DNS.Addr, o.Secure, more, rest)})
	o.Ready(t)
	return o
}

func portOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// put writes an object of the policy.
func (o *outside) put(t *testing.T, kind, name, text string) {
	t.Helper()
	dir := filepath.Join(o.Lists, kind)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "."+name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "."+name), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// refused is the body of a refusal.
type refused struct{ Message, Reason, Entry string }

// get asks for a URL through the egress, on a connection of its own.
func (o *outside) get(t *testing.T, raw string) (int, refused) {
	t.Helper()
	status, r, err := o.try(raw)
	if err != nil {
		t.Fatal(err)
	}
	return status, r
}

// try is get for who can do with an error: a tunnel may be cut while it is begun.
func (o *outside) try(raw string) (int, refused, error) {
	tr := &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: o.Egress}),
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the server is this test's
		DisableKeepAlives: true,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode != http.StatusOK {
				return &connectError{resp.StatusCode}
			}
			return nil
		},
	}
	resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get(raw)
	if err != nil {
		if u, ok := err.(*url.Error); ok {
			if c, ok := u.Err.(*connectError); ok {
				return c.status, refused{}, nil
			}
		}
		return 0, refused{}, err
	}
	defer resp.Body.Close()
	var r refused
	body, _ := io.ReadAll(resp.Body)
	_ = json.Unmarshal(body, &r) // what the server says is no JSON
	return resp.StatusCode, r, nil
}

type connectError struct{ status int }

func (e *connectError) Error() string { return fmt.Sprintf("CONNECT: %d", e.status) }

// soon waits until a URL gives a status.
func (o *outside) soon(t *testing.T, raw string, status int) {
	t.Helper()
	eventually(t, soon, fmt.Sprintf("%s gives %d", raw, status), func() error {
		got, r, err := o.try(raw)
		if err == nil && got != status {
			err = fmt.Errorf("got %d %q", got, r.Reason)
		}
		return err
	})
}

// TestEgressEndToEnd tries the deny rules through the shipped program and its
// configuration (A16).
func TestEgressEndToEnd(t *testing.T) {
	together(t)
	o := startOutside(t, "", "")
	plain, secure := "http://shop.example:"+o.Plain, "https://shop.example:"+o.Secure
	tests := []struct {
		name, kind, list, url string
		status                int
		reason                string
	}{
		{"no list", "", "", plain + "/", 200, ""},
		{"no list, a tunnel", "", "", secure + "/", 200, ""},
		{"a private address", "", "", "http://inside.example/", 403, "private_address"},
		{"metadata", "", "", "http://169.254.169.254/latest/meta-data/", 403, "private_address"},
		{"the gateway", "", "", "http://" + o.Gateway + "/", 403, "own_address"},
		{"admin", "", "", "http://localhost:" + portOf(t, "http://"+o.Admin) + "/blacklist/", 403, "own_address"},
		{"the egress", "", "", "http://" + o.Egress + "/", 403, "own_address"},
		{"a port CONNECT may not reach", "", "", "https://shop.example:1/", 403, ""},
		{"a blacklisted name", "blacklist", "# comment\nshop.example\n", plain + "/", 403, "blacklist"},
		{"a blacklisted name, a tunnel", "blacklist", "shop.example", secure + "/", 403, ""},
		{"a blacklisted address", "blacklist", `["127.0.0.0/8"]`, plain + "/", 403, "blacklist"},
		{"a blacklisted URL", "blacklist", `{"entries": ["` + plain + `/admin"]}`, plain + "/admin/x", 403, "blacklist"},
		{"beside a blacklisted URL", "blacklist", `{"entries": ["` + plain + `/admin"]}`, plain + "/x", 200, ""},
		{"vumi's entries", "blacklist", "69.16.230.117\n2606:2800:220:1:248:1893:25c8:1946\n", "http://[2606:2800:220:1:248:1893:25c8:1946]/", 403, "blacklist"},
		{"off the whitelist", "whitelist", "other.example", plain + "/", 403, "whitelist"},
		{"on the whitelist", "whitelist", "shop.example", plain + "/", 200, ""},
		{"an unreadable blacklist", "blacklist", `{"entries": `, plain + "/", 503, "policy_unavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, kind := range []string{"blacklist", "whitelist"} {
				if err := os.RemoveAll(filepath.Join(o.Lists, kind, "ops")); err != nil {
					t.Fatal(err)
				}
			}
			o.soon(t, "http://other.example:"+o.Plain+"/", 200)
			if tt.kind != "" {
				o.put(t, tt.kind, "ops", tt.list)
			}
			o.soon(t, tt.url, tt.status)
			if _, r := o.get(t, tt.url); r.Reason != tt.reason {
				t.Errorf("reason is %q, want %q", r.Reason, tt.reason)
			}
		})
	}
}

// TestEgressCutsOpenTunnels: a list that is written while a tunnel is open
// reaches it (A2, X14).
func TestEgressCutsOpenTunnels(t *testing.T) {
	together(t)
	o := startOutside(t, "", "")
	c, err := net.Dial("tcp", o.Egress)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT shop.example:%s HTTP/1.1\r\nHost: x\r\n\r\n", o.Secure)
	r := bufio.NewReader(c)
	if line, _ := r.ReadString('\n'); !strings.Contains(line, "200") {
		t.Fatalf("got %q", line)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	o.put(t, "blacklist", "ops", "shop.example")
	began := time.Now()
	_ = c.SetReadDeadline(began.Add(5 * time.Second))
	if _, err := r.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Fatalf("the tunnel is open after %v: %v", time.Since(began), err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("cut after %v", took)
	}
	eventually(t, soon, "the log tells", func() error { return logged(o.lictorProcess, "cut: ") })
}

// TestEgressReloads: SIGHUP takes the block's rules, and says what needs a restart.
func TestEgressReloads(t *testing.T) {
	together(t)
	o := startOutside(t, "", "")
	o.soon(t, "http://shop.example:"+o.Plain+"/", 200)
	cfg := o.cfg
	cfg.Rest = strings.Replace(cfg.Rest, `allow_private = ["127.0.0.0/8"]`, "", 1)
	o.Configure(t, cfg)
	o.Signal(t, syscall.SIGHUP)
	o.soon(t, "http://shop.example:"+o.Plain+"/", 403)
}

// TestEgressAndConsul: what is registered is out of reach, and so is the store
// of the policy itself (A15, X9).
func TestEgressAndConsul(t *testing.T) {
	together(t)
	agent := startConsul(t)
	port := portOf(t, "http://"+agent.Addr)
	o := startOutside(t, "", fmt.Sprintf("consul {\n  address = %q\n}\npolicy {\n  store = \"consul\"\n}\nresolver \"consul\" {\n  expose = [\"web-*\"]\n}\n", "localhost:"+port))
	o.DNS.Set("rebind.example", dnstest.Name{Addrs: []string{"127.0.0.1"}})
	plain := "http://shop.example:" + o.Plain + "/"
	o.soon(t, plain, 200)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "rebind.example", "0.0.0.0"} {
		if status, r := o.get(t, "http://"+host+":"+port+"/v1/kv/lictor/policy/blacklist/ops"); status != 403 || r.Reason != "own_address" {
			t.Errorf("Consul as %s: got %d %q", host, status, r.Reason)
		}
	}
	// The list is maintained where it is kept; a wrong way round does not help.
	if _, err := agent.Client.KV().Put(&api.KVPair{Key: "lictor/policy/blacklist/ops", Value: []byte("other.example")}, nil); err != nil {
		t.Fatal(err)
	}
	o.soon(t, "http://other.example:"+o.Plain+"/", 403)
	o.soon(t, plain, 200)
	// A service that no path may reach is registered all the same.
	var number int
	if _, err := fmt.Sscan(o.Plain, &number); err != nil {
		t.Fatal(err)
	}
	reg := &api.AgentServiceRegistration{Name: "secret", Address: "127.0.0.1", Port: number}
	if err := agent.Client.Agent().ServiceRegister(reg); err != nil {
		t.Fatal(err)
	}
	o.soon(t, plain, 403)
	if _, r := o.get(t, plain); r.Reason != "registered_service" {
		t.Errorf("reason is %q", r.Reason)
	}
	if err := agent.Client.Agent().ServiceDeregister("secret"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "it may be reached again", func() error {
		if status, r := o.get(t, plain); status != 200 {
			return fmt.Errorf("got %d %q", status, r.Reason)
		}
		return nil
	})
}
