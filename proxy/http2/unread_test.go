package http2

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// kept returns the most that a connection of the server holds for its client,
// and how many connections there are.
func (p *peer) kept() (most, conns int) {
	for _, c := range p.server.conns.All() {
		c.mu.Lock()
		most = max(most, cap(c.out), cap(c.spare))
		c.mu.Unlock()
	}
	return most, p.server.conns.Len()
}

// TestWhatWaitsForAClientThatReadsNothingIsBounded has a client send, and read
// nothing, for as long as the server lets it: whatever frames the answers are
// made of, only so much of them is kept, and the connection ends soon.
func TestWhatWaitsForAClientThatReadsNothingIsBounded(t *testing.T) {
	ping := func(b []byte) []byte { return append(appendFrame(b, 8, http2.FramePing, 0, 0), "12345678"...) }
	request := func(p *peer, b []byte, id uint32, end http2.Flags, method, path string) []byte {
		block := p.head(":method", method, ":scheme", "http", ":path", path, ":authority", "gw.test")
		return append(appendFrame(b, len(block), http2.FrameHeaders, http2.FlagHeadersEndHeaders|end, id), block...)
	}
	tests := []struct {
		name string
		send func(p *peer, b []byte, i uint32) []byte // the frames of the i-th time
	}{
		{"pings between data for a stream that is gone", func(p *peer, b []byte, i uint32) []byte {
			if i == 0 {
				b = request(p, b, 1, http2.FlagHeadersEndStream, "GET", "/hold")
				b = appendReset(b, 1, http2.ErrCodeCancel)
			}
			b = append(appendFrame(b, 1, http2.FrameData, 0, 1), 'x')
			for range 8 {
				b = ping(b)
			}
			return b
		}},
		{"pings between data for a stream that reads", func(p *peer, b []byte, i uint32) []byte {
			if i == 0 {
				b = request(p, b, 1, 0, "POST", "/large/10")
			}
			return ping(append(appendFrame(b, 1, http2.FrameData, 0, 1), 'x'))
		}},
		{"answers that are a head only", func(p *peer, b []byte, i uint32) []byte {
			return request(p, b, 2*i+1, http2.FlagHeadersEndStream, "HEAD", "/large/10")
		}},
		{"pings between requests", func(p *peer, b []byte, i uint32) []byte {
			b = request(p, b, 2*i+1, http2.FlagHeadersEndStream, "HEAD", "/large/10")
			for range 8 {
				b = ping(b)
			}
			return b
		}},
		{"large heads", func(p *peer, b []byte, i uint32) []byte {
			return request(p, b, 2*i+1, http2.FlagHeadersEndStream, "GET", "/heads/20000")
		}},
		{"interim answers", func(p *peer, b []byte, i uint32) []byte {
			return request(p, b, 2*i+1, http2.FlagHeadersEndStream, "GET", "/interim/20000")
		}},
		{"trailers", func(p *peer, b []byte, i uint32) []byte {
			return request(p, b, 2*i+1, http2.FlagHeadersEndStream, "GET", "/trailers/20000")
		}},
		{"bodies", func(p *peer, b []byte, i uint32) []byte {
			return request(p, b, 2*i+1, http2.FlagHeadersEndStream, "GET", "/large/1000000")
		}},
		{"settings between requests", func(p *peer, b []byte, i uint32) []byte {
			b = request(p, b, 2*i+1, http2.FlagHeadersEndStream, "HEAD", "/large/10")
			return appendFrame(b, 0, http2.FrameSettings, 0, 0)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := dial(t, func(l *http1.Limits) { l.Header, l.Stream = time.Second, 2*time.Second })
			_ = p.nc.(*net.TCPConn).SetReadBuffer(4 << 10)
			io.WriteString(p.nc, http2.ClientPreface)
			p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
			p.fr.WriteWindowUpdate(0, maxWindow-defaultWindow)
			eventually.True(t, "it is served", func() bool { _, conns := p.kept(); return conns == 1 })
			most, sent := 0, 0
			for i := uint32(0); sent < 512<<20 && i < 1<<30; {
				var b []byte
				for range 500 {
					b = tt.send(p, b, i)
					i++
				}
				p.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
				n, err := p.nc.Write(b)
				sent += n
				kept, conns := p.kept()
				if most = max(most, kept); most > 4*maxQueued {
					t.Fatalf("%d bytes are kept for a client that reads nothing", most)
				}
				if conns == 0 || err != nil {
					break
				}
			}
			eventually.True(t, "the connection ended", func() bool {
				kept, conns := p.kept()
				most = max(most, kept)
				return conns == 0
			})
			if most > 4*maxQueued { // what append makes of it
				t.Errorf("%d bytes were kept for a client that reads nothing", most)
			}
			t.Logf("%d bytes were sent, at most %d kept", sent, most)
		})
	}
}

// TestClientThatReadsLateGetsAllAnswers says all it has to say before it reads.
func TestClientThatReadsLateGetsAllAnswers(t *testing.T) {
	p := hello(t, nil)
	p.mute = true
	const n = 200
	for i := range uint32(n) {
		var data [8]byte
		binary.BigEndian.PutUint32(data[:], i)
		p.fr.WritePing(false, data)
		p.request(2*i+1, true, "/large/100")
	}
	pings, answers := uint32(0), 0
	for pings < n || answers < n {
		f, err := p.fr.ReadFrame()
		if err != nil {
			t.Fatalf("after %d pings and %d answers: %v", pings, answers, err)
		}
		switch f := f.(type) {
		case *http2.PingFrame:
			if got := binary.BigEndian.Uint32(f.Data[:]); !f.IsAck() || got != pings {
				t.Fatalf("ping %d was answered by %d", pings, got)
			}
			pings++
		case *http2.DataFrame:
			if f.StreamEnded() {
				answers++
			}
		}
	}
}

// filler is a header field of n bytes and more.
func filler(n int) string { return "X-Filler: " + strings.Repeat("x", n) + "\r\n" }
