//go:build integration

package integration_test

//lint:file-ignore SA1019 only this client opens streams by Extended CONNECT

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/app/listener/certtest"
)

// TestCurl asks in every version, by TLS and in plain text.
func TestCurl(t *testing.T) {
	together(t)
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal(err)
	}
	backend := startBackend(t, "one")
	ca := certtest.NewCA(t)
	block, dir := tlsConfig(t, ca)
	rest := staticConfig("svc", "http://"+backend.Addr)
	secure, plain := startLictor(t, lictorConfig{Gateway: block, Rest: rest}), startLictor(t, lictorConfig{Rest: rest})
	tests := []struct {
		name, option, url, version string
	}{
		{"HTTP/1.1 in plain text", "--http1.1", "http://" + plain.Gateway, "1.1"},
		{"HTTP/2 with prior knowledge", "--http2-prior-knowledge", "http://" + plain.Gateway, "2"},
		{"an upgrade to h2c is not taken", "--http2", "http://" + plain.Gateway, "1.1"},
		{"HTTP/1.1 by TLS", "--http1.1", "https://" + secure.Gateway, "1.1"},
		{"HTTP/2 by TLS", "--http2", "https://" + secure.Gateway, "2"},
		{"TLS 1.2", "--tls-max=1.2", "https://" + secure.Gateway, "2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append(strings.Split(tt.option, "="), "-sS", "--cacert", ca.WriteCA(t, dir), "-d", "body",
				"-o", "/dev/null", "-w", "%{http_code} %{http_version}", tt.url+"/svc/")
			out, err := run(t, 30*time.Second, curl, args...)
			if err != nil || out != "200 "+tt.version {
				t.Errorf("got %q, %v, want 200 by %s", out, err, tt.version)
			}
		})
	}
	out, err := run(t, 30*time.Second, curl, "-sS", "http://"+secure.Gateway+"/svc/")
	if err != nil || !strings.Contains(out, "TLS") {
		t.Errorf("plain HTTP on the TLS port: got %q, %v, want it explained", out, err)
	}
}

// echoSockets answers the handshake of a WebSocket and sends back what comes.
func echoSockets(t *testing.T) string {
	t.Helper()
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Key") == "" {
			http.Error(w, "no WebSocket", http.StatusBadRequest)
			return
		}
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, buf)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// TestWebSocketEveryWay echoes through WebSockets by HTTP/1.1 and by Extended
// CONNECT (RFC 8441), by TLS and in plain text (D20).
func TestWebSocketEveryWay(t *testing.T) {
	together(t)
	ca := certtest.NewCA(t)
	block, _ := tlsConfig(t, ca)
	rest := staticConfig("svc", "http://"+echoSockets(t))
	secure, plain := startLictor(t, lictorConfig{Gateway: block, Rest: rest}), startLictor(t, lictorConfig{Rest: rest})
	config := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	dialTLS := func() (net.Conn, error) { return tls.Dial("tcp", secure.Gateway, config) }
	dialPlain := func() (net.Conn, error) { return net.Dial("tcp", plain.Gateway) }
	h2 := config.Clone()
	h2.NextProtos = []string{"h2"}
	tests := []struct {
		name string
		open func(t *testing.T) io.ReadWriteCloser
	}{
		{"HTTP/1.1 in plain text", func(t *testing.T) io.ReadWriteCloser { return upgrade(t, dialPlain) }},
		{"HTTP/1.1 by TLS", func(t *testing.T) io.ReadWriteCloser { return upgrade(t, dialTLS) }},
		{"HTTP/2 in plain text", func(t *testing.T) io.ReadWriteCloser { return connect(t, "http://"+plain.Gateway, dialPlain) }},
		{"HTTP/2 by TLS", func(t *testing.T) io.ReadWriteCloser {
			return connect(t, "https://"+secure.Gateway, func() (net.Conn, error) { return tls.Dial("tcp", secure.Gateway, h2) })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ws := tt.open(t)
			defer ws.Close()
			for _, word := range []string{"ping", "pong", strings.Repeat("long", 100_000)} {
				go io.WriteString(ws, word)
				got := make([]byte, len(word))
				if _, err := io.ReadFull(ws, got); err != nil || string(got) != word {
					t.Fatalf("got %.20q, %v, want %.20q", got, err, word)
				}
			}
		})
	}
}

// upgrade opens a WebSocket by HTTP/1.1.
func upgrade(t *testing.T, dial func() (net.Conn, error)) io.ReadWriteCloser {
	t.Helper()
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "GET /svc/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v, want 101", resp, err)
	}
	return struct {
		io.Reader
		io.WriteCloser
	}{in, c}
}

// connect opens a WebSocket by HTTP/2.
func connect(t *testing.T, url string, dial func() (net.Conn, error)) io.ReadWriteCloser {
	t.Helper()
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return dial() }}
	t.Cleanup(tr.CloseIdleConnections)
	in, out := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, url, in)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Path = "/svc/"
	req.Header.Set(":protocol", "websocket")
	resp, err := tr.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v, want 200", resp, err)
	}
	return struct {
		io.Reader
		io.WriteCloser
	}{resp.Body, out}
}
