package http2

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// TestFloodsAreSentAway sends what costs a client less than us, without an end.
func TestFloodsAreSentAway(t *testing.T) {
	tests := []struct {
		name string
		send func(p *peer, i int) // the i-th time
		want string
	}{
		{"rapid resets", func(p *peer, i int) { // CVE-2023-44487
			p.request(uint32(2*i+1), true, "/hold")
			p.fr.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		}, "away ENHANCE_YOUR_CALM"},
		{"streams that have us reset them", func(p *peer, i int) { // CVE-2025-8671
			p.request(uint32(2*i+1), true, "/hold")
			p.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, uint32(2*i+1), make([]byte, 4))
		}, "away ENHANCE_YOUR_CALM"},
		{"streams past the limit", func(p *peer, i int) {
			p.request(uint32(2*i+1), true, "/hold")
		}, "away ENHANCE_YOUR_CALM"},
		{"malformed requests", func(p *peer, i int) {
			p.request(uint32(2*i+1), true, "/", "connection", "close")
		}, "away ENHANCE_YOUR_CALM"},
		{"pings", func(p *peer, i int) { p.fr.WritePing(false, [8]byte{}) }, "away ENHANCE_YOUR_CALM"},
		{"settings", func(p *peer, i int) { p.fr.WriteSettings() }, "away ENHANCE_YOUR_CALM"},
		{"priorities", func(p *peer, i int) { p.fr.WritePriority(1, http2.PriorityParam{StreamDep: 3}) }, "away ENHANCE_YOUR_CALM"},
		{"windows that grow by a byte", func(p *peer, i int) { p.fr.WriteWindowUpdate(0, 1) }, "away ENHANCE_YOUR_CALM"},
		{"windows that grow, and nobody needs it", func(p *peer, i int) { p.fr.WriteWindowUpdate(0, 1000) }, "away ENHANCE_YOUR_CALM"},
		{"windows that grow, of a stream that is gone", func(p *peer, i int) {
			if i == 0 {
				p.request(1, true, "/")
			}
			p.fr.WriteWindowUpdate(1, 1000)
		}, "away ENHANCE_YOUR_CALM"},
		{"farewells", func(p *peer, i int) { p.fr.WriteGoAway(0, http2.ErrCodeNo, nil) }, "away ENHANCE_YOUR_CALM"},
		{"unknown frames", func(p *peer, i int) { p.fr.WriteRawFrame(0xfa, 0, 0, nil) }, "away ENHANCE_YOUR_CALM"},
		{"resets of streams that are gone", func(p *peer, i int) {
			if i == 0 {
				p.request(1, true, "/")
			}
			p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		}, "away ENHANCE_YOUR_CALM"},
		{"empty data", func(p *peer, i int) {
			if i == 0 {
				p.request(1, false, "/")
			}
			p.fr.WriteData(1, false, nil)
		}, "away ENHANCE_YOUR_CALM"},
		{"padding without data", func(p *peer, i int) {
			if i == 0 {
				p.request(1, false, "/")
			}
			p.fr.WriteDataPadded(1, false, nil, make([]byte, 10))
		}, "away ENHANCE_YOUR_CALM"},
		{"CONTINUATION without an end", func(p *peer, i int) { // CVE-2024-27316
			block := p.head(":method", "GET", "x", "y")
			if i == 0 {
				p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
				return
			}
			p.fr.WriteContinuation(1, false, nil)
		}, "away ENHANCE_YOUR_CALM"},
		{"a header block without an end", func(p *peer, i int) {
			block := make([]byte, 8000) // literals without a name that is new each time
			for k := range block {
				block[k] = 0x82
			}
			if i == 0 {
				p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
				return
			}
			p.fr.WriteContinuation(1, false, block)
		}, "away ENHANCE_YOUR_CALM"},
		{"more data than the window", func(p *peer, i int) {
			if i == 0 {
				p.request(1, false, "/hold")
			}
			p.fr.WriteData(1, false, make([]byte, 16<<10))
		}, "reset FLOW_CONTROL_ERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := hello(t, nil)
			p.mute = true
			eventually.True(t, "it is served", func() bool { return p.server.conns.Len() == 1 })
			go func() { // what comes long after the end has it lost what it was told
				for i := 0; i < 20_000 && !p.ended(); i++ {
					tt.send(p, i)
				}
			}()
			until := uint32(1 << 30) // no stream of its own
			if tt.want[0] == 'r' {
				until = 1
			}
			if got := p.outcome(until).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// ended reports whether the server ends the connection, or did.
func (p *peer) ended() bool {
	for _, c := range p.server.conns.All() {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err != nil
	}
	return true
}

// TestHeaderBombIsNotUnpacked refers to one large field again and again: a few
// bytes each, which would be many.
func TestHeaderBombIsNotUnpacked(t *testing.T) {
	p := hello(t, nil)
	pairs := []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "gw.test"}
	large := string(make([]byte, 0))
	for range 3000 {
		large += "z"
	}
	block := append([]byte(nil), p.head(append(pairs, "bomb", large)...)...)
	for range 8000 {
		block = append(block, 0x80|62) // the newest entry of the dynamic table
	}
	p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	if o := p.outcome(1); o.String() != "431" {
		t.Errorf("got %s, want 431", o)
	}
	if !p.alive(3) {
		t.Error("the connection does not serve any more")
	}
}

// TestHonestClientsAreNotSentAway does a lot of what is limited, between
// requests that bring something.
func TestHonestClientsAreNotSentAway(t *testing.T) {
	p := hello(t, nil)
	for i := range uint32(2000) {
		id := 2*i + 1
		p.fr.WritePing(false, [8]byte{})
		p.fr.WriteWindowUpdate(0, 10)
		p.request(id, false, "/")
		p.fr.WriteData(id, false, []byte("x"))
		p.fr.WriteData(id, true, nil)
		if o := p.outcome(id); o.String() != "200" {
			t.Fatalf("request %d: %s", i, o)
		}
	}
}

// TestClientMayTellOfEveryFrame has the windows of stream and connection grow by
// each byte that came.
func TestClientMayTellOfEveryFrame(t *testing.T) {
	p := hello(t, nil)
	p.request(1, true, "/drops/20000")
	if o := p.outcome(1); o.String() != "200" || len(o.body) != 20_000 {
		t.Errorf("got %s and %d bytes", o, len(o.body))
	}
}

// TestSlowClientsAreCut takes too long over what has begun.
func TestSlowClientsAreCut(t *testing.T) {
	header := func(l *http1.Limits) { l.Header = 100 * time.Millisecond }
	stream := func(l *http1.Limits) { l.Stream = 200 * time.Millisecond }
	idle := func(l *http1.Limits) { l.Idle = 150 * time.Millisecond }
	tests := []struct {
		name  string
		short func(*http1.Limits)
		send  func(p *peer)
		id    uint32
		want  string
	}{
		{"half a preface", header, func(p *peer) { io.WriteString(p.nc, http2.ClientPreface[:20]) }, 1, "away SETTINGS_TIMEOUT"},
		{"a preface and nothing else", idle, func(p *peer) { io.WriteString(p.nc, http2.ClientPreface) }, 1, "closed"},
		{"half a frame", header, func(p *peer) { p.greet(); p.nc.Write([]byte{0, 0, 8}) }, 1, "away SETTINGS_TIMEOUT"},
		{"half a header block", header, func(p *peer) {
			p.greet()
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.head(":method", "GET")})
		}, 1, "away SETTINGS_TIMEOUT"},
		{"half a body", stream, func(p *peer) { p.greet(); p.request(1, false, "/") }, 1, "reset INTERNAL_ERROR"},
		{"an answer that is not read", stream, func(p *peer) { p.greet(); p.request(1, true, "/large/1000000") }, 0, "reset INTERNAL_ERROR"},
		{"nothing", idle, func(p *peer) { p.greet() }, 1, "closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := dial(t, tt.short)
			p.mute = true
			tt.send(p)
			if tt.id == 0 { // take no windows
				for {
					f, err := p.fr.ReadFrame()
					if err != nil {
						t.Fatalf("the connection was cut, not the stream: %v", err)
					}
					if r, ok := f.(*http2.RSTStreamFrame); ok {
						if r.ErrCode != http2.ErrCodeInternal {
							t.Errorf("got %s", r.ErrCode)
						}
						return
					}
				}
			}
			if got := p.outcome(tt.id).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestSocketThatIsNotReadIsCut opens all windows and reads nothing: what is
// kept for it is bounded, and so is the time.
func TestSocketThatIsNotReadIsCut(t *testing.T) {
	p := dial(t, func(l *http1.Limits) { l.Stream = 300 * time.Millisecond })
	io.WriteString(p.nc, http2.ClientPreface)
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	p.fr.WriteWindowUpdate(0, maxWindow-defaultWindow)
	for i := range uint32(20) {
		p.request(2*i+1, true, "/large/1000000")
	}
	eventually.True(t, "the requests run", func() bool { return p.h.served.Load() > 0 })
	eventually.True(t, "the connection ended", func() bool {
		for _, c := range p.server.conns.All() {
			c.mu.Lock()
			kept := len(c.out)
			c.mu.Unlock()
			if kept > maxOut+2*maxFrame {
				t.Errorf("%d bytes are kept for a client that reads nothing", kept)
			}
		}
		return p.server.conns.Len() == 0
	})
}

// TestConnectionErrors are told by their code.
func TestConnectionErrors(t *testing.T) {
	tests := []struct {
		name string
		send func(p *peer)
		want string
	}{
		{"an even stream", func(p *peer) { p.request(2, true, "/") }, "away PROTOCOL_ERROR"},
		{"a stream that is not new", func(p *peer) { p.request(5, true, "/hold"); p.request(3, true, "/") }, "away PROTOCOL_ERROR"},
		{"data on no stream", func(p *peer) { p.fr.WriteData(1, true, nil) }, "away PROTOCOL_ERROR"},
		{"a frame that is too large", func(p *peer) { p.fr.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16<<10+1)) }, "away FRAME_SIZE_ERROR"},
		{"compression that is none", func(p *peer) {
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, "away COMPRESSION_ERROR"},
		{"a window that overflows", func(p *peer) { p.fr.WriteWindowUpdate(0, maxWindow) }, "away FLOW_CONTROL_ERROR"},
		{"a promise", func(p *peer) {
			p.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, "away PROTOCOL_ERROR"},
		{"CONTINUATION of nothing", func(p *peer) { p.fr.WriteContinuation(1, true, nil) }, "away PROTOCOL_ERROR"},
		{"a reset of no stream", func(p *peer) { p.fr.WriteRSTStream(1, 0) }, "away PROTOCOL_ERROR"},
		{"a window that overflows by a setting", func(p *peer) {
			p.request(1, true, "/hold")
			p.fr.WriteWindowUpdate(1, maxWindow-defaultWindow)
			p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
		}, "away FLOW_CONTROL_ERROR"},
		{"a setting out of range", func(p *peer) {
			var b [6]byte
			binary.BigEndian.PutUint16(b[:], uint16(http2.SettingMaxFrameSize))
			p.fr.WriteRawFrame(http2.FrameSettings, 0, 0, b[:])
		}, "away PROTOCOL_ERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := hello(t, nil)
			tt.send(p)
			if got := p.outcome(1 << 30).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestPingsThatNobodyWaitsForAreNothing acknowledges pings that were not sent.
func TestPingsThatNobodyWaitsForAreNothing(t *testing.T) {
	for _, data := range []string{"leaving\x00", "\x00\x00\x00\x00\x00\x00\x00\x00", "12345678"} {
		t.Run(fmt.Sprintf("%q", data), func(t *testing.T) {
			p := hello(t, nil)
			p.fr.WritePing(true, [8]byte([]byte(data)))
			if !p.alive(1) {
				t.Error("the connection does not serve any more")
			}
			p.fr.WritePing(true, [8]byte([]byte(data)))
			if !p.alive(3) {
				t.Error("the connection takes no further stream")
			}
		})
	}
}
