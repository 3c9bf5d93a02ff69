package http2

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"lictor/proxy/socket"
)

// wire is what the library talks to: the connection to an instance. It knows
// how much of a body the instance takes at once, over all streams, which the
// library does not tell (RFC 9113 6.9). And it has the library believe that the
// instance takes frames of 16 KiB at most, as all do: it would keep a buffer as
// large as the largest frame for each body, up to 512 KiB.
type wire struct {
	net.Conn
	window  atomic.Int64 // bytes that the instance takes
	in, out follower
	pulse   *socket.Pulse
	end     func() // called once, when the connection is closed
	once    sync.Once
}

const (
	prefaceSize   = 24
	initialWindow = 65535
)

func newWire(nc net.Conn, patience time.Duration, end func()) *wire {
	w := &wire{Conn: nc, pulse: socket.NewPulse(nc, patience), end: end}
	w.window.Store(initialWindow)
	w.in.theirs = true
	w.out.left = prefaceSize
	return w
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.in.follow(p[:n], func(f *follower) {
		if f.kind == kindWindowUpdate && f.stream == 0 && f.size == 4 {
			w.window.Add(int64(f.word & (1<<31 - 1)))
		}
	})
	return n, err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	w.out.follow(p, func(f *follower) {
		if f.kind == kindData {
			w.window.Add(-int64(f.size))
		}
	})
	w.pulse.Wrote()
	return w.Conn.Write(p)
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.pulse.Stop()
	err := w.Conn.Close()
	w.once.Do(w.end)
	return err
}

const (
	kindData         = 0
	kindSettings     = 4
	kindWindowUpdate = 8
)

// follower finds the frames in bytes as they come.
type follower struct {
	theirs bool // the instance's frames, whose settings are seen to

	head [frameHead]byte
	have int
	left int // bytes of the payload that did not come yet

	kind   byte
	stream uint32
	size   int
	id     uint16 // in SETTINGS: of the setting that is under way
	word   uint32 // the last four bytes of the payload
}

// setting has each SETTINGS_MAX_FRAME_SIZE in p say what is the least that there
// may be (RFC 9113 6.5.2). It may come in pieces, so it is not looked at before.
func (f *follower) setting(p []byte) {
	const maxFrameSize, width = 5, 6
	least := [width]byte{4: maxFrame >> 8, 5: maxFrame & 0xff}
	for i, b := range p {
		switch at := (f.size - f.left + i) % width; {
		case at < 2:
			f.id = f.id<<8 | uint16(b)
		case f.id == maxFrameSize:
			p[i] = least[at]
		}
	}
}

// follow calls frame at the end of each frame.
func (f *follower) follow(p []byte, frame func(*follower)) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, len(p))
			for _, b := range p[max(n-4, 0):n] {
				f.word = f.word<<8 | uint32(b)
			}
			if f.theirs && f.kind == kindSettings {
				f.setting(p[:n])
			}
			p = p[n:]
			if f.left -= n; f.left == 0 {
				frame(f)
			}
			continue
		}
		n := copy(f.head[f.have:], p)
		p = p[n:]
		if f.have += n; f.have < frameHead {
			return
		}
		h := &f.head
		f.have, f.size, f.kind = 0, int(h[0])<<16|int(h[1])<<8|int(h[2]), h[3]
		f.stream = (uint32(h[5])<<24 | uint32(h[6])<<16 | uint32(h[7])<<8 | uint32(h[8])) & (1<<31 - 1)
		if f.left = f.size; f.left == 0 {
			frame(f)
		}
	}
}
