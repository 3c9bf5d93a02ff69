package http1

import (
	"errors"
	"io"
	"time"

	"lictor/internal/monotonic"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// Fetched is a whole answer to a request of lictor's own. It lies in memory of
// its own, all of which its strings hold on to.
type Fetched struct {
	Status int
	Fields []message.Field
	Body   []byte
}

// ErrBodyLong is an answer with a longer body than was wanted.
var ErrBodyLong = errors.New("http1: the body of the answer is too long")

var errSwitched = errors.New("http1: upstream switched to a protocol that nobody asked for")

// Fetch sends head, a whole GET without a body, and reads the whole answer within
// timeout. One whose body has more than maxBody bytes is a failure, as is all that
// an answer relayed to a client would fail by. u is given back, or closed. No
// client has a part in it, so it blocks for timeout at most.
func (u *Upstream) Fetch(head []byte, timeout time.Duration, maxBody int) (*Fetched, *Failure) {
	f := &fetch{u: u, until: monotonic.Now() + int64(timeout), maxBody: maxBody, in: make([]byte, 0, 4<<10)}
	whole := false
	defer func() { // after a panic as well
		if whole {
			u.pool.put(u, nil)
		} else {
			u.Discard()
		}
	}()
	err := f.send(head, timeout)
	if err == nil {
		err = f.readHead()
	}
	if err == nil {
		err = f.readBody()
	}
	if err != nil {
		return nil, f.failure(err)
	}
	whole = !f.resp.Close && f.resp.Minor == 1 && f.used == len(f.in) && f.resp.Framing("GET") != message.UntilClose
	return &Fetched{Status: f.resp.Status, Fields: f.resp.Fields, Body: f.body}, nil
}

// fetch is a Fetch under way.
type fetch struct {
	u       *Upstream
	until   int64 // monotonic
	maxBody int
	in      []byte // all that was read
	used    int    // of in
	resp    message.ResponseHead
	body    []byte
}

func (f *fetch) send(head []byte, timeout time.Duration) error {
	if f.u.s.Stale() {
		return socket.ErrStale
	}
	if n, err := f.u.s.Write(head, timeout); n == 0 && err != nil {
		return socket.ErrStale
	} else if err != nil {
		return &socket.WriteError{Err: err}
	}
	return nil
}

// more reads more of the answer, of which there are less than most bytes so far.
func (f *fetch) more(most int) error {
	if len(f.in) == cap(f.in) {
		grown := make([]byte, len(f.in), min(2*cap(f.in), most))
		copy(grown, f.in)
		f.in = grown
	}
	for {
		rest := time.Duration(f.until - monotonic.Now())
		if rest <= 0 {
			return errTimeout
		}
		f.u.s.Woken() // to the moment, for the time of a question is short
		f.u.s.ReadBy(rest)
		n, err := f.u.s.Read(f.in[len(f.in):cap(f.in)])
		f.in = f.in[:len(f.in)+n]
		if !socket.IsTimeout(err) {
			return err
		}
	}
}

// readHead reads heads until the final one.
func (f *fetch) readHead() error {
	for interims, scanned := 0, 0; ; {
		n, next, err := message.HeadEnd(f.in[f.used:], scanned)
		if err != nil {
			return err
		}
		if n == 0 {
			scanned = next
			if len(f.in) >= maxResponseHead {
				return message.ErrHeadTooLarge
			}
			if err := f.more(maxResponseHead); err != nil {
				return err
			}
			continue
		}
		if err := f.resp.Parse(f.in[f.used:f.used+n], "GET"); err != nil {
			return err
		}
		f.used, scanned = f.used+n, 0
		switch {
		case f.resp.Status == 101:
			return errSwitched
		case f.resp.Status >= 200:
			return nil
		}
		if interims++; interims > maxInterim {
			return errInterim
		}
	}
}

// readBody reads the body. What was read beyond it stays unused.
func (f *fetch) readBody() error {
	rest := f.in[f.used:] // aside: what came before it is what the fields are made of
	f.in, f.used = append(make([]byte, 0, max(4<<10, len(rest))), rest...), 0
	switch f.resp.Framing("GET") {
	case message.NoBody:
		return nil
	case message.Length:
		return f.readLength()
	case message.Chunked:
		return f.readChunks()
	}
	for len(f.in) <= f.maxBody {
		if err := f.more(f.maxBody + 1); err == io.EOF {
			f.body, f.used = f.in, len(f.in)
			return nil
		} else if err != nil {
			return err
		}
	}
	return ErrBodyLong
}

func (f *fetch) readLength() error {
	if f.resp.ContentLength > int64(f.maxBody) {
		return ErrBodyLong
	}
	n := int(f.resp.ContentLength)
	for len(f.in) < n {
		if err := f.more(n); err != nil {
			return err
		}
	}
	f.body, f.used = f.in[:n], n
	return nil
}

func (f *fetch) readChunks() error {
	dec := message.ChunkDecoder{Lenient: true}
	for {
		data := make([]byte, len(f.in))
		n, used, err := dec.Decode(data, f.in)
		f.body, f.used = append(f.body, data[:n]...), used
		switch {
		case err != nil:
			return err
		case len(f.body) > f.maxBody:
			return ErrBodyLong
		case dec.Done():
			return nil
		}
		f.in = f.in[:0]
		if err := f.more(cap(f.in)); err != nil {
			return err
		}
	}
}

// failure says what an error means for whoever may ask elsewhere.
func (f *fetch) failure(err error) *Failure {
	mute := len(f.in) == 0 && f.resp.Status == 0
	fail := &Failure{Kind: Broken, Err: err, Mute: mute, Clean: mute}
	switch {
	case err == socket.ErrStale:
		fail.Kind, fail.Clean = Stale, true
	case err == ErrUnprocessed:
		fail.Kind, fail.Clean = Unprocessed, true
	case err == errTimeout:
		fail.Kind = TimedOut
	case f.u.s.Pulse.Dead():
		fail.Kind, fail.Err = Vanished, socket.ErrVanished
	case err == io.EOF:
		fail.Err = errCut
	}
	return fail
}
