//go:build integration

package integration_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
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
