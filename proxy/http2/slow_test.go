package http2

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// A client that opens its window slowly, but does, gets the whole answer, however long
// that takes: the limit is for one that takes nothing.
func TestAWindowThatOpensSlowlyIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, over := serveInBubble(t)
		limit := p.h1.Limits().Stream
		p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.request(1, true, "/large/10000")
		for range 10 {
			time.Sleep(limit / 2)
			p.fr.WriteWindowUpdate(1, 1000)
			synctest.Wait()
		}
		if n := p.data.Load(); n != 10000 {
			t.Errorf("it got %d bytes of 10000", n)
		}
		p.nc.Close()
		<-over
	})
}
