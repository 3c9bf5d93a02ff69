package upstream

import (
	"errors"
	"io"

	"lictor/proxy/http1"
)

// maxBusBodies is how many bytes of bodies may be in memory on their way over
// the bus: a message is held as a whole, until its answer is there. As many may
// be held of replies, until their clients have taken them.
const maxBusBodies = 256 << 20

// busPace is how many bytes a second a body that is held in memory must come at
// least, once the time for a head is over.
const busPace = 64 << 10

// errBusFull is a body for which there is no room.
var errBusFull = errors.New("proxy: the bodies on their way over the bus take too much memory")

// readWhole reads the request's body, at most limit bytes of it.
func (q *Request) readWhole(limit int64, held *holding) ([]byte, error) {
	if !q.Conn.HasBody() {
		return nil, nil
	}
	if q.Head.ContentLength > limit {
		return nil, http1.ErrBodyTooLarge
	}
	if q.MaxBody == 0 || limit < q.MaxBody {
		q.Conn.LimitBody(limit)
	}
	if q.Head.Expect100 && q.Head.Minor > 0 {
		if err := q.Conn.WriteInterim([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return nil, http1.ErrClientGone
		}
	}
	q.Conn.PaceBody(q.Header, busPace)
	q.Exchange.Lasts() // a client may take its time with a body
	return io.ReadAll(bodyReader{q.Conn, held})
}

// bodyReader reads the body, and takes room for what came: a length that is only
// told takes none from others.
type bodyReader struct {
	c    *http1.Conn
	held *holding
}

// Read implements io.Reader.
func (r bodyReader) Read(p []byte) (int, error) {
	r.held.waits()
	n, err := r.c.ReadBody(p)
	if !r.held.resumes() || !r.held.take(int64(n)) {
		return 0, errBusFull
	}
	return n, err
}
