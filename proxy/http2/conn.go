package http2

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/internal/crash"
	"lictor/proxy/http1"
	"lictor/proxy/socket"
)

// What we tell the client at the start.
const (
	maxStreams   = 250
	streamWindow = 512 << 10 // bytes of a body that are taken before the backend takes them
	maxFrame     = 16 << 10
	frameHead    = 9
)

// maxRunning bounds the streams of a connection that are being served, those included
// that are over for the client: it may have opened others in their place.
const maxRunning = 2 * maxStreams

// What HTTP/2 begins with.
const (
	defaultWindow = 65535
	maxWindow     = 1<<31 - 1
)

// conn is a client's connection. The goroutine of serve reads; what is under
// mu is shared with those of the streams.
type conn struct {
	srv  *Server
	nc   net.Conn
	peer *http1.Peer
	over func() // is called when it ended

	// Of the reader only.
	in       []byte // in[r:w] is read and not yet used
	r, w     int
	fr       *http2.Framer // nil at first, and after a while without frames
	dec      *hpack.Decoder
	block    block // the header block that is being received
	lastID   uint32
	waiting  []*stream // complete but for their body, part of which may be here already
	guard    guard
	greeted  bool      // the prefaces were exchanged
	moved    bool      // nothing came since the stack is new
	settled  bool      // the client's first SETTINGS came
	partial  time.Time // since when this frame or header block is incomplete; zero: it is not
	deadline time.Time // of reads, as set on nc

	wg   sync.WaitGroup // workers and the end of a drain
	work chan *stream   // to workers that have nothing to do

	held atomic.Int64 // bytes of bodies that wait for their backends; changed under mu
	full atomic.Bool  // len(out) >= maxOut; for those who do not hold mu and would not take it for less

	mu         sync.Mutex
	streams    map[uint32]*stream
	closed     [64]closedStream // the streams that ended last, a ring
	closedAt   int
	running    int // streams that are being served, also those that the client gave up
	parked     int // workers that have nothing to do
	idleSince  time.Time
	out, spare []byte // frames to write; and a buffer for the next ones
	flushing   bool
	due        bool    // flushSoon's is about to begin
	err        error   // the connection is over
	sendWindow int64   // bytes of bodies that the client takes
	initial    int64   // sendWindow of a new stream
	frameSize  int     // the largest frame that the client takes
	shrunk     bool    // the client wants to hear that our compression keeps nothing
	uploaded   int64   // bytes of all bodies so far
	earned     int     // by the answers: frames with which the client may make room for more, as soon as it has read them
	recvWindow int64   // bytes of bodies that the client may send
	leaving    bool    // the first GOAWAY of a drain was sent
	drainPing  [8]byte // its ping, once leaving; nobody else knows it
	left       bool    // the last one was: new streams are ignored
	lastOpened uint32  // the last stream that is or was served
	farewell   *time.Timer
	wrote      sync.Cond // flushing has become false
	writeBy    time.Time // deadline of writes, as set on nc; zero: another one is
	hurryBy    time.Time // when all of out must be written; zero: as usual
	unread     bool      // the client did not take what was written
}

func newConn(s *Server, nc net.Conn, p *http1.Peer, early []byte) *conn {
	c := &conn{
		srv: s, nc: nc, peer: p, over: func() {}, in: early, w: len(early),
		work: make(chan *stream), streams: make(map[uint32]*stream), idleSince: time.Now(),
		sendWindow: defaultWindow, initial: defaultWindow, frameSize: maxFrame, recvWindow: startWindow,
	}
	c.wrote.L = &c.mu
	c.dec = hpack.NewDecoder(4096, c.block.field)
	return c
}

// closedStream is a stream that ended.
type closedStream struct {
	id   uint32
	ours bool // we ended it, and frames for it may be under way
}

// connError ends a connection, streamError one stream (RFC 9113 5.4).
type connError struct {
	code http2.ErrCode
	text string
}

func (e *connError) Error() string { return "http2: " + e.text + " (" + e.code.String() + ")" }

type streamError struct {
	id   uint32
	code http2.ErrCode
	text string
}

func (e *streamError) Error() string { return "http2: " + e.text + " (" + e.code.String() + ")" }

// serve reads frames until the connection ends, and waits for its streams. One that
// is quiet for a while goes on in another goroutine, once something comes.
func (c *conn) serve() {
	err := c.contained()
	if err == errNap {
		c.srv.h1.Later(c.nc, c.deadline, c.resume)
		return
	}
	c.finish(err)
}

// resume goes on with serve once something comes.
func (c *conn) resume() {
	defer crash.Contain(where, c.abort)
	socket.Await(c.nc)
	c.serve()
}

// where is the place of panics that end a connection.
const where = "http2 connection"

// errCrashed ends a connection in whose service something panicked.
var errCrashed = errors.New("http2: a panic ended the connection")

// contained is run, and ends with an error if it panics.
func (c *conn) contained() (err error) {
	defer crash.Contain(where, func() { err = errCrashed; c.abort() })
	return c.run()
}

// abort ends the connection at once, by RST: nothing that was half sent may
// look whole. Any goroutine may call it that does not hold c.mu.
func (c *conn) abort() {
	socket.Abort(c.nc)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = errCrashed
	}
	for _, st := range c.streams {
		st.cond.Broadcast()
	}
}

func (c *conn) run() error {
	if !c.greeted {
		if err := c.greet(); err != nil {
			return err
		}
		c.greeted = true
	}
	for {
		if err := c.next(); err != nil {
			return err
		}
		if err := c.awaitRoom(); err != nil {
			return err
		}
		f, err := c.framer().ReadFrame()
		if err == nil {
			err = c.handle(f)
		} else {
			err = c.framing(err)
		}
		if se, ok := err.(*streamError); ok {
			err = c.refuse(se)
		}
		if err != nil {
			return err
		}
	}
}

// greet reads the client's preface and sends ours.
func (c *conn) greet() error {
	c.mu.Lock()
	c.out = appendPreface(c.out, c.srv.h1.Limits().MaxHeader)
	err := c.flush()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.partial = time.Now()
	if err := c.fill(len(http2.ClientPreface)); err != nil {
		return err
	}
	if string(c.in[c.r:c.r+len(http2.ClientPreface)]) != http2.ClientPreface {
		return &connError{http2.ErrCodeProtocol, "bad preface"}
	}
	c.r += len(http2.ClientPreface)
	c.partial = time.Time{}
	return nil
}

// next has the whole next frame in the buffer. Streams whose body may be
// behind their head are served before it would wait.
func (c *conn) next() error {
	if !c.block.open {
		c.partial = time.Time{} // the frame before came whole, and this one has its own time
	}
	if err := c.fill(frameHead); err != nil {
		return err
	}
	n := int(c.in[c.r])<<16 | int(c.in[c.r+1])<<8 | int(c.in[c.r+2])
	if n > maxFrame {
		return &connError{http2.ErrCodeFrameSize, "frame too large"}
	}
	return c.fill(frameHead + n)
}

// framer is what reads frames. It keeps memory for the largest that came.
func (c *conn) framer() *http2.Framer {
	if c.fr == nil {
		c.fr = http2.NewFramer(nil, (*frameReader)(c))
		c.fr.SetReuseFrames()
		c.fr.SetMaxReadFrameSize(maxFrame)
	}
	return c.fr
}

// framing turns an error of the framer into one of ours.
func (c *conn) framing(err error) error {
	switch e := err.(type) {
	case http2.StreamError:
		return &streamError{e.StreamID, e.Code, "bad frame"}
	case http2.ConnectionError:
		return &connError{http2.ErrCode(e), "bad frame"}
	}
	if err == http2.ErrFrameTooLarge {
		return &connError{http2.ErrCodeFrameSize, "frame too large"}
	}
	return err
}

// refuse ends a stream for what the client did. A client that has many of them
// ended is sent away: it may want us to work for nothing.
func (c *conn) refuse(e *streamError) error {
	if !c.guard.resets.take(time.Now()) {
		return errCalm
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[e.id]; st != nil {
		st.end(errSpoilt)
	}
	c.out = appendReset(c.out, e.id, e.code)
	return c.flushSoon()
}

// handle does what a frame asks for.
func (c *conn) handle(f http2.Frame) error {
	if !c.settled {
		s, ok := f.(*http2.SettingsFrame)
		if !ok || s.IsAck() {
			return &connError{http2.ErrCodeProtocol, "no SETTINGS at first"}
		}
		c.settled = true
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.headers(f)
	case *http2.ContinuationFrame:
		return c.continuation(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.RSTStreamFrame:
		return c.rstStream(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return &streamError{f.StreamID, http2.ErrCodeProtocol, "a stream depends on itself"}
		}
	case *http2.PushPromiseFrame:
		return &connError{http2.ErrCodeProtocol, "PUSH_PROMISE from a client"}
	}
	return c.guard.idle(time.Now()) // of no use to anybody, as GOAWAY of a client
}

// start has a stream served by a worker.
func (c *conn) start(st *stream) {
	select {
	case c.work <- st:
		c.mu.Lock()
		c.parked--
		c.mu.Unlock()
	default:
		c.wg.Go(func() {
			defer crash.Contain(where, c.abort)
			c.worker(st)
		})
	}
}

// finished counts a stream that is no longer served.
func (c *conn) finished() {
	c.running--
	c.srv.h1.GiveStream(c.peer)
	if c.running == 0 {
		c.idleSince = time.Now()
		c.mayEnd()
	}
}

// maxParked bounds the workers that wait for the next stream: their stacks
// have grown already.
const maxParked = 32

func (c *conn) worker(st *stream) {
	for ; st != nil; st = <-c.work {
		c.srv.h1.ServeStream(st, c.peer)
		c.mu.Lock()
		c.finished()
		park := c.err == nil && c.parked < maxParked
		if park {
			c.parked++
		}
		c.mu.Unlock()
		st.free()
		if !park {
			return
		}
	}
}

// dismiss ends the workers that have nothing to do.
func (c *conn) dismiss() {
	c.mu.Lock()
	n := c.parked
	c.parked = 0
	c.mu.Unlock()
	for range n {
		c.work <- nil
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout() || err == os.ErrDeadlineExceeded
}
