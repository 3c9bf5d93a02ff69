package http1

import (
	"sync"

	"lictor/internal/crash"
)

// OnGone has f called, from another goroutine, when the client leaves before
// stop is called, or the exchange is cut; why tells which. For handlers that
// wait for something other than an upstream connection. stop waits for f.
func (c *Conn) OnGone(f func(why error)) (stop func()) {
	t := &c.trip
	if !c.s.OnTCP() && c.s.Stream == nil { // no socket: nobody can tell
		return func() {}
	}
	var wg sync.WaitGroup
	t.stopped.Store(false)
	wg.Go(func() {
		defer crash.Contain("watch of a client", func() { f(errCrashed) })
		c.s.ReadBy(0)
		for !t.stopped.Load() {
			gone := c.s.WaitGone()
			switch cut := t.failed(); {
			case cut != nil:
				f(cut)
				return
			case t.stopped.Load():
				return
			case gone:
				f(ErrClientGone)
				return
			}
			c.s.ReadBy(0)
		}
	})
	return func() {
		t.stopped.Store(true)
		c.s.Wake()
		wg.Wait()
		c.s.Woken()
		t.stopped.Store(false)
	}
}
