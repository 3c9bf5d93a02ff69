package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/app/listener/certtest"
	"lictor/internal/consul/mesh"
	"lictor/internal/eventually"
	"lictor/proxy/answer"
	"lictor/resolver"
)

const webID = "/ns/default/dc/dc1/svc/svc"

// fakeMesh has an authority of its own, and says of intentions what the test wants.
type fakeMesh struct {
	ca       *certtest.CA
	own      tls.Certificate
	verify   func() error // what is found of a peer, beside that it is of ca
	asked    atomic.Int32
	allowed  atomic.Bool
	unknown  atomic.Bool // what intentions say
	spokenTo sync.Map    // identities
}

func newFakeMesh(t *testing.T) *fakeMesh {
	t.Helper()
	ca := certtest.NewCA(t)
	return &fakeMesh{ca: ca, own: ca.Issue(t, "lictor.test"), verify: func() error { return nil }}
}

func (f *fakeMesh) TLS(identity string) *tls.Config {
	f.spokenTo.Store(identity, true)
	return &tls.Config{
		RootCAs: f.ca.Pool(), ServerName: "sidecar.test", Certificates: []tls.Certificate{f.own}, MinVersion: tls.VersionTLS12,
		VerifyConnection: func(tls.ConnectionState) error { return f.verify() },
	}
}

func (f *fakeMesh) Allowed(context.Context, string) (bool, error) {
	f.asked.Add(1)
	if f.unknown.Load() {
		return false, errors.New("connection refused")
	}
	return f.allowed.Load(), nil
}

// side is how a sidecar speaks TLS.
func (f *fakeMesh) side(t *testing.T, edit func(*tls.Config)) *tls.Config {
	t.Helper()
	c := &tls.Config{Certificates: []tls.Certificate{f.ca.Issue(t, "sidecar.test")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: f.ca.Pool(), MinVersion: tls.VersionTLS12}
	if edit != nil {
		edit(c)
	}
	return c
}

// sidecar serves connection by connection what is behind its TLS, and counts them.
func (f *fakeMesh) sidecar(t *testing.T, edit func(*tls.Config), serve func(net.Conn, *bufio.Reader)) (addr string, conns *atomic.Int32) {
	t.Helper()
	l, cfg := listen(t), f.side(t, edit)
	conns = new(atomic.Int32)
	serveRaw(t, l, func(c net.Conn, _ *bufio.Reader) {
		conns.Add(1)
		tc := tls.Server(c, cfg)
		if tc.Handshake() == nil {
			serve(tc, bufio.NewReader(tc))
		}
		tc.Close()
	})
	return l.Addr().String(), conns
}

// inMesh is a gateway whose service is in the mesh at the addresses.
func (f *fakeMesh) gateway(t *testing.T, protocol resolver.Protocol, opts resolver.Options, addrs ...string) *rig {
	t.Helper()
	r := newRigWith(t, nil, func(c *Config) { c.Mesh = f })
	svc := &resolver.Service{Name: "svc", Loaded: true, Options: opts}
	for i, addr := range addrs {
		svc.Instances = append(svc.Instances, &resolver.Instance{ID: fmt.Sprint("svc-", i), Address: addr, Mesh: webID, Protocol: protocol, Weight: 1, State: resolver.Passing})
	}
	r.src.catalog.Store(resolver.NewCatalog(svc))
	return r
}

// Instances in the mesh are spoken to by its TLS, whatever is spoken inside of it.
func TestInstancesInTheMesh(t *testing.T) {
	f := newFakeMesh(t)
	hello := func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, q.Proto) }
	plain := httptest.NewServer(http.HandlerFunc(hello))
	t.Cleanup(plain.Close)
	addr, _ := f.sidecar(t, nil, func(c net.Conn, in *bufio.Reader) { // it knows bytes only, as an L4 sidecar
		(&http2.Server{}).ServeConn(&buffered{c, in}, &http2.ServeConnOpts{Handler: http.HandlerFunc(hello)})
	})
	for _, protocol := range []resolver.Protocol{resolver.H2C, resolver.H2} {
		if _, body := f.gateway(t, protocol, resolver.Options{}, addr).get("/svc/"); body != "HTTP/2.0" {
			t.Errorf("HTTP/2 without a word about it in the handshake: got %q", body)
		}
	}
	told := make(chan string, 1)
	addr, _ = f.sidecar(t, nil, func(c net.Conn, in *bufio.Reader) {
		line, _ := in.ReadString('\n')
		told <- line
		_, _ = readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	if resp, _ := f.gateway(t, resolver.HTTP1, resolver.Options{SendProxy: 1}, addr).get("/svc/"); resp.StatusCode != 200 {
		t.Errorf("with a PROXY header: %d", resp.StatusCode)
	}
	if line := <-told; !strings.HasPrefix(line, "PROXY TCP4 ") {
		t.Errorf("the service is told %q", line)
	}
	if _, ok := f.spokenTo.Load(webID); !ok {
		t.Error("nobody asked who the peer must be")
	}
}

// Nothing makes an instance in the mesh be spoken to in plain text.
func TestWithoutAMeshItsInstancesAreOutOfReach(t *testing.T) {
	var came atomic.Int32
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came.Add(1) }))
	t.Cleanup(plain.Close)
	for _, protocol := range []resolver.Protocol{resolver.HTTP1, resolver.H2C} {
		r := newRig(t, nil)
		r.src.catalog.Store(resolver.NewCatalog(&resolver.Service{Name: "svc", Loaded: true, Instances: []*resolver.Instance{
			{ID: "a", Address: plain.Listener.Addr().String(), Mesh: webID, Protocol: protocol, Weight: 1, State: resolver.Passing}}}))
		if resp, body := r.get("/svc/"); resp.StatusCode != 503 || !strings.Contains(body, "unreachable") || came.Load() != 0 {
			t.Errorf("got %d %q, %d requests in plain text", resp.StatusCode, body, came.Load())
		}
	}
}

// A peer that refuses lictor, in each way that sidecars have, is 403 if Consul's
// intentions are why; however often it is asked for, neither the sidecar nor Consul
// hears of it more than once in a moment.
func TestWhatIntentionsForbid(t *testing.T) {
	denies := errors.New("denied")
	ways := map[string]struct {
		edit  func(*tls.Config)
		serve func(net.Conn, *bufio.Reader)
	}{
		"in the handshake, by TLS 1.2": {edit: func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return denies }
		}},
		"behind the handshake, by TLS 1.3": {edit: func(c *tls.Config) {
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return denies }
		}},
		"it closes": {serve: func(net.Conn, *bufio.Reader) {}},
		"it closes at the first byte": {serve: func(_ net.Conn, in *bufio.Reader) {
			_, _ = in.ReadByte()
		}},
		"it resets": {serve: func(c net.Conn, in *bufio.Reader) {
			_, _ = in.ReadByte()
			_ = c.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
		}},
	}
	for name, way := range ways {
		for _, protocol := range []resolver.Protocol{resolver.HTTP1, resolver.H2C} {
			t.Run(fmt.Sprint(name, " ", protocol), func(t *testing.T) {
				f := newFakeMesh(t)
				serve := way.serve
				if serve == nil {
					serve = func(c net.Conn, in *bufio.Reader) { _, _ = io.Copy(io.Discard, in) }
				}
				addr, conns := f.sidecar(t, way.edit, serve)
				other, more := f.sidecar(t, way.edit, serve)
				r := f.gateway(t, protocol, resolver.Options{}, addr, other)
				for _, method := range []string{"GET", "POST"} {
					for range 20 {
						c := r.dial()
						c.send(method + " /svc/ HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 0\r\n\r\n")
						if resp, body := c.answer(method); resp.StatusCode != 403 || !strings.Contains(body, `"intention"`) {
							t.Fatalf("%s: got %d %q", method, resp.StatusCode, body)
						}
					}
				}
				if asked, made := f.asked.Load(), conns.Load()+more.Load(); asked != 1 || made != 1 {
					t.Errorf("consul was asked %d times, %d connections were made", asked, made)
				}
				if n := r.ejectedCount(); n != 0 {
					t.Errorf("%d instances are ejected", n)
				}
				e, err := r.gw.Explain(&answer.Question{URL: "/svc/"})
				if err != nil || e.Dispatch.Intention != "denied" || e.Status != 403 || e.Reason != "intention" {
					t.Errorf("explained as %+v, %v", e, err)
				}
				f.unknown.Store(true)
				if e, err = r.gw.Explain(&answer.Question{URL: "/svc/"}); err != nil || e.Dispatch.Intention != "unknown: connection refused" || e.Status != 200 {
					t.Errorf("consul is away: explained as %+v, %v", e, err)
				}
			})
		}
	}
}

// A body that came bit by bit does not change what is said.
func TestAForbiddenUpload(t *testing.T) {
	f := newFakeMesh(t)
	addr, _ := f.sidecar(t, nil, func(_ net.Conn, in *bufio.Reader) { _, _ = in.ReadByte() })
	r := f.gateway(t, resolver.HTTP1, resolver.Options{}, addr)
	c := r.dial()
	c.send("POST /svc/ HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100000\r\n\r\nbegin")
	if resp, body := c.answer("POST"); resp.StatusCode != 403 || !strings.Contains(body, `"intention"`) {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// Where intentions are not why, or nobody knows, it is as with every instance.
func TestWhatIntentionsDoNotForbid(t *testing.T) {
	for name, edit := range map[string]func(*fakeMesh){
		"they allow it":  func(f *fakeMesh) { f.allowed.Store(true) },
		"nobody can say": func(f *fakeMesh) { f.unknown.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeMesh(t)
			edit(f)
			bad, _ := f.sidecar(t, nil, func(net.Conn, *bufio.Reader) {})
			good, _ := f.sidecar(t, nil, func(c net.Conn, in *bufio.Reader) {
				for {
					if _, err := readHead(in); err != nil {
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			r := f.gateway(t, resolver.HTTP1, resolver.Options{}, bad, good)
			seen := map[int]int{}
			for range 10 {
				resp, body := r.get("/svc/")
				if seen[resp.StatusCode]++; resp.StatusCode != 200 && !strings.Contains(body, `"bad_gateway"`) { // it hung up before the request was sent, or behind it
					t.Fatalf("got %d %q", resp.StatusCode, body)
				}
			}
			if seen[200] == 0 || f.asked.Load() == 0 {
				t.Errorf("got %v, consul was asked %d times", seen, f.asked.Load())
			}
		})
	}
}

// A peer that is not who it should be is ejected and Consul not asked; a lack of
// lictor's own costs no instance.
func TestWhoIsNotTrusted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		ejected int
	}{
		{"a peer that is another", new(mesh.PeerError), 1},
		{"lictor has no certificate", fmt.Errorf("%w that holds", mesh.ErrNoCertificate), 0},
	} {
		for _, protocol := range []resolver.Protocol{resolver.HTTP1, resolver.H2C} {
			f := newFakeMesh(t)
			f.verify = func() error { return tt.err }
			var sent atomic.Int32
			serve := func(_ net.Conn, in *bufio.Reader) {
				if _, err := in.ReadByte(); err == nil {
					sent.Add(1)
				}
			}
			addr, _ := f.sidecar(t, nil, serve)
			other, _ := f.sidecar(t, nil, serve)
			r := f.gateway(t, protocol, resolver.Options{}, addr, other)
			for range 5 {
				if resp, body := r.get("/svc/"); resp.StatusCode != 503 || !strings.Contains(body, "unreachable") {
					t.Errorf("%s: got %d %q", tt.name, resp.StatusCode, body)
				}
			}
			if n, asked := r.ejectedCount(), f.asked.Load(); n != tt.ejected || asked != 0 || sent.Load() != 0 {
				t.Errorf("%s: %d ejected, consul was asked %d times, %d times something was sent", tt.name, n, asked, sent.Load())
			}
		}
	}
}

// Connections of before are used no more once they were renewed; what is under way
// is not touched.
func TestRenewLosesNothing(t *testing.T) {
	for _, protocol := range []resolver.Protocol{resolver.HTTP1, resolver.H2C} {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			f := newFakeMesh(t)
			hold, held := make(chan struct{}), make(chan struct{}, 1)
			handler := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if strings.HasSuffix(q.URL.Path, "/slow") {
					io.WriteString(w, "slow ")
					w.(http.Flusher).Flush()
					held <- struct{}{}
					<-hold
				}
				io.WriteString(w, "ok")
			})
			var alive atomic.Int32
			addr, conns := f.sidecar(t, nil, func(c net.Conn, in *bufio.Reader) {
				alive.Add(1)
				defer alive.Add(-1)
				if protocol == resolver.H2C {
					(&http2.Server{}).ServeConn(&buffered{c, in}, &http2.ServeConnOpts{Handler: handler})
					return
				}
				one := &oneConn{c: &buffered{c, in}, done: make(chan struct{})}
				_ = (&http.Server{Handler: handler, ConnState: func(_ net.Conn, s http.ConnState) {
					if s == http.StateClosed {
						close(one.done)
					}
				}, ReadHeaderTimeout: time.Minute}).Serve(one)
			})
			r := f.gateway(t, protocol, resolver.Options{}, addr)
			get := func() {
				t.Helper()
				if resp, body := r.get("/svc/"); resp.StatusCode != 200 || body != "ok" {
					t.Fatalf("got %d %q", resp.StatusCode, body)
				}
			}
			get()
			get()
			slow := r.dial()
			slow.send("GET /svc/slow HTTP/1.1\r\nHost: gw.test\r\n\r\n")
			<-held
			before := conns.Load()
			get()
			r.gw.Upstream().RenewMesh()
			get()
			if after := conns.Load(); after != before+1 && protocol == resolver.H2C || after < before+1 {
				t.Errorf("%d connections were made before, %d after", before, after)
			}
			eventually.True(t, "idle connections of before are closed", func() bool { return alive.Load() == 2 })
			close(hold)
			if resp, body := slow.answer("GET"); resp.StatusCode != 200 || body != "slow ok" {
				t.Errorf("what was under way: got %d %q", resp.StatusCode, body)
			}
			eventually.True(t, "and so is that one in the end", func() bool { return alive.Load() == 1 })
			eventually.True(t, "the new connection is kept", func() bool { // its client has the answer a moment before it is kept
				made := conns.Load()
				get()
				return conns.Load() == made
			})
		})
	}
}

// oneConn is a listener with one connection.
type oneConn struct {
	c    net.Conn
	done chan struct{} // closed when it may end
	once sync.Once
}

func (o *oneConn) Accept() (c net.Conn, err error) {
	o.once.Do(func() { c = o.c })
	if c == nil {
		<-o.done
		err = io.EOF
	}
	return c, err
}

func (o *oneConn) Close() error   { return nil }
func (o *oneConn) Addr() net.Addr { return o.c.LocalAddr() }
