// Package waiting asks by GET over HTTP/2, for answers that may take many minutes: a
// request that waits is an entry of its connection, and no goroutine. A [Conn] has one
// goroutine, which reads.
package waiting

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/internal/crash"
)

// What a connection holds, whatever its peer does.
const (
	Window = 64 << 10 // bytes of one answer that nobody read yet

	maxFrame   = 16 << 10
	connWindow = 16 << 20 // more than streams may hold that a peer usually grants; what comes is credited at once
	mostID     = 1 << 30  // of streams, then it takes no more
	unsaid     = 100      // streams that are granted before the peer says how many
	mostInfo   = 16       // heads of an answer that say that there is none yet
)

// ErrEnded is that a request was not answered, as its connection ended or takes no more.
var ErrEnded = errors.New("the connection of HTTP/2 ended")

// Config says how a connection is kept. Quiet, Word, Idle and MaxHeader are required.
type Config struct {
	Quiet     time.Duration // without a frame, then the peer is asked for one
	Word      time.Duration // for that, and for the peer to take what is written
	Idle      time.Duration // without a request, then the connection is closed
	MaxHeader uint32        // bytes of an answer's head
}

// Conn is a connection. [Open] makes it; any number of goroutines may use it.
type Conn struct {
	cfg   Config
	wire  net.Conn
	timer *time.Timer // looks after it

	writing sync.Mutex // guards what follows, is taken before mu, and held while bytes are written
	out     *bufio.Writer
	to      *http2.Framer // writes only
	block   bytes.Buffer
	fields  *hpack.Encoder

	from   *http2.Framer // reads only; of the reader
	credit int64         // of the connection, that the peer has; likewise

	mu       sync.Mutex // guards what follows
	streams  map[uint32]*stream
	reserved int
	next     uint32        // stream
	grants   uint32        // streams at the same time
	said     bool          // by the peer, how many those are
	pinged   bool          // for a word, as nothing came
	alive    chan struct{} // closed when the first ping is answered, or the connection ended
	told     bool          // alive is closed
	heard    time.Time     // the last frame
	used     time.Time     // the last request began or ended
	retired  bool
	away     bool  // the peer takes no more requests
	err      error // it ended
}

// State is how a connection is.
type State struct {
	Closed  bool
	Closing bool   // it takes no more requests, or is closed
	Active  int    // requests on their way, and places that are reserved
	Grants  uint32 // requests that the peer takes at the same time
}

// Open begins to speak HTTP/2 on a connection on which it was agreed, and waits until the
// peer has said how many requests it grants and answers a ping: it lives. Where Open fails
// the connection is closed.
func Open(ctx context.Context, wire net.Conn, cfg Config) (*Conn, error) {
	c := &Conn{cfg: cfg, wire: wire, out: bufio.NewWriterSize(wire, 4<<10), credit: connWindow, streams: make(map[uint32]*stream),
		next: 1, grants: unsaid, alive: make(chan struct{}), heard: time.Now(), used: time.Now()}
	c.to = http2.NewFramer(c.out, nil)
	c.fields = hpack.NewEncoder(&c.block)
	c.from = http2.NewFramer(nil, bufio.NewReaderSize(wire, 4<<10))
	c.from.SetMaxReadFrameSize(maxFrame)
	c.from.SetReuseFrames()
	c.from.ReadMetaHeaders, c.from.MaxHeaderListSize = hpack.NewDecoder(4096, nil), cfg.MaxHeader
	if err := c.greet(); err != nil {
		return nil, err
	}
	if err := c.hear(ctx); err != nil {
		c.end(err)
		return nil, err
	}
	return c, nil
}

// greet begins, and has somebody read.
func (c *Conn) greet() error {
	err := c.write(func() error {
		_, err := c.out.WriteString(http2.ClientPreface)
		return errors.Join(err, c.to.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: Window},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: c.cfg.MaxHeader},
		), c.to.WriteWindowUpdate(0, connWindow-65_535), c.to.WritePing(false, [8]byte{}))
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(c.cfg.Quiet, func() { c.contained(c.look) })
	crash.Go("consul answer", c.read, func() { c.end(errPanic) })
	return nil
}

// hear waits until the peer answered the first ping, and so said all that it grants before.
func (c *Conn) hear(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.alive:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

var errPanic = errors.New("it raised a panic")

// contained does work of a goroutine that is not the reader.
func (c *Conn) contained(work func()) {
	defer crash.Contain("consul answer", func() { c.end(errPanic) })
	work()
}

// State returns how the connection is.
func (c *Conn) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return State{Closed: c.err != nil, Closing: c.closingLocked(), Active: len(c.streams) + c.reserved, Grants: c.grants}
}

func (c *Conn) closingLocked() bool { return c.err != nil || c.away || c.retired || c.next >= mostID }

// Retire has the connection take no more requests, and end with the last of them.
func (c *Conn) Retire() {
	c.mu.Lock()
	c.retired = true
	c.mu.Unlock()
	c.tidy()
}

// tidy ends a connection that has no request and takes no more.
func (c *Conn) tidy() {
	c.mu.Lock()
	over := (c.away || c.retired) && len(c.streams)+c.reserved == 0
	c.mu.Unlock()
	if over {
		c.end(errIdle)
	}
}

// Reserve takes a place for a request that [Conn.Send] is to send, if there is one.
func (c *Conn) Reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closingLocked() || len(c.streams)+c.reserved >= int(c.grants) {
		return false
	}
	c.reserved++
	return true
}

// Send sends a request without a body, for which a place is reserved, and calls began
// once: with the answer when its head is there, or with why there is none. The context of
// the request ends it. began must not block, and may be called before Send returns. Who
// gets an answer closes its body.
func (c *Conn) Send(req *http.Request, began func(*http.Response, error)) {
	s := &stream{conn: c, began: began}
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.enter(req.Context(), s); err != nil {
		began(nil, err)
		return
	}
	if err := c.writeLocked(func() error { return c.writeRequest(s.id, req) }); err != nil {
		crash.Go("consul answer", func() { c.end(err) }, nil) // which calls began, of others too
	}
}

// enter has a request take its place. c.writing is held, so that numbers go up on the wire.
func (c *Conn) enter(ctx context.Context, s *stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved--
	c.used = time.Now()
	switch {
	case c.err != nil:
		return fmt.Errorf("%w: %w", ErrEnded, c.err)
	case c.away:
		return ErrEnded
	case ctx.Err() != nil:
		return ctx.Err()
	}
	s.id = c.next
	c.next += 2
	c.streams[s.id] = s
	s.stop = context.AfterFunc(ctx, func() { c.contained(func() { c.cancel(s, ctx.Err()) }) })
	return nil
}

// writeRequest writes the head of a request. c.writing is held.
func (c *Conn) writeRequest(id uint32, req *http.Request) error {
	c.block.Reset()
	for _, f := range [][2]string{{":authority", req.Host}, {":method", req.Method}, {":path", req.URL.RequestURI()}, {":scheme", req.URL.Scheme}} {
		c.field(f[0], f[1])
	}
	for name, values := range req.Header {
		for _, value := range values {
			c.field(strings.ToLower(name), value)
		}
	}
	block := c.block.Bytes()
	first := block[:min(len(block), maxFrame)]
	err := c.to.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: true, EndHeaders: len(first) == len(block)})
	for block = block[len(first):]; len(block) > 0 && err == nil; {
		n := min(len(block), maxFrame)
		err = c.to.WriteContinuation(id, n == len(block), block[:n])
		block = block[n:]
	}
	return err
}

func (c *Conn) field(name, value string) {
	_ = c.fields.WriteField(hpack.HeaderField{Name: name, Value: value}) // into memory
}

// write has frames written, and ends the connection where that fails.
func (c *Conn) write(frames func() error) error {
	c.writing.Lock()
	err := c.writeLocked(frames)
	c.writing.Unlock()
	if err != nil {
		c.end(err)
	}
	return err
}

func (c *Conn) writeLocked(frames func() error) error {
	_ = c.wire.SetWriteDeadline(time.Now().Add(c.cfg.Word)) // writing says what is wrong
	if err := frames(); err != nil {
		return err
	}
	return c.out.Flush()
}

// look looks after a connection on which nothing came for a while.
func (c *Conn) look() {
	ping, next, err := c.inspect()
	if err != nil {
		c.end(err)
		return
	}
	c.timer.Reset(next)
	if ping {
		_ = c.write(func() error { return c.to.WritePing(false, [8]byte{1}) }) // else the connection ends
	}
}

var (
	errQuiet = errors.New("nothing came on it for too long")
	errIdle  = errors.New("nobody asked by it")
)

func (c *Conn) inspect() (ping bool, next time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	quiet := time.Since(c.heard)
	switch {
	case c.err != nil:
		return false, 0, c.err
	case len(c.streams)+c.reserved == 0 && time.Since(c.used) >= c.cfg.Idle:
		return false, 0, errIdle
	case c.pinged:
		return false, 0, errQuiet
	case quiet < c.cfg.Quiet:
		return false, c.cfg.Quiet - quiet, nil
	}
	c.pinged = true
	return true, c.cfg.Word, nil
}

// Close ends the connection, and with it all requests.
func (c *Conn) Close() { c.end(net.ErrClosed) }

// end ends the connection for a reason.
func (c *Conn) end(why error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = why
	left := c.leaveLocked(0)
	c.tellLocked()
	c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.cut()
	for _, s := range left {
		s.fail(fmt.Errorf("%w: %w", ErrEnded, why))
	}
}

// cut closes the connection without another word: who does not read must not keep anybody.
func (c *Conn) cut() {
	wire := c.wire
	if secured, is := wire.(*tls.Conn); is {
		wire = secured.NetConn()
	}
	_ = wire.Close() // it ended
}
