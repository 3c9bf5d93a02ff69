package consul

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/internal/eventually"
)

// peer is one connection of HTTP/2 as its other end sees it, in which it may say what
// it likes.
type peer struct {
	*http2.Framer
	mu     sync.Mutex // one writes at a time
	conn   net.Conn
	path   string      // of the request that is looked at
	last   uint32      // the newest stream
	silent atomic.Bool // it answers no stream
}

// startPeer starts an agent of which what speaks HTTP/2 calls at for each request, and
// what speaks HTTP/1.1 is as ever. all are the connections of HTTP/2.
func startPeer(t *testing.T, grants uint32, at func(p *peer, stream uint32)) (s *secured, all func() []*peer) {
	t.Helper()
	var mu sync.Mutex
	var peers []*peer
	s = startSecuredAs(t, func(c *http.Server) {
		c.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
			p := &peer{Framer: http2.NewFramer(conn, conn), conn: conn}
			mu.Lock()
			peers = append(peers, p)
			mu.Unlock()
			p.serve(grants, at)
		}}
	}, "h2", "http/1.1")
	return s, func() []*peer {
		mu.Lock()
		defer mu.Unlock()
		return append([]*peer(nil), peers...)
	}
}

func (p *peer) serve(grants uint32, at func(p *peer, stream uint32)) {
	defer p.conn.Close()
	if _, err := io.ReadFull(p.conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.grant(grants)
	for {
		frame, err := p.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.PingFrame:
			if !f.IsAck() {
				p.say(func() error { return p.WritePing(true, f.Data) })
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				p.say(p.WriteSettingsAck)
			}
		case *http2.MetaHeadersFrame:
			p.path = f.PseudoValue("path")
			p.last = f.StreamID
			at(p, f.StreamID)
		}
	}
}

func (p *peer) say(write func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = write() // the client may be gone
}

func (p *peer) grant(streams uint32) {
	p.say(func() error {
		return p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: streams})
	})
}

func (p *peer) goAway() {
	p.say(func() error { return p.WriteGoAway(p.last, http2.ErrCodeNo, nil) })
}

func (p *peer) reset(stream uint32, code http2.ErrCode) {
	p.say(func() error { return p.WriteRSTStream(stream, code) })
}

// head begins an answer, and body ends it.
func (p *peer) head(stream uint32) { p.headAs(stream, "200") }

func (p *peer) headAs(stream uint32, status string) {
	var block bytes.Buffer
	to := hpack.NewEncoder(&block)
	to.WriteField(hpack.HeaderField{Name: ":status", Value: status})     //nolint:errcheck // into memory
	to.WriteField(hpack.HeaderField{Name: "x-consul-index", Value: "7"}) //nolint:errcheck // likewise
	p.say(func() error {
		return p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
	})
}

func (p *peer) body(stream uint32) {
	p.say(func() error { return p.WriteData(stream, true, []byte("[]")) })
}

// asExpected answers a query without an index, and lets others wait.
func asExpected(p *peer, stream uint32) {
	if strings.Contains(p.path, "index=") {
		return
	}
	p.head(stream)
	p.body(stream)
}

// hold has n queries wait that are not answered, and returns how many ended by now.
func hold(t *testing.T, c *Client, n int, waiting func() int) (ended func() int64) {
	t.Helper()
	var over atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	for i := range n {
		all.Go(func() {
			_, err := askWaiting(ctx, c, "/v1/x", i%2 == 0)
			if ctx.Err() == nil {
				t.Log(err)
				over.Add(1)
			}
		})
	}
	eventually.True(t, "all wait", func() bool { return waiting() >= n })
	return over.Load
}

// at counts queries that wait and answers the others.
func counting(waiting *atomic.Int64) func(*peer, uint32) {
	return func(p *peer, stream uint32) {
		if strings.Contains(p.path, "index=") {
			waiting.Add(1)
		}
		asExpected(p, stream)
	}
}

// TestConnectionsThatTakeNoMoreRequestsMakeRoom: what waits on them may do so for many
// minutes, and is not lost either.
func TestConnectionsThatTakeNoMoreRequestsMakeRoom(t *testing.T) {
	tests := []struct {
		name string
		end  func(*Client, []*peer)
	}{
		{"the certificates are others by now", func(c *Client, _ []*peer) { c.streams.retire() }},
		{"the peer goes away", func(_ *Client, all []*peer) {
			for _, p := range all {
				p.goAway()
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var waiting atomic.Int64
			s, all := startPeer(t, 20, counting(&waiting))
			c := s.client(t, 3)
			ended := hold(t, c, 58, func() int { return int(waiting.Load()) })
			tt.end(c, all())
			eventually.True(t, "the connections take no more", func() bool {
				c.streams.mu.Lock()
				defer c.streams.mu.Unlock()
				for _, conn := range c.streams.conns {
					if !conn.State().Closing {
						return false
					}
				}
				return true
			})
			eventually.True(t, "a query is answered", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_, err := c.Get(ctx, "/v1/x", Query{Many: true}, readAll(new(string)))
				if err != nil && !errors.Is(err, errBusy) {
					t.Fatal(err)
				}
				return err == nil
			})
			if got := ended(); got > 0 || c.Contact.Down() {
				t.Errorf("%d queries that waited were lost, consul is down: %v", got, c.Contact.Down())
			}
			eventually.True(t, "there are no more connections than may be", func() bool { return s.conns.Load() <= 3 })
		})
	}
}

// TestWhatCarriesLessThanItPromisedIsNotCountedOn: the rest goes by other ways.
func TestWhatCarriesLessThanItPromisedIsNotCountedOn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		now   uint32
		room  int
		plain bool // the next query is answered by HTTP/1.1
	}{
		{"none", 0, 0, true},
		{"next to none", 1, 0, true},
		{"some", 10, 20, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var waiting atomic.Int64
			s, all := startPeer(t, 20, counting(&waiting))
			c := s.client(t, 2)
			hold(t, c, 39, func() int { return int(waiting.Load()) })
			for _, p := range all() {
				p.grant(tt.now)
			}
			eventually.True(t, "less is counted on", func() bool {
				_, err := c.Get(t.Context(), "/v1/x", Query{Many: true}, readAll(new(string)))
				return c.Streams() == tt.room && (err == nil) == tt.plain
			})
		})
	}
}

// TestAnAgentThatOnlyPromisesHTTP2IsAskedByHTTP1: whatever becomes of the streams.
func TestAnAgentThatOnlyPromisesHTTP2IsAskedByHTTP1(t *testing.T) {
	tests := []struct {
		name     string
		patience time.Duration
		at       func(*peer, uint32)
	}{
		{"it says that it wants HTTP/1.1", time.Minute, func(p *peer, stream uint32) { p.reset(stream, http2.ErrCodeHTTP11Required) }},
		{"it resets each", time.Minute, func(p *peer, stream uint32) { p.reset(stream, http2.ErrCodeInternal) }},
		{"it ends the connection", time.Minute, func(p *peer, _ uint32) { p.conn.Close() }},
		{"it goes away before each", time.Minute, func(p *peer, _ uint32) {
			p.say(func() error { return p.WriteGoAway(0, http2.ErrCodeNo, nil) })
		}},
		{"it answers none", time.Second / 4, func(*peer, uint32) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var reached atomic.Int64 // tries: one may be over before it is sent
			s, all := startPeer(t, 100, func(p *peer, stream uint32) { reached.Add(1); tt.at(p, stream) })
			c := s.client(t, 3)
			eventually.True(t, "it is asked by HTTP/1.1", func() bool {
				_, err := c.Get(t.Context(), "/v1/x", Query{Many: true, Time: tt.patience}, readAll(new(string)))
				return err == nil
			})
			if tries := reached.Load(); c.Streams() != 0 || tries > mostVain || len(all()) > mostVain {
				t.Errorf("room for %d behind %d tries and %d connections", c.Streams(), tries, len(all()))
			}
		})
	}
}

// TestAConnectionThatIsNoHTTP2IsNotTriedForEver: it was agreed on all the same.
func TestAConnectionThatIsNoHTTP2IsNotTriedForEver(t *testing.T) {
	s := startSecuredAs(t, func(c *http.Server) {
		c.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
			"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { conn.Close() },
		}
	}, "h2", "http/1.1")
	c := s.client(t, 3)
	eventually.True(t, "HTTP/2 is given up", func() bool {
		c.TryStreams(t.Context())
		c.streams.mu.Lock()
		defer c.streams.mu.Unlock()
		return time.Now().Before(c.streams.plain)
	})
	if got := s.made.Load(); got > mostVain {
		t.Errorf("%d connections, want %d", got, mostVain)
	}
}

// TestNeverMoreConnectionsThanMayBe, however many want one in the same moment.
func TestNeverMoreConnectionsThanMayBe(t *testing.T) {
	var waiting atomic.Int64
	s, _ := startPeer(t, 8, counting(&waiting))
	c := s.client(t, 3)
	hold(t, c, 24, func() int { return int(waiting.Load()) })
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if _, err := c.Get(t.Context(), "/v1/x", Query{Index: 7, Many: true}, readAll(new(string))); err == nil {
				t.Error("there is a place for it")
			}
		})
	}
	all.Wait()
	if got := s.made.Load(); got != 3 {
		t.Errorf("%d connections, want 3", got)
	}
}

// TestAnAgentOverTLSOnASocketHasStreams: there is no port in its name.
func TestAnAgentOverTLSOnASocketHasStreams(t *testing.T) {
	s := startSecured(t, 50, "h2", "http/1.1")
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	front := &mute{Listener: l}
	t.Cleanup(func() { l.Close() })
	go front.run(strings.TrimPrefix(s.URL, "https://"))
	tlsAs := api.TLSConfig{CAFile: s.ca, Address: "127.0.0.1"}
	c, err := New(Config{API: &api.Config{Address: "unix://" + path, Scheme: "https", TLSConfig: tlsAs}, Conns: 20, Streams: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "/v1/x", Query{Many: true}, readAll(new(string))); err != nil || c.Streams() != 150 {
		t.Errorf("room for %d, %v", c.Streams(), err)
	}
}
