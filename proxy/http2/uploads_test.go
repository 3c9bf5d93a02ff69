package http2

import (
	"io"
	"net"
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
	calm := hello(t, func(l *http1.Limits) { l.Idle, l.Stream = time.Hour, time.Hour })
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

// TestStalledUploadsLeaveRoomForOthers fills the first window of a connection with
// bodies that no backend takes: the connection gets the larger one that it has by
// then, so that others of its streams go on.
func TestStalledUploadsLeaveRoomForOthers(t *testing.T) {
	p := hello(t, nil)
	piece := make([]byte, maxFrame)
	const stalled = startWindow / streamWindow
	for id := uint32(1); id < 2*stalled; id += 2 {
		p.request(id, false, "/hold")
	}
	eventually.True(t, "they are served", func() bool { return p.h.served.Load() == stalled })
	for id := uint32(1); id < 2*stalled; id += 2 {
		for range streamWindow / maxFrame {
			p.fr.WriteData(id, false, piece)
		}
	}
	window := 0
	for window < 2*maxFrame+startWindow-defaultWindow { // the first one is told at the beginning
		window += p.credit(t)
	}
	p.request(2*stalled+1, false, "/large/10")
	p.fr.WriteData(2*stalled+1, true, piece)
	if o := p.outcome(2*stalled + 1); o.String() != "200" {
		t.Errorf("a stream beside the stalled ones: got %s", o)
	}
}

// TestStreamsThatBothSidesEndedAreShedAsWell leaves much of a body that nobody reads
// behind an answer: it is found when too much waits.
func TestStreamsThatBothSidesEndedAreShedAsWell(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go io.Copy(io.Discard, b)
	c := newConn(NewServer(http1.NewServer(new(handler), testLimits())), a, new(http1.Peer), nil)
	c.srv.conns.Add(c)
	st := newStream(c, 1)
	c.streams[1] = st
	c.mu.Lock()
	c.hold(1000)
	st.in.write(make([]byte, 1000))
	st.ended = true
	c.mu.Unlock()
	if _, err := st.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	c.srv.uploads.Add(maxUploads)
	c.srv.relieve()
	if n := c.held.Load(); n != 0 {
		t.Errorf("%d bytes wait on, though too much does", n)
	}
	if st.Close(); len(c.streams) > 0 {
		t.Error("the stream is there for ever")
	}
}

// TestNothingIsShedOfAConnectionThatIsOver asks for room after the end of a connection
// that was ended in the middle of a stream, as by a panic: nothing is given back twice.
func TestNothingIsShedOfAConnectionThatIsOver(t *testing.T) {
	a, b := net.Pipe()
	b.Close()
	c := newConn(NewServer(http1.NewServer(new(handler), testLimits())), a, new(http1.Peer), nil)
	st := newStream(c, 1)
	c.streams[1] = st
	c.hold(1000)
	st.in.write(make([]byte, 1000))
	c.serve()
	c.shed()
	if own, all := c.held.Load(), c.srv.uploads.Load(); own != 0 || all != 0 {
		t.Errorf("%d bytes of the connection wait, and %d of all, want none", own, all)
	}
}
