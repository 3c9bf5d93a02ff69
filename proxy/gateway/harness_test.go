package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/policy"
	"lictor/proxy/upstream"
	"lictor/resolver"
)

// fakeSource is a resolver whose catalog the test sets.
type fakeSource struct {
	resolver.Bell
	catalog atomic.Pointer[resolver.Catalog]
	wanted  atomic.Int64
}

func (s *fakeSource) Kind() string               { return "fake" }
func (s *fakeSource) Catalog() *resolver.Catalog { return s.catalog.Load() }
func (s *fakeSource) Status() resolver.Status    { return resolver.Status{Ready: true} }
func (s *fakeSource) Want(string) <-chan struct{} {
	s.wanted.Add(1)
	done := make(chan struct{})
	close(done)
	return done
}

// set makes the catalog hold one service called svc with passing instances at
// the addresses.
func (s *fakeSource) set(opts resolver.Options, addrs ...string) {
	svc := &resolver.Service{Name: "svc", Loaded: true, Options: opts}
	for i, a := range addrs {
		svc.Instances = append(svc.Instances, &resolver.Instance{
			ID: fmt.Sprintf("svc-%d", i), Address: a, Weight: 1, State: resolver.Passing})
	}
	s.catalog.Store(resolver.NewCatalog(svc))
	s.Ring()
}

// fakePolicy is a policy that the test changes.
type fakePolicy struct {
	builder *policy.Builder
	index   uint64
	set     atomic.Pointer[policy.Set]
}

func (p *fakePolicy) Set() *policy.Set { return p.set.Load() }

// apply puts objects in force.
func (p *fakePolicy) apply(changes ...policy.Change) {
	if p.builder == nil {
		p.builder = policy.NewBuilder(policy.Options{Prefix: "lictor/"})
	}
	p.index++
	set, _ := p.builder.Apply(p.index, changes)
	p.set.Store(set)
}

// testSettings are those of a test of what does not go by time: a busy machine refuses
// nobody, and what should end at once does so long before any limit.
func testSettings() Settings {
	return Settings{
		Settings: upstream.Settings{Timeout: time.Minute, Retries: 2, ConnectTimeout: time.Minute, MaxIdle: 64},
		Idle:     time.Minute, Header: time.Minute, Stream: time.Minute, MaxHeader: 32 << 10, Drain: time.Minute,
	}
}

// soon is how long anything may take that should be done at once; it is less than any of
// the limits, which would end it otherwise.
const soon = 30 * time.Second

// rig is a gateway on a free port.
type rig struct {
	t     testing.TB
	gw    *Gateway
	src   *fakeSource
	rules *fakePolicy
	addr  string
	more  []string // where the further listeners are
	stop  func()   // ends the gateway and waits for it
}

func newRig(t testing.TB, edit func(*Settings)) *rig {
	t.Helper()
	return newRigWith(t, edit, nil)
}

// newRigWith is newRig with changes to the gateway's configuration as well.
func newRigWith(t testing.TB, edit func(*Settings), configure func(*Config)) *rig {
	t.Helper()
	set := testSettings()
	if edit != nil {
		edit(&set)
	}
	src := new(fakeSource)
	src.catalog.Store(resolver.NewCatalog())
	rules := new(fakePolicy)
	rules.apply()
	cfg := Config{Settings: set, Sources: []resolver.Source{src}, Log: hclog.NewNullLogger(), Policy: rules}
	if configure != nil {
		configure(&cfg)
	}
	gw, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	all := []net.Listener{l}
	var more []string
	for range cfg.More {
		all = append(all, listen(t))
		more = append(more, all[len(all)-1].Addr().String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := gw.Run(ctx, all...); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop := func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return &rig{t: t, gw: gw, src: src, rules: rules, addr: l.Addr().String(), more: more, stop: stop}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// backend serves svc with an ordinary net/http server.
func (r *rig) backend(h http.HandlerFunc) *httptest.Server {
	r.t.Helper()
	s := httptest.NewServer(h)
	r.t.Cleanup(s.Close)
	r.src.set(resolver.Options{}, s.Listener.Addr().String())
	return s
}

// rawBackend serves svc connection by connection, byte by byte.
func (r *rig) rawBackend(serve func(c net.Conn, in *bufio.Reader)) net.Listener {
	r.t.Helper()
	l := listen(r.t)
	r.src.set(resolver.Options{}, l.Addr().String())
	serveRaw(r.t, l, serve)
	return l
}

func serveRaw(t testing.TB, l net.Listener, serve func(c net.Conn, in *bufio.Reader)) {
	var wg sync.WaitGroup
	var conns sync.Map
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(2 * time.Minute))
				serve(c, bufio.NewReader(c))
			})
		}
	})
}

// readHead reads a message head as text, up to and with the empty line.
func readHead(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String(), err
		}
	}
}

// client is a raw connection to the gateway.
type client struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	r.t.Cleanup(func() { c.Close() })
	return &client{r.t, c, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer to a request with the method.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("answer is cut: %v", err)
	}
	return resp, string(body)
}

// get is one request on a new connection.
func (r *rig) get(target string, fields ...string) (*http.Response, string) {
	r.t.Helper()
	c := r.dial()
	c.send("GET " + target + " HTTP/1.1\r\nHost: gw.test\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n")
	return c.answer("GET")
}

func mustPrefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// ejected is why an instance gets no requests, "" if it gets some.
func (r *rig) ejected(service, id, address string) string {
	for _, i := range r.gw.upstream.Instances(service) {
		if i.ID == id && i.Address == address {
			return i.Ejected
		}
	}
	return ""
}
