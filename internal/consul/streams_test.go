package consul

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/net/http2"

	"lictor/app/listener/certtest"
	"lictor/internal/eventually"
)

// secured is an agent behind TLS, in front of which something else may stand.
type secured struct {
	*httptest.Server
	waiting  atomic.Int64 // queries with an index, which wait until release
	now      atomic.Int64 // queries without, on their way
	most     atomic.Int64 // of those at the same time
	streams  atomic.Int64 // queries that came by HTTP/2
	conns    atomic.Int64 // that are open
	made     atomic.Int64 // that were ever made
	release  chan struct{}
	protocol atomic.Pointer[[]string] // that it speaks
	ca       string
}

// startSecured starts one that grants each connection so many streams.
func startSecured(t *testing.T, streams int, protocols ...string) *secured {
	t.Helper()
	return startSecuredAs(t, func(c *http.Server) { c.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams} }, protocols...)
}

func startSecuredAs(t *testing.T, edit func(*http.Server), protocols ...string) *secured {
	t.Helper()
	ca, dir := certtest.NewCA(t), t.TempDir()
	ca.WriteCA(t, dir)
	s := &secured{release: make(chan struct{}), ca: dir + "/ca.pem"}
	s.protocol.Store(&protocols)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.answer))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	edit(s.Config)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
			s.made.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.conns.Add(-1)
		}
	}
	own := ca.Issue(t, "127.0.0.1")
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, NextProtos: *s.protocol.Load()}, nil
	}
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *secured) answer(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		s.streams.Add(1)
	}
	w.Header().Set("X-Consul-Index", "7")
	if r.FormValue("index") == "" {
		s.most.Store(max(s.most.Load(), s.now.Add(1)))
		defer s.now.Add(-1)
		time.Sleep(time.Millisecond)
		fmt.Fprint(w, "[]")
		return
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	select {
	case <-r.Context().Done():
	case <-s.release:
		fmt.Fprint(w, "[]")
	}
}

// client returns one that may have so many connections of HTTP/2.
func (s *secured) client(t *testing.T, streams int) *Client {
	t.Helper()
	c, err := New(Config{API: &api.Config{Address: s.URL, TLSConfig: api.TLSConfig{CAFile: s.ca}}, Conns: 20 + streams, Streams: streams})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wait has n queries wait until ctx ends or they are answered. done returns once they
// are over, with how many failed.
func (s *secured) wait(t *testing.T, ctx context.Context, c *Client, n int) (done func() int64) {
	t.Helper()
	var all sync.WaitGroup
	var failed atomic.Int64
	before := s.waiting.Load()
	for i := range n {
		all.Go(func() {
			if _, err := askWaiting(ctx, c, fmt.Sprint("/v1/health/service/svc-", i), i%2 == 0); err != nil {
				failed.Add(1)
			}
		})
	}
	eventually.True(t, "all wait", func() bool { return s.waiting.Load() == before+int64(n) })
	return func() int64 {
		all.Wait()
		return failed.Load()
	}
}

func TestVeryManyQueriesWaitOverFewConnections(t *testing.T) {
	s := startSecured(t, 50, "h2")
	c := s.client(t, 12)
	if got := c.Streams(); got != 0 {
		t.Errorf("%d streams before anybody knows", got)
	}
	c.TryStreams(t.Context())
	if got := c.Streams(); got != 600 {
		t.Errorf("there is room for %d queries, want that of 12 connections", got)
	}
	done := s.wait(t, t.Context(), c, 500)
	if got := s.conns.Load(); got != 10 {
		t.Errorf("500 queries wait over %d connections, want 10", got)
	}
	close(s.release)
	if failed := done(); failed > 0 || s.streams.Load() != 500 {
		t.Errorf("%d failed, %d came by HTTP/2", failed, s.streams.Load())
	}
}

// TestNoMoreConnectionsThanMayBe: a query past them fails, as one that is not answered.
func TestNoMoreConnectionsThanMayBe(t *testing.T) {
	s := startSecured(t, 20, "h2")
	c := s.client(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done := s.wait(t, ctx, c, 40)
	if _, err := c.Get(ctx, "/v1/x", Query{Index: 7, Wait: time.Minute, Many: true}, readAll(new(string))); err == nil {
		t.Error("a query past all streams is sent")
	}
	if got := s.conns.Load(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
	if c.Contact.Down() {
		t.Error("consul is said not to answer, though nothing was sent to it")
	}
	cancel()
	done()
}

// TestWithoutHTTP2AllIsAsEver: by whatever something before the agent does without it.
func TestWithoutHTTP2AllIsAsEver(t *testing.T) {
	tests := []struct {
		name      string
		streams   int
		protocols []string
	}{
		{"it speaks HTTP/1.1 only", 250, []string{"http/1.1"}},
		{"it says nothing of protocols", 250, nil},
		{"it grants next to no streams", 1, []string{"h2", "http/1.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startSecured(t, tt.streams, tt.protocols...)
			c := s.client(t, 3)
			for range 5 {
				if _, err := c.Get(t.Context(), "/v1/x", Query{Many: true}, readAll(new(string))); err != nil {
					t.Fatal(err)
				}
			}
			if c.Streams() != 0 || s.streams.Load() != 0 || s.made.Load() > 2 || c.Contact.Down() {
				t.Errorf("room for %d, %d queries by streams, %d connections", c.Streams(), s.streams.Load(), s.made.Load())
			}
		})
	}
}

// TestWhereStreamsAreRefusedAllIsAsEver: connections of HTTP/2 are made, and nothing is
// answered on them.
func TestWhereStreamsAreRefusedAllIsAsEver(t *testing.T) {
	var refusals atomic.Int64
	s := startSecuredAs(t, func(c *http.Server) {
		c.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
			"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { refuseStreams(conn, &refusals) },
		}
	}, "h2", "http/1.1")
	c := s.client(t, 3)
	for range 5 {
		if _, err := c.Get(t.Context(), "/v1/x", Query{Many: true}, readAll(new(string))); err != nil {
			t.Fatal(err)
		}
	}
	if c.Streams() != 0 || refusals.Load() != 1 || c.Contact.Down() {
		t.Errorf("room for %d, %d queries were refused, want one", c.Streams(), refusals.Load())
	}
}

// refuseStreams speaks HTTP/2 and refuses each request.
func refuseStreams(conn net.Conn, refusals *atomic.Int64) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.PingFrame:
			_ = framer.WritePing(true, f.Data)
		case *http2.HeadersFrame:
			refusals.Add(1)
			_ = framer.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
		}
	}
}

// TestStreamsComeAndGoWithWhatIsSpoken: whoever asks is told, and no query is lost.
func TestStreamsComeAndGoWithWhatIsSpoken(t *testing.T) {
	s := startSecured(t, 50, "h2")
	c := s.client(t, 3)
	var told atomic.Int64
	c.OnStreams(func() { told.Add(1) })
	c.TryStreams(t.Context())
	if c.Streams() != 150 || told.Load() != 1 {
		t.Fatalf("room for %d, told %d times", c.Streams(), told.Load())
	}
	plain := []string{"http/1.1"}
	s.protocol.Store(&plain)
	s.CloseClientConnections()
	eventually.True(t, "a query is answered by what is spoken now", func() bool {
		_, err := c.Get(t.Context(), "/v1/x", Query{Many: true}, readAll(new(string)))
		return err == nil && c.Streams() == 0
	})
	if told.Load() != 2 {
		t.Errorf("told %d times, want 2", told.Load())
	}
}

// TestAQueryOnAConnectionThatSaysNothingIsGivenUp: it acknowledges what the kernel
// sends, and a ping is not answered.
func TestAQueryOnAConnectionThatSaysNothingIsGivenUp(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds")
	}
	s := startSecured(t, 50, "h2")
	mute := startMute(t, strings.TrimPrefix(s.URL, "https://"))
	s.URL = "https://" + mute.Addr().String()
	c := s.client(t, 3)
	done := s.wait(t, t.Context(), c, 50)
	mute.muted.Store(true)
	began := time.Now()
	if failed := done(); failed != 50 {
		t.Errorf("%d of 50 failed", failed)
	}
	if took := time.Since(began); took > quietTime+wordTime+5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// mute passes on what comes, until it swallows it.
type mute struct {
	net.Listener
	muted atomic.Bool
}

func startMute(t *testing.T, to string) *mute {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mute{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go m.run(to)
	return m
}

func (m *mute) run(to string) {
	for {
		client, err := m.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			_ = client.Close()
			continue
		}
		go m.relay(server, client)
		go m.relay(client, server)
	}
}

func (m *mute) relay(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !m.muted.Load() {
			_, _ = to.Write(buf[:n])
		}
	}
}

// TestWhatIsToBeAnsweredAtOnceGoesOneBehindTheOther: after an outage thousands ask.
func TestWhatIsToBeAnsweredAtOnceGoesOneBehindTheOther(t *testing.T) {
	s := startSecured(t, 250, "h2")
	c := s.client(t, 4)
	c.TryStreams(t.Context())
	var all sync.WaitGroup
	for range 600 {
		all.Go(func() {
			if _, err := c.Get(t.Context(), "/v1/x", Query{Many: true}, readAll(new(string))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := s.most.Load(); got > streamsAtOnce {
		t.Errorf("%d are answered at the same time, want at most %d", got, streamsAtOnce)
	}
}

// TestAnOlderAnswerIsAskedForAgainWithAllTurnsTaken: who asks twice gives its turn back.
func TestAnOlderAnswerIsAskedForAgainWithAllTurnsTaken(t *testing.T) {
	s := startSecured(t, 250, "h2")
	c := s.client(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range 4 * streamsAtOnce {
		all.Go(func() {
			if m, err := c.Get(ctx, "/v1/x", Query{Many: true, Known: 9}, readAll(new(string))); err != nil || m.Index != 7 {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	all.Wait()
}

// TestAWaitingStreamHoldsLittle counts both goroutines of it and all that they hold.
func TestAWaitingStreamHoldsLittle(t *testing.T) {
	const most, n = 20 << 10, 1000 // the server's side, which is in this process as well, included
	s := startSecured(t, 250, "h2")
	c := s.client(t, 5)
	ctx, cancel := context.WithCancel(t.Context())
	before := inUse()
	done := s.wait(t, ctx, c, n)
	held := (inUse() - before) / n
	t.Logf("%d bytes for each", held)
	if held > 2*most {
		t.Errorf("a query that waits holds %d bytes here and in the server, want at most %d", held, 2*most)
	}
	cancel()
	done()
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
