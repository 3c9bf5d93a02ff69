package http2

import (
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
	"lictor/internal/limits"
	"lictor/proxy/http1"
)

// TestAllUploadsTogetherAreBounded has many clients send as much ahead as they
// may, to a backend that takes nothing. Who holds most is cut short; one who
// sends little is served as before; and nothing stays behind.
func TestAllUploadsTogetherAreBounded(t *testing.T) {
	const streams = startWindow / streamWindow
	calm := hello(t, func(l *http1.Limits) { l.Idle, l.Stream = time.Minute, time.Minute })
	calm.nc.SetDeadline(time.Now().Add(time.Minute))
	piece := make([]byte, maxFrame)
	fill := func() *peer {
		q := calm.beside()
		for id := uint32(1); id < 2*streams; id += 2 {
			q.request(id, false, "/hold")
			for range streamWindow / maxFrame {
				q.fr.WriteData(id, false, piece)
			}
		}
		return q
	}
	waiting := calm.server.uploads.Load
	var all []*peer
	for hits := limits.Counts()["http2_uploads"]; limits.Counts()["http2_uploads"] == hits; {
		if all = append(all, fill()); len(all) > maxUploads/streamWindow {
			t.Fatalf("%d bytes wait, and nobody was cut", waiting())
		}
	}
	calm.request(1, false, "/")
	calm.fr.WriteData(1, true, piece)
	if o := calm.outcome(1); o.String() != "200" || len(o.body) < len(piece) {
		t.Errorf("a client that holds nothing: got %s", o)
	}
	eventually.True(t, "no more waits than may", func() bool { return waiting() <= maxUploads })
	if n := waiting(); n < maxUploads-2*startWindow {
		t.Errorf("only %d bytes wait: too much was cut", n)
	}
	cut := 0
	for _, q := range all {
		cut += q.cut()
		q.nc.Close()
	}
	if cut == 0 {
		t.Error("nobody was told")
	}
	eventually.True(t, "nothing waits", func() bool { return waiting() == 0 })
}

// cut is how many streams the server ended for what they hold, so far.
func (p *peer) cut() (n int) {
	p.fr.WritePing(false, [8]byte{})
	for {
		f, err := p.fr.ReadFrame()
		if err != nil {
			p.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			if f.ErrCode == http2.ErrCodeEnhanceYourCalm {
				n++
			}
		case *http2.PingFrame:
			if f.IsAck() {
				return n
			}
		}
	}
}

// TestWindowGrowsForWhoSendsMuch sends a body in pieces that are read at once:
// the window of the connection grows, but not while much waits already.
func TestWindowGrowsForWhoSendsMuch(t *testing.T) {
	tests := []struct {
		name    string
		waiting int64
		want    int
	}{
		{"while little waits", 0, connWindow},
		{"while much waits", maxUploads/2 + 1, startWindow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := hello(t, nil)
			p.server.uploads.Add(tt.waiting)
			window := defaultWindow
			p.request(1, false, "/large/10")
			piece := make([]byte, maxFrame)
			stream := streamWindow
			for sent := 0; sent < 2*startWindow; sent += len(piece) {
				for window < len(piece) || stream < len(piece) {
					f, err := p.fr.ReadFrame()
					if err != nil {
						t.Fatal(err)
					}
					w, ok := f.(*http2.WindowUpdateFrame)
					switch {
					case ok && w.StreamID == 0:
						window += int(w.Increment)
					case ok:
						stream += int(w.Increment)
					}
				}
				p.fr.WriteData(1, false, piece)
				window, stream = window-len(piece), stream-len(piece)
				if window > tt.want {
					t.Fatalf("a window of %d bytes, want at most %d", window, tt.want)
				}
			}
			p.fr.WriteData(1, true, nil)
			most := window
			for f, err := p.fr.ReadFrame(); ; f, err = p.fr.ReadFrame() {
				if err != nil {
					t.Fatal(err)
				}
				if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 0 {
					window += int(w.Increment)
					most = max(most, window)
				}
				if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
					break
				}
			}
			if most < tt.want-tt.want/4 || most > tt.want {
				t.Errorf("a window of %d bytes, want about %d", most, tt.want)
			}
		})
	}
}
