package http2

import (
	"testing"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
)

// A client that has as many streams as it was told it may, and opens another one when
// one is answered, is not refused because lictor has not quite done with that.
func TestAStreamThatIsAnsweredMakesRoomAtOnce(t *testing.T) {
	p := dial(t, nil)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	waits := func() { <-hold }
	p.h.done.Store(&waits)
	p.greet()
	for id := uint32(1); id < 2*maxStreams; id += 2 {
		p.request(id, true, "/a")
	}
	ends := 0
	p.until(func(f http2.Frame) bool {
		if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
			ends++
		}
		return ends == maxStreams
	})
	p.request(2*maxStreams+1, true, "/a")
	if o := p.outcome(2*maxStreams + 1); o.String() != "200" {
		t.Errorf("with all others answered: got %s", o)
	}
	for id := uint32(2*maxStreams + 3); id < 2*maxRunning; id += 2 {
		p.request(id, true, "/a")
	}
	eventually.True(t, "all of them are served", func() bool { return p.h.served.Load() == maxRunning })
	p.request(2*maxRunning+1, true, "/a")
	if o := p.outcome(2*maxRunning + 1); o.String() != "reset REFUSED_STREAM" {
		t.Errorf("with as many to be done as may: got %s, want REFUSED_STREAM", o)
	}
}

// A client that is refused streams for want of room keeps those that it has.
func TestManyRefusalsForWantOfRoomAreNoOffence(t *testing.T) {
	p := hello(t, nil)
	for id := uint32(1); id < 2*maxStreams; id += 2 {
		p.request(id, true, "/hold")
	}
	eventually.True(t, "all of them are served", func() bool { return p.h.served.Load() == maxStreams })
	for id := uint32(2*maxStreams + 1); id < 2*maxStreams+2*(resetBurst+100); id += 2 {
		p.request(id, true, "/a")
		if o := p.outcome(id); o.String() != "reset REFUSED_STREAM" {
			t.Fatalf("stream %d: got %s, want REFUSED_STREAM", id, o)
		}
	}
}
