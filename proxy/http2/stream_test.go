package http2

import (
	"context"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// TestUploadsPassTheWindows sends more than the windows of stream and
// connection hold, on several streams at once.
func TestUploadsPassTheWindows(t *testing.T) {
	p := hello(t, nil)
	const size, streams = 3 << 20, 3
	left, window := map[uint32]int{}, map[uint32]int{}
	conn := defaultWindow
	for i := range uint32(streams) {
		id := 2*i + 1
		p.request(id, false, "/large/10")
		left[id], window[id] = size, streamWindow
	}
	piece := make([]byte, 10_000)
	for answered := 0; answered < streams; {
		sent := false
		for id := range left {
			n := min(left[id], window[id], conn, len(piece))
			if n == 0 {
				continue
			}
			sent = true
			left[id], window[id], conn = left[id]-n, window[id]-n, conn-n
			p.fr.WriteData(id, left[id] == 0, piece[:n])
		}
		if sent {
			continue
		}
		f, err := p.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				conn += int(f.Increment)
			} else {
				window[f.StreamID] += int(f.Increment)
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				answered++
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			t.Fatalf("got %v", f)
		}
	}
}

// TestAnswersKeepToTheWindows gives windows bit by bit.
func TestAnswersKeepToTheWindows(t *testing.T) {
	p := dial(t, nil)
	p.nc.Write([]byte(http2.ClientPreface))
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	p.request(1, true, "/large/1000")
	got, window := 0, 10
	for got < 1000 {
		f, err := p.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		d, ok := f.(*http2.DataFrame)
		if !ok {
			continue
		}
		if window -= len(d.Data()); window < 0 {
			t.Fatalf("%d bytes past the window", -window)
		}
		if got += len(d.Data()); d.StreamEnded() != (got == 1000) {
			t.Fatalf("the end came after %d bytes", got)
		}
		if window == 0 {
			p.fr.WriteWindowUpdate(1, 100)
			window += 100
		}
	}
}

// TestClientThatGivesUpIsNoticed resets a stream whose handler waits, and
// leaves with another one open.
func TestClientThatGivesUpIsNoticed(t *testing.T) {
	p := hello(t, nil)
	p.request(1, true, "/hold")
	p.request(3, true, "/hold")
	eventually.True(t, "both are served", func() bool { return p.h.served.Load() == 2 })
	p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	eventually.True(t, "the first one is over", func() bool { return p.h.gone.Load() == 1 })
	p.nc.Close()
	eventually.True(t, "the second one is over", func() bool { return p.h.gone.Load() == 2 })
}

// TestDrainServesWhatIsUnderWay stops the server while a request is sent: it
// is answered, and the client is told to go elsewhere with the next one (X16).
func TestDrainServesWhatIsUnderWay(t *testing.T) {
	p := hello(t, nil)
	p.request(1, false, "/")
	if !p.alive(3) {
		t.Fatal("no answer")
	}
	ended := make(chan error, 1)
	go func() { ended <- p.h1.Shutdown(context.Background()) }()
	var last []uint32
	for len(last) < 2 {
		f, err := p.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			last = append(last, f.LastStreamID)
			if len(last) == 1 {
				p.request(5, true, "/on-its-way")
			}
		case *http2.PingFrame:
			p.fr.WritePing(true, f.Data)
		}
	}
	if last[0] != maxWindow || last[1] != 5 {
		t.Errorf("the last streams are %v, want %d and 5", last, maxWindow)
	}
	p.fr.WriteData(1, true, []byte("body"))
	if o := p.outcome(1); o.String() != "200" || !strings.HasSuffix(o.body, "body") {
		t.Errorf("got %s %q", o, o.body)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the server does not end")
	}
}

// TestIdleConnectionsEnd, and say so.
func TestIdleConnectionsEnd(t *testing.T) {
	p := hello(t, func(l *http1.Limits) { l.Idle = 300 * time.Millisecond })
	began := time.Now()
	if !p.alive(1) {
		t.Fatal("no answer")
	}
	if o := p.outcome(1 << 30); o.String() != "closed" || time.Since(began) < 300*time.Millisecond {
		t.Errorf("got %s after %s", o, time.Since(began))
	}
}

// TestAnswerToHEADHasNoBody asks for the head only.
func TestAnswerToHEADHasNoBody(t *testing.T) {
	p := hello(t, nil)
	p.headers(1, true, ":method", "HEAD", ":scheme", "http", ":path", "/", ":authority", "gw.test")
	if o := p.outcome(1); o.String() != "200" || o.body != "" {
		t.Errorf("got %s %q", o, o.body)
	}
	if !p.alive(3) {
		t.Error("the connection does not serve any more")
	}
}
