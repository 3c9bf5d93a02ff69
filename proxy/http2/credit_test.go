package http2

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// TestEveryByteIsCreditedOnce sends bodies that are read, left, reset, refused
// and padded: the window of the connection comes back whole, and no byte more.
func TestEveryByteIsCreditedOnce(t *testing.T) {
	piece := bytes.Repeat([]byte("x"), 16<<10)
	tests := []struct {
		name string
		send func(p *peer, id uint32) (sent int) // what counts against the window
	}{
		{"a body that is read", func(p *peer, id uint32) int {
			p.request(id, false, "/large/10")
			p.fr.WriteData(id, true, piece)
			return len(piece)
		}},
		{"a body that nobody reads, and the client resets", func(p *peer, id uint32) int {
			p.request(id, false, "/hold")
			p.fr.WriteData(id, false, piece)
			p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			return len(piece)
		}},
		{"a body that is being read as the client resets", func(p *peer, id uint32) int {
			p.request(id, false, "/large/10")
			for range 3 {
				p.fr.WriteData(id, false, piece)
			}
			p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			return 3 * len(piece)
		}},
		{"padding", func(p *peer, id uint32) int {
			p.request(id, false, "/large/10")
			p.fr.WriteDataPadded(id, true, piece[:1000], make([]byte, 200))
			return 1201
		}},
		{"more than was told", func(p *peer, id uint32) int {
			p.request(id, false, "/large/10", "content-length", "5")
			p.fr.WriteData(id, false, piece)
			return len(piece)
		}},
		{"data behind the end", func(p *peer, id uint32) int {
			p.request(id, false, "/hold")
			p.fr.WriteData(id, true, piece[:10])
			p.fr.WriteData(id, true, piece)
			return len(piece) + 10
		}},
		{"more than the stream may carry", func(p *peer, id uint32) int {
			p.request(id, false, "/hold")
			for range streamWindow/len(piece) + 1 {
				p.fr.WriteData(id, false, piece)
			}
			return streamWindow + len(piece)
		}},
		{"a stream that was refused", func(p *peer, id uint32) int {
			p.request(id, false, "/", "connection", "close")
			p.fr.WriteData(id, true, piece)
			return len(piece)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := hello(t, nil)
			window, sent := defaultWindow, 0
			for id := uint32(1); sent < 2*connWindow && id < 800; id += 2 {
				for window < streamWindow+2*len(piece) {
					window += p.credit(t)
				}
				n := tt.send(p, id)
				sent, window = sent+n, window-n
			}
			for window < startWindow/2 {
				window += p.credit(t)
			}
			p.fr.WritePing(false, [8]byte{})
			for pinged := false; !pinged; { // all that comes before the answer
				f, err := p.fr.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch f := f.(type) {
				case *http2.PingFrame:
					pinged = f.IsAck()
				case *http2.WindowUpdateFrame:
					if f.StreamID == 0 {
						window += int(f.Increment)
					}
				}
			}
			if window > connWindow {
				t.Errorf("%d bytes more were credited than were sent", window-connWindow)
			}
		})
	}
}

// credit reads until the window of the connection grows.
func (p *peer) credit(t *testing.T) int {
	t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		f, err := p.fr.ReadFrame()
		if err != nil {
			t.Fatalf("the window does not come back: %v", err)
		}
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 0 {
			return int(w.Increment)
		}
	}
}

// TestSettingsAreFewAndInOrder sends more than anybody needs, and the same
// twice.
func TestSettingsAreFewAndInOrder(t *testing.T) {
	windows := func(n int, values ...uint32) []byte {
		var b []byte
		for i := range n {
			b = binary.BigEndian.AppendUint16(b, uint16(http2.SettingInitialWindowSize))
			b = binary.BigEndian.AppendUint32(b, values[i%len(values)])
		}
		return b
	}
	tests := []struct {
		name     string
		settings []byte
		want     string
	}{
		{"a frame full of window sizes", windows(2730, 1, 65535), "away ENHANCE_YOUR_CALM"},
		{"more than anybody has", windows(maxSettings+1, 65535), "away ENHANCE_YOUR_CALM"},
		{"the same twice", windows(2, 0, 65535), "200"},
		{"a window that would overflow on the way", windows(2, maxWindow, 65535), "away FLOW_CONTROL_ERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := hello(t, nil)
			p.request(1, true, "/hold")
			p.fr.WriteWindowUpdate(1, 1)
			p.fr.WriteRawFrame(http2.FrameSettings, 0, 0, tt.settings)
			p.request(3, true, "/large/10")
			if got := p.outcome(3).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestStreamsOfOneClientAreBounded opens streams on two connections.
func TestStreamsOfOneClientAreBounded(t *testing.T) {
	p := hello(t, func(l *http1.Limits) { l.Admission.StreamsPerClient = 3 })
	p.request(1, true, "/hold")
	p.request(3, true, "/hold")
	eventually.True(t, "they are served", func() bool { return p.h.served.Load() == 2 })
	q := p.beside()
	q.request(1, true, "/hold")
	eventually.True(t, "it is served", func() bool { return p.h.served.Load() == 3 })
	q.request(3, true, "/")
	if o := q.outcome(3); o.String() != "reset REFUSED_STREAM" {
		t.Errorf("got %s, want REFUSED_STREAM", o)
	}
	p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	eventually.True(t, "one is over", func() bool { return p.h.gone.Load() == 1 })
	if !q.alive(5) {
		t.Error("a place that is free again is not given to anybody")
	}
}

// beside is one more connection to the same server.
func (p *peer) beside() *peer {
	nc, err := net.Dial("tcp", p.nc.RemoteAddr().String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(2 * time.Minute)) // as dial has it
	q := *p
	q.nc, q.fr = nc, http2.NewFramer(nc, nc)
	q.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	q.block = bytes.Buffer{}
	q.enc = hpack.NewEncoder(&q.block)
	q.greet()
	return &q
}
