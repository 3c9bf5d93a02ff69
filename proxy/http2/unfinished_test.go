package http2

import (
	"testing"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// TestStreamsThatNeverBeganAreGivenBack hangs up, or is sent away, while a head
// or the first byte of a body is still to come: the next connection of the same
// client may have as many streams as before.
func TestStreamsThatNeverBeganAreGivenBack(t *testing.T) {
	const most = 3
	bad := func(p *peer) { p.fr.WriteRawFrame(http2.FrameSettings, 0, 1, nil) } // SETTINGS of a stream
	tests := []struct {
		name  string
		spoil func(p *peer)
	}{
		{"a head without its end", func(p *peer) {
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.head(":method", "GET")})
			p.nc.Close()
		}},
		{"a head without its end, then a frame that ends the connection", func(p *peer) {
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.head(":method", "GET")})
			bad(p)
		}},
		{"a head that cannot be decoded", func(p *peer) {
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
		}},
		{"bodies that are to come, then a frame that ends the connection", func(p *peer) {
			var all corked
			fr := p.fr
			p.fr = http2.NewFramer(&all, nil)
			p.fr.AllowIllegalWrites = true
			for id := uint32(1); id < 2*most; id += 2 {
				p.request(id, false, "/")
			}
			bad(p)
			p.fr = fr
			p.nc.Write(all)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := hello(t, func(l *http1.Limits) { l.Admission.StreamsPerClient = most })
			for range most {
				q := p.beside()
				eventually.True(t, "it is served", func() bool { return p.server.conns.Len() == 2 })
				tt.spoil(q)
				q.outcome(1)
				q.nc.Close()
			}
			eventually.True(t, "the connections ended", func() bool { return p.server.conns.Len() == 1 })
			for id := uint32(1); id < 2*most; id += 2 {
				p.request(id, true, "/hold")
			}
			p.request(2*most+1, true, "/one too many")
			if o := p.outcome(2*most + 1); o.String() != "reset REFUSED_STREAM" {
				t.Errorf("one stream more than all that are free: got %s, want REFUSED_STREAM", o)
			}
			eventually.True(t, "all others are served", func() bool { return p.h.served.Load() == most })
		})
	}
}

// corked keeps what is written, to be sent in one piece.
type corked []byte

func (c *corked) Write(p []byte) (int, error) {
	*c = append(*c, p...)
	return len(p), nil
}
