//go:build integration

package integration_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lictor/app/listener/certtest"
)

// D23, D24: who comes by plain HTTP is told the way to https, and by https that
// there is no other.
func TestPlainHTTPIsLedToHTTPS(t *testing.T) {
	together(t)
	backend := startBackend(t, "one")
	ca := certtest.NewCA(t)
	block, _ := tlsConfig(t, ca)
	plain := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	front := func(port int) lictorConfig {
		return lictorConfig{
			Gateway: block + fmt.Sprintf("\nredirect_address = %q\nredirect_port = %d\nhsts = \"1y\"\n", plain, port),
			Rest:    staticConfig("svc", "http://"+backend.Addr),
		}
	}
	p := startLictor(t, front(0))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	resp, err := client.Post("http://"+plain+"/svc/a?b=c", "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 200 || resp.Request.Method != "POST" || resp.Request.URL.String() != "https://"+p.Gateway+"/svc/a?b=c" {
		t.Errorf("got %d %v from %s %s: %s", resp.StatusCode, err, resp.Request.Method, resp.Request.URL, body)
	}
	if got := resp.Header.Values("Strict-Transport-Security"); len(got) != 1 || got[0] != "max-age=31536000" {
		t.Errorf("by https it says %q", got)
	}
	_, port, _ := net.SplitHostPort(p.Gateway)
	for request, want := range map[string]string{
		"GET /svc/ HTTP/1.1\r\nHost: example.org:80\r\n\r\n":                      "308 https://example.org:" + port + "/svc/",
		"GET //evil.example/ HTTP/1.1\r\nHost: example.org\r\n\r\n":               "308 https://example.org:" + port + "//evil.example/",
		"GET /svc/ HTTP/1.1\r\nHost: example.org@evil.example\r\n\r\n":            "400 ",
		"GET /svc/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":                        "400 ",
		"GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: example.org\r\n\r\n": "308 https://example.org:" + port + "/.well-known/acme-challenge/x",
	} {
		if got := redirected(t, plain, request); got != want {
			t.Errorf("%q: got %q, want %q", request, got, want)
		}
	}
	p.Configure(t, front(443))
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the port that was mapped is used", func() error {
		if got := redirected(t, plain, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"); got != "308 https://example.org/" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if status := p.Stop(t); status != 0 {
		t.Errorf("it ends with %d", status)
	}
}

// redirected sends a request and returns the status and Location of the answer.
func redirected(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, request)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return fmt.Sprintf("%d %s", resp.StatusCode, resp.Header.Get("Location"))
}

// D25: a service that does not know of its prefix, on whose answers a client with a
// jar of cookies finds its way.
func TestAServiceUnderAPrefixIsFollowed(t *testing.T) {
	together(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			http.SetCookie(w, &http.Cookie{Name: "root", Value: "1", Path: "/"})
			http.SetCookie(w, &http.Cookie{Name: "account", Value: "1", Path: "/account"})
			http.Redirect(w, r, "/account/login", http.StatusFound)
		case "/account/login":
			http.Redirect(w, r, "http://"+r.Host+"/account/home?x=y", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "//other.example/account", http.StatusFound)
		default:
			fmt.Fprint(w, r.URL.String(), " ", r.Header.Get("Cookie"))
		}
	}))
	t.Cleanup(backend.Close)
	config := func(more string) lictorConfig {
		return lictorConfig{Rest: staticConfig("svc", backend.URL) + dispatchConfig(more)}
	}
	p := startLictor(t, config(""))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	resp, err := client.Get("http://" + p.Gateway + "/svc")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := "/account/home?x=y account=1; root=1"; err != nil || resp.StatusCode != 200 || string(body) != want {
		t.Errorf("got %d %q from %s, want %q", resp.StatusCode, body, resp.Request.URL, want)
	}
	if got := redirected(t, p.Gateway, "GET /svc/away HTTP/1.1\r\nHost: example.org\r\n\r\n"); got != "302 //other.example/account" {
		t.Errorf("another host: got %q", got)
	}
	p.Configure(t, config("rewrite_location = false"))
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "answers are left as they come", func() error {
		if got := redirected(t, p.Gateway, "GET /svc/ HTTP/1.1\r\nHost: example.org\r\n\r\n"); got != "302 /account/login" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

// dispatchConfig is a block dispatch "http" with options.
func dispatchConfig(options string) string { return "dispatch \"http\" {\n" + options + "\n}\n" }

// D26: another path for the service, which the rules of an operator hold for, too.
func TestPathsAreRewritten(t *testing.T) {
	together(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.String()) }))
	t.Cleanup(backend.Close)
	rules := t.TempDir()
	config := func(path string) lictorConfig {
		return lictorConfig{Rest: staticConfig("svc", backend.URL) + fmt.Sprintf(`
policy {
  store = "file"
  dir   = %q
}
middleware "v1" {
  match {
    paths = ["/svc/v1"]
  }
  request {
    path = %q
  }
}
`, rules, path)}
	}
	p := startLictor(t, config("/v2{rest}"))
	url := "http://" + p.Gateway + "/svc/v1/a?b=c"
	if status, body := askAt(t, p, "", "/svc/v1/a?b=c"); status != 200 || body != "/v2/a?b=c" {
		t.Errorf("got %d %q", status, body)
	}
	if err := os.MkdirAll(filepath.Join(rules, "blacklist"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rules, "blacklist", "ops"), []byte("/svc/v2/a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	asks(t, soon, 403, "GET", url)
	p.Configure(t, config("/v3{rest}"))
	p.Signal(t, syscall.SIGHUP)
	asks(t, soon, 200, "GET", url)
}
