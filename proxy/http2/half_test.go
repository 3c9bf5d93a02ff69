package http2

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"lictor/proxy/socket"
)

// A connection that ends does so at once, with a frame half there as well, and does not
// ask its socket again and again.
func TestHalfAFrameDoesNotKeepAConnectionThatEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(p *peer)
	}{
		{"after the last stream of a drain", func(p *peer) { p.server.Drain() }},
		{"after a write that failed", func(p *peer) {
			for _, c := range p.server.conns.All() {
				c.mu.Lock()
				c.err = errUnread
				c.mu.Unlock()
				socket.Wake(c.nc)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, r, over := serveInBubble(t)
				p.nc.Write([]byte{0, 0, 8, byte(http2.FramePing), 0})
				synctest.Wait()
				began := time.Now()
				tt.end(p)
				<-over
				if took := time.Since(began); took > 2*farewell {
					t.Errorf("it ended after %s", took)
				}
				if r.n > tooManyReads {
					t.Error("it read without an end")
				}
				p.nc.Close()
			})
		})
	}
}
