package http1

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/socket"
)

const plainGet = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"

// wantAnswer sends a request and reads its answer.
func wantAnswer(t testing.TB, c net.Conn, in *bufio.Reader, request string) {
	t.Helper()
	io.WriteString(c, request)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
}

// napper is a server with limits of the test's choice, and what stops it.
func napper(t *testing.T, lim Limits) (s *Server, addr string, stop func(context.Context) error) {
	t.Helper()
	f := &forwarder{now: make(map[*Conn]struct{})}
	f.pool = NewPool(PoolConfig{Address: startPeer(t, echoPeer), MaxIdle: 4, IdleTimeout: time.Minute})
	s = NewServer(f, lim)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(l, new(Entrance)) })
	t.Cleanup(func() { l.Close(); f.pool.Close() })
	return s, l.Addr().String(), func(ctx context.Context) error {
		l.Close()
		wg.Wait()
		return s.Shutdown(ctx)
	}
}

// A connection that took a nap serves on, again and again, ends at the idle
// limit, and at once when the server stops.
func TestNap(t *testing.T) {
	lim := testLimits
	lim.Nap, lim.Idle = 20*time.Millisecond, 400*time.Millisecond
	s, addr, stop := napper(t, lim)
	c := dialTest(t, addr)
	in := bufio.NewReader(c)
	for _, pause := range []time.Duration{0, 60, 60, 0, 10, 60} {
		time.Sleep(pause * time.Millisecond) // some longer than a nap is waited for
		wantAnswer(t, c, in, plainGet)
	}
	began := time.Now()
	if _, err := in.ReadByte(); err != io.EOF || time.Since(began) < 250*time.Millisecond || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %v, want EOF at the idle limit", err, time.Since(began))
	}
	lim.Idle = time.Minute
	s.SetLimits(lim)
	c = dialTest(t, addr)
	in = bufio.NewReader(c)
	wantAnswer(t, c, in, plainGet)
	time.Sleep(60 * time.Millisecond) // until it naps, which nothing tells
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Error(err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
}

// A stop at any moment between requests loses none that was begun: what is
// answered is answered whole, what is not was not begun.
func TestShutdownAtAnyMoment(t *testing.T) {
	for i := range 60 {
		lim := testLimits
		lim.Nap = time.Millisecond
		_, addr, stop := napper(t, lim)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					return // it stopped already
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				in := bufio.NewReader(c)
				for {
					io.WriteString(c, plainGet)
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						if socket.IsTimeout(err) {
							t.Error("the connection is left open without an answer")
						}
						return
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
						t.Errorf("%d %v", resp.StatusCode, err)
					}
				}
			})
		}
		for range i * 20 { // any moment
			runtime.Gosched()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		began := time.Now()
		if err := stop(ctx); err != nil {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		cancel()
		wg.Wait()
	}
}

// testTLS is a pair of configurations that trust each other.
func testTLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}},
		&tls.Config{RootCAs: roots, ServerName: "x"}
}

// handshaken accepts connections whose handshake is over, as an Entrance does:
// one that is under way does not survive that its connection naps.
type handshaken struct{ net.Listener }

func (h handshaken) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err == nil {
		c.(*tls.Conn).Handshake() // what fails here fails at the first read as well
	}
	return c, err
}

// TLS to the client and to the upstream: the same rules, and the same care.
func TestOverTLS(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{}, 1)
	var mu sync.Mutex
	var open []net.Conn
	servePeer(t, tls.NewListener(l, serverTLS), func(c net.Conn, in *bufio.Reader) {
		mu.Lock()
		open = append(open, c)
		mu.Unlock()
		echoPeer(c, in)
		select {
		case gone <- struct{}{}:
		default:
		}
	})
	f := &forwarder{pool: NewPool(PoolConfig{Address: l.Addr().String(), TLS: clientTLS, MaxIdle: 4, IdleTimeout: time.Minute})}
	addr := startServer(t, f, func(l net.Listener) net.Listener { return handshaken{tls.NewListener(l, serverTLS)} })
	dial := func() (net.Conn, *bufio.Reader) {
		c := tls.Client(dialTest(t, addr), clientTLS)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c, bufio.NewReader(c)
	}
	c, in := dial()
	const upload = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	for range 5 {
		wantAnswer(t, c, in, plainGet)
		wantAnswer(t, c, in, upload)
		wantAnswer(t, c, in, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	mu.Lock()
	if len(open) != 1 {
		t.Errorf("%d upstream connections for one client", len(open))
	}
	open[0].Close()
	mu.Unlock()
	time.Sleep(20 * time.Millisecond) // for the end to arrive, which only the kernel sees
	f.pool.Expire()                   // notices
	wantAnswer(t, c, in, upload)

	io.WriteString(c, "GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
	time.Sleep(100 * time.Millisecond) // until the client is watched
	for len(gone) > 0 {
		<-gone
	}
	c.Close()
	select {
	case <-gone:
	case <-time.After(2 * time.Second):
		t.Error("the upstream request of a client that left goes on")
	}
}

// The pool: last used first, no more than it may keep, none that is old or
// closed, none once it is closed.
func TestPool(t *testing.T) {
	peer := startPeer(t, func(c net.Conn, in *bufio.Reader) { io.Copy(io.Discard, in) })
	p := NewPool(PoolConfig{Address: peer, MaxIdle: 2, IdleTimeout: 50 * time.Millisecond})
	get := func() *Upstream {
		t.Helper()
		u, err := p.Get(nil, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	counts := func(active, idle int) {
		t.Helper()
		if a, i := p.Counts(); a != active || i != idle {
			t.Errorf("%d in use and %d idle, want %d and %d", a, i, active, idle)
		}
	}
	a, b, c := get(), get(), get()
	counts(3, 0)
	p.put(a, nil)
	p.put(b, nil)
	a.idle -= int64(2 * lately)
	p.put(c, nil) // one too many, and a was not used for long
	counts(0, 2)
	if u := get(); u != c || !u.Reused() {
		t.Error("not the one used last")
	}
	c.Discard()
	counts(0, 1)
	p.Expire()
	counts(0, 1)
	eventually.True(t, "the old one goes", func() bool {
		p.Expire()
		active, idle := p.Counts()
		return active == 0 && idle == 0
	})
	a = get()
	p.Close()
	p.put(a, nil)
	counts(0, 0)
	if err := a.s.Conn.SetDeadline(time.Now()); err == nil {
		t.Error("a connection given back to a closed pool is open")
	}
}
