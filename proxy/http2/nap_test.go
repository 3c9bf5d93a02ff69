package http2

import (
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// A connection that moves to a new stack at every pause serves as before, and
// ends as before.
func TestAConnectionThatNapsServesOn(t *testing.T) {
	p := hello(t, func(l *http1.Limits) { l.Lull = time.Nanosecond })
	for id := uint32(1); id < 100; id += 2 {
		p.request(id, true, "/a")
		if got := p.outcome(id); got.status != "200" {
			t.Fatalf("stream %d: %v", id, got)
		}
	}
	p.server.Drain()
	eventually.True(t, "the connection is over", func() bool { return p.server.conns.Len() == 0 })
}
