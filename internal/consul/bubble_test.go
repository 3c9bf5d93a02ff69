package consul

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/net/http2"

	"lictor/app/listener/certtest"
	"lictor/internal/secret"
)

// bubble is an agent without a network, so that its time may be that of a test alone.
type bubble struct {
	client *Client
	at     func(*peer, uint32) // called for each request of HTTP/2
	plain  http.RoundTripper   // answers those of HTTP/1.1
	ends   []*memory           // of its connections of HTTP/2
}

// bubbled returns one with a client of it. own is its certificate, which takes long to make
// and is to be of the time outside.
func bubbled(t *testing.T, own tls.Certificate, at func(*peer, uint32)) *bubble {
	t.Helper()
	identity, err := NewIdentity(IdentityConfig{Token: secret.New("first")})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{API: &api.Config{Address: "https://127.0.0.1:8501"}, Identity: identity, Conns: 20, Streams: 3})
	if err != nil {
		t.Fatal(err)
	}
	b := &bubble{client: c, at: at}
	c.kept.base = roundTrip(func(req *http.Request) (*http.Response, error) { return b.plain.RoundTrip(req) })
	c.streams.dial = func(ctx context.Context) (net.Conn, error) {
		near, far := newMemory()
		b.ends = append(b.ends, far)
		server := tls.Server(far, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, NextProtos: []string{"h2"}})
		p := &peer{Framer: http2.NewFramer(server, server), conn: server}
		go p.serve(100, func(p *peer, stream uint32) { b.at(p, stream) })
		secured := tls.Client(near, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // its time is over in the test
		return secured, secured.HandshakeContext(ctx)
	}
	return b
}

// end ends all connections.
func (b *bubble) end() {
	for _, m := range b.ends {
		_ = m.Close()
	}
}

func issued(t *testing.T) tls.Certificate { return certtest.NewCA(t).Issue(t, "127.0.0.1") }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// memory is one end of a connection that holds what was written until it is read.
type memory struct {
	net.Conn // for what is not called
	in, out  *held
}

// held are bytes on their way.
type held struct {
	mu   sync.Mutex
	more sync.Cond
	buf  bytes.Buffer
	over bool
}

func newMemory() (a, b *memory) {
	x, y := new(held), new(held)
	x.more.L, y.more.L = &x.mu, &y.mu
	return &memory{in: x, out: y}, &memory{in: y, out: x}
}

func (m *memory) Read(p []byte) (int, error) {
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	for m.in.buf.Len() == 0 {
		if m.in.over {
			return 0, io.EOF
		}
		m.in.more.Wait()
	}
	return m.in.buf.Read(p)
}

func (m *memory) Write(p []byte) (int, error) {
	m.out.mu.Lock()
	defer m.out.mu.Unlock()
	if m.out.over {
		return 0, net.ErrClosed
	}
	defer m.out.more.Broadcast()
	return m.out.buf.Write(p)
}

func (m *memory) Close() error {
	for _, h := range []*held{m.in, m.out} {
		h.mu.Lock()
		h.over = true
		h.more.Broadcast()
		h.mu.Unlock()
	}
	return nil
}

func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }
func (m *memory) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (m *memory) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
