package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frame returns a frame as it goes on the wire, whatever is wrong with it.
func frame(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) []byte {
	b := make([]byte, 0, 9+len(payload))
	n := len(payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

// fields encodes a header block; pairs are names and values.
func fields(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i+1 < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}) // a buffer takes it
	}
	return b.Bytes()
}

func requestBlock(method, path string, more ...string) []byte {
	return fields(append([]string{":method", method, ":scheme", "http", ":authority", "a", ":path", path}, more...)...)
}

// h2 is one hostile HTTP/2 connection.
type h2 struct {
	net.Conn
	r     *rand.Rand
	known [][]byte
	next  uint32   // the next stream to open
	open  []uint32 // streams that were opened, some of which are over
}

// speak connects, by TLS now and then, and sends preface and settings.
func (s *storming) speak(ctx context.Context, r *rand.Rand) (*h2, error) {
	c, err := s.dial(ctx, r, r.IntN(4) == 0, "h2")
	if err != nil {
		return nil, err
	}
	h := &h2{Conn: c, r: r, known: s.known, next: 1}
	var settings []byte
	for range r.IntN(4) {
		settings = append(settings, h.setting()...)
	}
	if _, err := c.Write(append([]byte(http2.ClientPreface), frame(http2.FrameSettings, 0, 0, settings)...)); err != nil {
		c.Close()
		return nil, err
	}
	return h, nil
}

// setting is one parameter, often a sensible one.
func (h *h2) setting() []byte {
	values := []uint32{0, 1, 100, 16384, 65535, 1 << 20, 1<<24 - 1, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	b := binary.BigEndian.AppendUint16(nil, uint16(h.r.IntN(10)))
	return binary.BigEndian.AppendUint32(b, values[h.r.IntN(len(values))])
}

var paths = []string{"/calm/x", "/bad/x", "/badtls/x", "/slow/x", "/nobody/x", "/badh2/x", "/grpc/x", "/grpc/big", "/big/x", "/none", "/calm/closed", "*", "/calm/..%2fx", "/calm/%00", "/a;b/calm//x"}

// request opens a stream with a request that is well-formed.
func (h *h2) request() []byte {
	r := h.r
	more := []string{}
	if r.IntN(2) == 0 {
		more = append(more, "content-type", "application/grpc")
	}
	if r.IntN(4) == 0 {
		more = append(more, "te", "trailers", "x-long", string(bytes.Repeat([]byte("v"), r.IntN(9000))))
	}
	block := requestBlock([]string{"GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS"}[r.IntN(6)], paths[r.IntN(len(paths))], more...)
	id := h.next
	h.next += 2
	h.open = append(h.open, id)
	return frame(http2.FrameHeaders, []http2.Flags{4, 5}[r.IntN(2)], id, block)
}

// stream is an id of some class: open or over, not yet opened, even, none.
func (h *h2) stream() uint32 {
	if len(h.open) > 0 && h.r.IntN(8) != 0 {
		return h.open[h.r.IntN(len(h.open))]
	}
	return []uint32{0, h.next, h.next + 2, 2, 1<<31 - 1, 1 << 31}[h.r.IntN(6)]
}

// payload is some content of some size, what the program itself sent included.
func (h *h2) payload() []byte {
	r := h.r
	if len(h.known) > 0 && r.IntN(3) == 0 {
		return h.known[r.IntN(len(h.known))]
	}
	sizes := []int{0, 1, 4, 5, 6, 8, 9, 12, 255, 4096, 16384, 16385, 70_000}
	b := make([]byte, sizes[r.IntN(len(sizes))])
	switch r.IntN(3) {
	case 0:
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	case 1:
		block := requestBlock("GET", paths[r.IntN(len(paths))])
		copy(b, block)
	case 2:
		for len(b) >= 6 && r.IntN(2) == 0 {
			copy(b, slices.Concat(h.setting(), h.setting(), h.setting()))
			break
		}
	}
	return b
}

// anyFrame is a frame of any type, flag, stream and size.
func (h *h2) anyFrame() []byte {
	r := h.r
	switch r.IntN(5) {
	case 0:
		return h.request()
	case 1: // one that fits its type, so that the connection lives on
		return h.fitting(http2.FrameType(r.IntN(10)))
	default:
		return frame(http2.FrameType(r.IntN(12)), http2.Flags(r.IntN(256)), h.stream(), h.payload())
	}
}

// fitting is a frame that keeps to the rules of its type, for the most part.
func (h *h2) fitting(kind http2.FrameType) []byte {
	r := h.r
	eight := make([]byte, 8)
	binary.BigEndian.PutUint64(eight, r.Uint64())
	for _, k := range h.known {
		if len(k) == 8 && r.IntN(2) == 0 {
			eight = k
		}
	}
	switch kind {
	case http2.FrameData:
		return frame(kind, http2.Flags(r.IntN(2)), h.stream(), make([]byte, []int{0, 1, 100, 16384}[r.IntN(4)]))
	case http2.FrameHeaders, http2.FramePushPromise:
		return h.request()
	case http2.FramePriority:
		return frame(kind, 0, h.stream(), eight[:5])
	case http2.FrameRSTStream:
		return frame(kind, 0, h.stream(), eight[:4])
	case http2.FrameSettings:
		if r.IntN(3) == 0 {
			return frame(kind, 1, 0, nil)
		}
		return frame(kind, 0, 0, bytes.Repeat(h.setting(), []int{0, 1, 50, 2730}[r.IntN(4)]))
	case http2.FramePing:
		return frame(kind, http2.Flags(r.IntN(2)), 0, eight)
	case http2.FrameGoAway:
		return frame(kind, 0, 0, append(eight, eight...))
	case http2.FrameWindowUpdate:
		return frame(kind, 0, []uint32{0, h.stream()}[r.IntN(2)], []byte{0, 0, 0, byte(1 + r.IntN(255))})
	default:
		return frame(kind, 0, h.stream(), nil)
	}
}

// h2frames sends frames in and out of order, reads in some way, hangs up at
// some point.
func (s *storming) h2frames(ctx context.Context, r *rand.Rand) {
	h, err := s.speak(ctx, r)
	if err != nil {
		return
	}
	defer hangUp(r, h.Conn)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	go reads(reading, rand.New(rand.NewPCG(r.Uint64(), 1)), h.Conn) //nolint:gosec // choices
	for range r.IntN(5) {
		if _, err := h.Write(h.request()); err != nil {
			return
		}
	}
	for range 1 + r.IntN(60) {
		if _, err := h.Write(h.anyFrame()); err != nil {
			return
		}
		if r.IntN(10) == 0 && !pause(ctx, time.Duration(r.IntN(30))*time.Millisecond) {
			return
		}
	}
}

// flooding says how much one flood may send, and for how long.
const (
	floodBytes = 1 << 30
	floodSpan  = 4 * time.Second
)

// h2flood repeats a mixture of a few frames as fast as they are taken and reads
// nothing: whatever they make the program answer has to wait somewhere.
func (s *storming) h2flood(ctx context.Context, r *rand.Rand) {
	h, err := s.speak(ctx, r)
	if err != nil {
		return
	}
	defer h.Close()
	var first []byte
	for range r.IntN(80) {
		first = append(first, h.request()...)
	}
	if _, err := h.Write(first); err != nil {
		return
	}
	mixture := make([][]byte, 1+r.IntN(3))
	for i := range mixture {
		mixture[i] = bytes.Repeat(h.fitting(http2.FrameType(r.IntN(10))), 1+r.IntN(9))
	}
	heads := r.IntN(4) == 0 // new streams all the time, whose answers are heads alone
	blob := bytes.Repeat(slices.Concat(mixture...), 1+8192/(1+len(slices.Concat(mixture...))))
	end := time.Now().Add(floodSpan)
	for sent := 0; sent < floodBytes && time.Now().Before(end) && ctx.Err() == nil; {
		if heads {
			blob = nil
			for range 100 {
				blob = append(blob, frame(http2.FrameHeaders, 5, h.next, requestBlock("HEAD", "/calm/x"))...)
				h.next += 2
			}
		}
		n, err := h.Write(blob)
		if sent += n; err != nil {
			return
		}
	}
}

// h2upload sends bodies to backends that are slow, absent or hostile, as much as
// the windows allow, and often resets them half-way.
func (s *storming) h2upload(ctx context.Context, r *rand.Rand) {
	h, err := s.speak(ctx, r)
	if err != nil {
		return
	}
	defer hangUp(r, h.Conn)
	window := make(chan int, 1024)
	go credits(h.Conn, window)
	streams := 1 + r.IntN(60)
	for range streams {
		target := []string{"/slow/up", "/nobody/up", "/badh2/up", "/grpc/echo", "/bad/up"}[r.IntN(5)]
		block := requestBlock("POST", target, "content-type", "application/grpc")
		h.open = append(h.open, h.next)
		if _, err := h.Write(frame(http2.FrameHeaders, 4, h.next, block)); err != nil {
			return
		}
		h.next += 2
	}
	credit := 65535
	body := make([]byte, 16384)
	for ctx.Err() == nil {
		for credit < len(body) {
			select {
			case n, ok := <-window:
				if !ok {
					return
				}
				credit += n
			case <-ctx.Done():
				return
			}
		}
		credit -= len(body)
		id := h.open[r.IntN(len(h.open))]
		if _, err := h.Write(frame(http2.FrameData, 0, id, body)); err != nil {
			return
		}
		if r.IntN(50) == 0 {
			_, _ = h.Write(frame(http2.FrameRSTStream, 0, id, []byte{0, 0, 0, 8})) // the next write tells
		}
	}
}

// credits passes on what WINDOW_UPDATE frames for the connection grant.
func credits(c net.Conn, window chan<- int) {
	defer close(window)
	f := http2.NewFramer(nil, c)
	f.SetMaxReadFrameSize(1 << 20)
	for {
		got, err := f.ReadFrame()
		if err != nil {
			return
		}
		if u, ok := got.(*http2.WindowUpdateFrame); ok && u.StreamID == 0 {
			select {
			case window <- int(u.Increment):
			default:
			}
		}
	}
}

// learn starts the program, lets it end while an HTTP/2 client is there, and
// returns the payloads of the frames it sent: what it takes for its own secret
// can be played back by anybody.
func (l *lab) learn(ctx context.Context) ([][]byte, error) {
	p := &l.plain
	if err := p.start(ctx, l.program); err != nil {
		return nil, err
	}
	defer p.kill()
	c, err := net.DialTimeout("tcp", p.gateway, 2*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(4 * time.Second))
	hello := slices.Concat([]byte(http2.ClientPreface), frame(http2.FrameSettings, 0, 0, nil), frame(http2.FrameSettings, 1, 0, nil),
		frame(http2.FrameHeaders, 5, 1, requestBlock("GET", "/nobody/x")))
	if _, err := c.Write(hello); err != nil {
		return nil, err
	}
	var known [][]byte
	f := http2.NewFramer(nil, c)
	for asked := false; ; {
		got, err := f.ReadFrame()
		if err != nil {
			return known, nil // the end of it
		}
		switch got := got.(type) {
		case *http2.PingFrame:
			known = append(known, slices.Clone(got.Data[:]))
		case *http2.GoAwayFrame:
			known = append(known, slices.Clone(got.DebugData()))
		}
		if !asked {
			asked = true
			p.signal(syscall.SIGTERM)
		}
	}
}
