package http2

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"

	"lictor/proxy/http1/message"
)

// upload is the body of a request on its way to the library: decoded from the
// text, and kept from its beginning while it is small, so that a request that
// was not processed can be sent again. It is guarded by its call's mutex.
type upload struct {
	call  *call
	req   *http.Request
	begun bool // the head was written

	framing  message.Framing
	left     int64 // with a length
	dec      message.ChunkDecoder
	done     bool        // all of it was written
	whole    bool        // it came with the head
	trailers http.Header // of the request, to be filled when its end is read
	last     http.Header // what is to be filled in

	data  []byte // data[0] is at the offset from
	from  int64
	taken int64 // the offset up to which it was read
	keep  bool  // nothing was dropped yet, and it may be read again
	turn  *uploadReader
}

var errReplay = errors.New("http2: the body is gone")

func (u *upload) begin(head *message.RequestHead) {
	u.framing, u.keep = head.Framing(), true
	u.left = max(head.ContentLength, 0)
	u.done = u.framing == message.NoBody
}

// write takes body text.
func (u *upload) write(p []byte) error {
	k := u.call
	for len(p) > 0 {
		for !u.done && u.held() >= holdMost && !k.closed && k.err == nil {
			taken := u.taken
			if err := k.wait(writer); err != nil {
				return err
			}
			if u.taken > taken {
				k.took()
			}
		}
		switch {
		case k.closed:
			return net.ErrClosed
		case k.err != nil:
			return k.err
		case u.done:
			return errCallText
		}
		n, err := u.decode(p[:min(len(p), holdMost)])
		if err != nil {
			return err
		}
		p = p[n:]
		k.cond.Broadcast()
	}
	return nil
}

// held is how much was written and not read.
func (u *upload) held() int64 { return u.from + int64(len(u.data)) - u.taken }

// decode appends what p holds to data, and returns how much of p it used.
func (u *upload) decode(p []byte) (int, error) {
	if u.framing == message.Length {
		n := int(min(u.left, int64(len(p))))
		u.data = append(u.data, p[:n]...)
		u.left -= int64(n)
		u.done = u.left == 0
		return n, nil
	}
	at := len(u.data)
	u.data = append(u.data, p...) // as long as p is at most
	n, used, err := u.dec.Decode(u.data[at:], p)
	u.data = u.data[:at+n]
	if u.done = u.dec.Done(); u.done {
		u.last = make(http.Header)
		for _, f := range u.dec.Trailers() {
			u.last.Add(strings.Clone(f.Name), strings.Clone(f.Value))
		}
	}
	return used, err
}

// body returns the body for the library, and how it gets it again.
func (u *upload) body() (io.ReadCloser, func() (io.ReadCloser, error)) {
	u.turn = &uploadReader{u: u}
	return u.turn, func() (io.ReadCloser, error) {
		u.call.mu.Lock()
		defer u.call.mu.Unlock()
		if !u.keep {
			return nil, errReplay
		}
		u.turn = &uploadReader{u: u}
		u.taken = 0
		return u.turn, nil
	}
}

// forget drops what is kept for sending it again: the request was processed.
func (u *upload) forget() {
	u.call.mu.Lock()
	defer u.call.mu.Unlock()
	u.keep = false
	u.drop()
}

// drop frees what was read.
func (u *upload) drop() {
	n := copy(u.data, u.data[u.taken-u.from:])
	u.data = u.data[:n]
	u.from = u.taken
}

// uploadReader is one reading of the body.
type uploadReader struct {
	u      *upload
	at     int64
	closed bool
}

// Read implements io.Reader.
func (r *uploadReader) Read(p []byte) (int, error) {
	u, k := r.u, r.u.call
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		if r.closed || u.turn != r {
			return 0, net.ErrClosed
		}
		if n := copy(p, u.data[r.at-u.from:]); n > 0 {
			r.at += int64(n)
			u.taken = r.at
			if u.keep = u.keep && r.at <= holdMost; !u.keep {
				u.drop()
			}
			k.cond.Broadcast()
			return n, nil
		}
		switch {
		case u.done:
			maps.Copy(u.trailers, u.last)
			return 0, io.EOF
		case k.closed:
			return 0, net.ErrClosed
		}
		k.cond.Wait()
	}
}

// Close implements io.Closer.
func (r *uploadReader) Close() error {
	r.u.call.mu.Lock()
	defer r.u.call.mu.Unlock()
	r.closed = true
	r.u.call.cond.Broadcast()
	return nil
}
