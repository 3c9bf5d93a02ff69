package proxy

import (
	"errors"
	"io"
	"sync/atomic"

	"lictor/proxy/http1"
)

// maxBusBodies is how many bytes of bodies may be in memory on their way over
// the bus: a message is held as a whole, until its answer is there.
const maxBusBodies = 256 << 20

// errBusFull is a body for which there is no room.
var errBusFull = errors.New("proxy: the bodies on their way over the bus take too much memory")

var refuseBusFull = refusal{status: 503, reason: Overloaded, message: "Too much is on its way over the bus"}

// holding is the part of one request.
type holding struct {
	all  *atomic.Int64
	mine int64
}

// take counts n bytes more, unless all of them are too many.
func (h *holding) take(n int64) bool {
	if h.all.Add(n) > maxBusBodies {
		h.all.Add(-n)
		return false
	}
	h.mine += n
	return true
}

func (h *holding) giveBack() {
	h.all.Add(-h.mine)
	h.mine = 0
}

// readWhole reads the request's body, at most limit bytes of it.
func (x *exchange) readWhole(limit int64, held *holding) ([]byte, error) {
	if !x.c.HasBody() {
		return nil, nil
	}
	if x.req.ContentLength > limit {
		return nil, http1.ErrBodyTooLarge
	}
	if x.set.MaxBody == 0 || limit < x.set.MaxBody {
		x.c.LimitBody(limit)
	}
	if x.req.Expect100 && x.req.Minor > 0 {
		if err := x.c.WriteInterim([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return nil, http1.ErrClientGone
		}
	}
	x.gw.Lasting(x.c) // a client may take its time with a body
	return io.ReadAll(bodyReader{x.c, held})
}

// bodyReader reads the body, and takes room for what came: a length that is only
// told takes none from others.
type bodyReader struct {
	c    *http1.Conn
	held *holding
}

// Read implements io.Reader.
func (r bodyReader) Read(p []byte) (int, error) {
	n, err := r.c.ReadBody(p)
	if !r.held.take(int64(n)) {
		return 0, errBusFull
	}
	return n, err
}
