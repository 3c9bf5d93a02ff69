package http1

import (
	"slices"

	"lictor/internal/crash"
)

// rest is what is still to be done of an exchange once the handler's Serve has
// returned.
type rest uint8

const (
	nothing  rest = iota
	ofLength      // a body of known length is to be relayed
	ofStream      // a body of unknown length is
	ofTunnel      // bytes are to be passed both ways
)

// Ended is what became of Relay or Tunnel: what broke it off, nil if nothing did,
// and the bytes that a tunnel brought the upstream, and either brought the client.
// It is for Done to ask.
func (c *Conn) Ended() (up, down int64, err error) { return c.trip.in, c.trip.out, c.trip.err }

// mayMove reports whether the rest is to go on in a goroutine of its own if it takes
// its time. A stream of HTTP/2 keeps the worker that serves it.
func (t *trip) mayMove() bool { return t.rest != nothing && !t.fresh && t.c.s.Stream == nil }

// carryOn does what Serve left to be done. It returns errNap if that is to go on in
// a goroutine of its own: the stack of this one has grown, and would stay so for as
// long as the exchange lasts.
func (c *Conn) carryOn() (err error) {
	t := &c.trip
	defer crash.Contain("request", c.Crash)
	switch t.rest {
	case nothing:
		return nil
	case ofLength:
		err = t.relayLeft()
	case ofStream:
		err = t.relayMore()
	case ofTunnel:
		return c.passBytes()
	}
	if err != errNap {
		t.relayed(err)
		return nil
	}
	return err
}

// passBytes is the rest of a stream that is a tunnel; another one moves at once.
func (c *Conn) passBytes() error {
	if c.s.Stream == nil {
		return errNap
	}
	over := make(chan struct{})
	c.trip.openTunnel(func() { close(over) })
	<-over
	return nil
}

// done tells the handler that the exchange is over.
func (c *Conn) done() {
	defer crash.Contain("request", c.Crash)
	c.srv.handler.Done(c)
}

// move has what carryOn left go on once something comes.
func (c *Conn) move() {
	c.lighten()
	if c.trip.rest == ofTunnel {
		c.trip.openTunnel(c.resume)
		return
	}
	t := &c.trip
	t.fresh = true
	if t.sent.Load() {
		t.end()
		t.watch()
	}
	if t.arm(c.srv.limits.Load().Stream, t.since) != nil {
		c.srv.wg.Go(c.resume) // which finds out: nobody would wake it any more
		return
	}
	c.srv.later(&t.u.s, c.resume)
}

// resume goes on with what is left to be done, and then with the connection.
func (c *Conn) resume() {
	defer crash.Contain(where, c.abort)
	if c.carryOn() == errNap {
		c.move()
		return
	}
	if linger, over := c.settle(true); over {
		c.end(linger)
		return
	}
	c.burden()
	c.run()
}

// lighten gives back the memory that an exchange does not need any more of which
// only the rest is to be done. Not while the request's body is still being sent: then
// the workspace is the attendant's, and sent is asked first.
func (c *Conn) lighten() {
	ws := c.ws
	if ws.light() || !c.trip.sent.Load() || !ws.body.done {
		return
	}
	c.trip.u.alone = c.trip.u.alone || c.bindsLogin() // the answer's fields will not say so any more
	ws.resp.Free()                                    // it lies in up
	full := &workspace{in: ws.in, first: ws.first, out: ws.out, up: ws.up, small: make([]byte, 0, smallSize)}
	early := slices.Clone(ws.in[c.r:c.w])
	if ws.req.Len > smallSize {
		full.in = make([]byte, inSize) // the head lies in the old one
	}
	ws.in, ws.first, ws.out, ws.up, c.r, c.w = early, nil, nil, nil, 0, len(early)
	full.keep()
}

// light reports whether lighten has taken most of the memory away.
func (ws *workspace) light() bool { return ws.up == nil }

// burden replaces memory that lighten left little of, if bytes of the next request
// are there already.
func (c *Conn) burden() {
	if !c.ws.light() || c.r == c.w {
		return
	}
	early := c.ws.in[c.r:c.w]
	c.giveBack()
	if len(c.lend()) < len(early) {
		c.ws.in = make([]byte, len(early))
	}
	c.w = copy(c.ws.in, early)
}
