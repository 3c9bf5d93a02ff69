package gateway

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/app/listener/certtest"
	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// newTLSRig is a gateway that speaks TLS, and the authority it is signed by.
func newTLSRig(t *testing.T, configure func(*Config)) (*rig, *certtest.CA) {
	t.Helper()
	ca := certtest.NewCA(t)
	cert := ca.Issue(t, "gw.test")
	r := newRigWith(t, nil, func(c *Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
		if configure != nil {
			configure(c)
		}
	})
	return r, ca
}

// dialTLS is dial with a handshake.
func (r *rig) dialTLS(ca *certtest.CA) *client {
	r.t.Helper()
	raw := r.dial()
	c := tls.Client(raw.Conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "gw.test"})
	if err := c.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	return &client{r.t, c, bufio.NewReader(c)}
}

// TestTLSTakesTheSamePath sends requests over one TLS connection; the backend
// learns that they came by https (D6).
func TestTLSTakesTheSamePath(t *testing.T) {
	r, ca := newTLSRig(t, nil)
	r.backend(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		io.WriteString(w, q.Header.Get("X-Forwarded-Proto")+" "+string(body))
	})
	c := r.dialTLS(ca)
	large := strings.Repeat("x", 300<<10)
	for _, body := range []string{"", "a", large, "b"} {
		c.send("POST /svc/ HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n")
		if body != "" {
			chunk := message.AppendChunk(nil, []byte(body))
			c.send(string(chunk[:1]))
			c.send(string(chunk[1:]))
		}
		c.send("0\r\n\r\n")
		if resp, got := c.answer("POST"); resp.StatusCode != 200 || got != "https "+body {
			t.Fatalf("got %d with %d bytes, want 200 with %d", resp.StatusCode, len(got), len(body)+6)
		}
	}
}

// TestPlainHTTPOnATLSPortIsToldSo asks without TLS where TLS is spoken.
func TestPlainHTTPOnATLSPortIsToldSo(t *testing.T) {
	r, _ := newTLSRig(t, nil)
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
	if resp, body := c.answer("GET"); resp.StatusCode != 400 || !strings.Contains(body, "TLS") || !strings.Contains(body, `"request_id"`) {
		t.Errorf("got %d %q, want a 400 that speaks of TLS and has a request id", resp.StatusCode, body)
	}
}

// TestHandshakeIsBounded opens a connection and never says hello.
func TestHandshakeIsBounded(t *testing.T) {
	r, _ := newTLSRig(t, func(c *Config) { c.Settings.Header = 50 * time.Millisecond })
	c := r.dial()
	c.SetDeadline(time.Now().Add(soon))
	if _, err := c.in.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// TestShutdownEndsTLSConnections stops the gateway while one connection is
// idle and one in its handshake; newRig's cleanup waits for the end (X16).
func TestShutdownEndsTLSConnections(t *testing.T) {
	r, ca := newTLSRig(t, func(c *Config) { c.Settings.Drain = 100 * time.Millisecond })
	idle, silent := r.dialTLS(ca), r.dial()
	eventually.True(t, "the connection is idle", func() bool { return r.gw.server.Open() == 1 })
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > soon {
		t.Errorf("stopping took %s", took)
	}
	for _, c := range []*client{idle, silent} {
		if _, err := c.in.ReadByte(); err == nil {
			t.Error("the connection is still open")
		}
	}
}

// TestPROXYHeaderNamesTheClient begins connections with PROXY headers.
func TestPROXYHeaderNamesTheClient(t *testing.T) {
	from, to := netip.MustParseAddrPort("203.0.113.9:4711"), netip.MustParseAddrPort("198.51.100.1:443")
	v1, _ := http1.AppendProxyHeader(nil, 1, from, to)
	v2, _ := http1.AppendProxyHeader(nil, 2, from, to)
	local := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	tests := []struct {
		name, header, want string
		trusted            bool
	}{
		{"version 1 of a trusted proxy is believed", string(v1), "203.0.113.9 443", true},
		{"version 2 of a trusted proxy is believed", string(v2), "203.0.113.9 443", true},
		{"a health check of the proxy itself is the proxy", local, "127.0.0.1", true},
		{"an unknown client is the proxy", "PROXY UNKNOWN\r\n", "127.0.0.1", true},
		{"a trusted proxy must send one", "", "", true},
		{"half a header is none", "PROXY TCP4 203.0.113.9\r\n", "", true},
		{"a line without end is none", "PROXY TCP4 " + strings.Repeat("1", 200), "", true},
		{"from anybody else it is a bad request", string(v1), "400", false},
		{"anybody else needs none", "", "127.0.0.1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, ca := newTLSRig(t, func(c *Config) {
				c.ProxyProtocol = true
				if c.Settings.TrustedProxies = []netip.Prefix{mustPrefix("192.0.2.0/24")}; tt.trusted {
					c.Settings.TrustedProxies = []netip.Prefix{mustPrefix("127.0.0.0/8")}
				}
				if tt.want == "400" {
					c.TLS = nil
				}
			})
			r.backend(func(w http.ResponseWriter, q *http.Request) {
				io.WriteString(w, q.Header.Get("X-Real-IP")+" "+q.Header.Get("X-Forwarded-Port"))
			})
			raw := r.dial()
			raw.send(tt.header)
			if tt.want == "400" {
				raw.send("GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
				if resp, _ := raw.answer("GET"); resp.StatusCode != 400 {
					t.Errorf("got %d, want 400", resp.StatusCode)
				}
				return
			}
			got := askTLS(raw.Conn, ca)
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestCertificateIdentifiesAConsumer lets in who shows the certificate whose
// name is a consumer's custom_id.
func TestCertificateIdentifiesAConsumer(t *testing.T) {
	clients := certtest.NewCA(t)
	r, ca := newTLSRig(t, func(c *Config) {
		c.TLS.ClientAuth, c.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
	})
	r.backend(func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, q.Header.Get("X-Consumer-Username")) })
	r.rules.apply(
		change(policy.KindConsumers, "ann", &policy.Consumer{ID: "1", Name: "ann", CustomID: "ann.test"}),
		change(policy.KindACLs, "1", &policy.ACL{ID: "1", API: "svc", Consumers: []string{"ann"}}),
	)
	for name, want := range map[string]string{"ann.test": "200 ann", "eve.test": "401"} {
		c := tls.Client(r.dial().Conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "gw.test", Certificates: []tls.Certificate{clients.Issue(t, name)}})
		io.WriteString(c, "GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// X14: a client whose certificate does not hold any more is cut, with what is
// under way, and not served again; another one goes on.
func TestCertificatesAreVerifiedAgain(t *testing.T) {
	var withdrawn atomic.Value // the name whose certificate is
	withdrawn.Store("")
	clients := certtest.NewCA(t)
	r, ca := newTLSRig(t, func(c *Config) {
		c.TLS.ClientAuth, c.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
		c.VerifyClient = func(chain []*x509.Certificate) (time.Time, error) {
			if chain[0].Subject.CommonName == withdrawn.Load() {
				return time.Time{}, errors.New("withdrawn")
			}
			return chain[0].NotAfter, nil
		}
	})
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		for {
			head, err := readHead(in)
			if err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234")
			if strings.Contains(head, "/whole") {
				io.WriteString(c, "567890")
			}
		}
	})
	connect := func(name string, protocols ...string) *client {
		c := tls.Client(r.dial().Conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "gw.test", NextProtos: protocols, Certificates: []tls.Certificate{clients.Issue(t, name)}})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return &client{t, c, bufio.NewReader(c)}
	}
	whole := "GET /svc/whole HTTP/1.1\r\nHost: gw.test\r\n\r\n"
	calm, idle, busy := connect("ann.test"), connect("eve.test"), connect("eve.test")
	for _, c := range []*client{calm, idle} {
		c.send(whole)
		c.answer("GET")
	}
	busy.send("GET /svc/part HTTP/1.1\r\nHost: gw.test\r\n\r\n")
	if _, err := readHead(busy.in); err != nil {
		t.Fatal(err)
	}
	many := connect("eve.test", "h2")
	f := &frames{many, http2.NewFramer(many.Conn, many.in)}
	many.send(http2.ClientPreface)
	f.WriteSettings()
	f.request(1, true, "GET", "/svc/part")
	eventually.True(t, "the streams last", func() bool { return r.lasting() == 2 })
	withdrawn.Store("eve.test")
	r.gw.AuthoritiesChanged()
	for name, c := range map[string]*client{"idle": idle, "busy": busy, "HTTP/2": many} {
		if _, err := io.Copy(io.Discard, c.in); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: got %v, want a reset", name, err)
		}
	}
	calm.send(whole)
	if resp, _ := calm.answer("GET"); resp.StatusCode != 200 {
		t.Errorf("another client: %s", resp.Status)
	}
}

// TestCertificateThatRunsOutEnds is verified again when its time has come.
func TestCertificateThatRunsOutEnds(t *testing.T) {
	clients := certtest.NewCA(t)
	end := sync.OnceValue(func() time.Time { return time.Now().Add(1500 * time.Millisecond) }) // from when it is first verified
	r, ca := newTLSRig(t, func(c *Config) {
		c.TLS.ClientAuth, c.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
		c.VerifyClient = func([]*x509.Certificate) (time.Time, error) {
			if until := end(); time.Now().Before(until) {
				return until, nil
			}
			return end(), errors.New("expired")
		}
	})
	r.backend(func(w http.ResponseWriter, _ *http.Request) {})
	c := tls.Client(r.dial().Conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "gw.test", Certificates: []tls.Certificate{clients.Issue(t, "me")}})
	in := bufio.NewReader(c)
	served := 0
	for range time.Tick(20 * time.Millisecond) {
		io.WriteString(c, "GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		resp.Body.Close()
		if served++; time.Since(end()) > soon {
			t.Fatal("it is served on")
		}
	}
	if early := time.Until(end()); served == 0 || early > 0 {
		t.Errorf("%d requests were served, and it ended %v early", served, early)
	}
}

func change(kind policy.Kind, name string, o policy.Object) policy.Change {
	return policy.Change{Key: policy.Key{Kind: kind, Name: name}, Object: o}
}

// askTLS sends a request over TLS on c and returns the body of the answer, ""
// if there is none.
func askTLS(c net.Conn, ca *certtest.CA) string {
	tc := tls.Client(c, &tls.Config{RootCAs: ca.Pool(), ServerName: "gw.test"})
	io.WriteString(tc, "GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(tc), nil)
	if err != nil {
		return ""
	}
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}
