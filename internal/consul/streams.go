package consul

//lint:file-ignore SA1019 net/http's connections send no ping that is asked for, nor say how many streams were granted (docs/decisions/0008)

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/pace"
)

const (
	streamsAtOnce = 64 // queries of streams that Consul is to answer at once, at the same time
	leastStreams  = 8  // of one connection, else it is no better than HTTP/1.1
	streamWindow  = 64 << 10

	// A connection on which nothing came for so long is asked for a word, and given
	// up without one: those who wait on it would not notice.
	quietTime, wordTime = 4 * time.Second, 6 * time.Second

	redialAfter = 250 * time.Millisecond // behind a connection that could not be made: very many may want it
	plainTime   = 5 * time.Minute        // without HTTP/2, until it is tried again; sooner after an outage
	mostVain    = 3                      // connections or streams in a row that came to nothing, then there is no HTTP/2
	briefTime   = 5 * time.Second        // a connection that ends sooner and carried no answer came to nothing
)

// errPlain is returned where there are no streams (any more): the query is to be sent
// as all others are.
var errPlain = errors.New("consul does not speak HTTP/2")

// errBusy says nothing about Consul.
var errBusy = errors.New("as many queries wait for consul as there are streams")

// errBroken is why a connection cannot be used on which HTTP/2 was agreed.
var errBroken = errors.New("consul agrees on HTTP/2 and does not speak it")

// streams are connections of HTTP/2, each of which carries hundreds of queries that
// wait. A request is sent by the first that has room for it, so that there are as few
// as can be. All are known to be alive: by what comes, and by pings.
//
// There are none where Consul is not reached over TLS, or by a proxy, or something in
// front of it speaks HTTP/1.1 only, refuses streams or answers none of them.
type streams struct {
	most int // connections
	dial func(context.Context) (net.Conn, error)
	tell func()          // what room returns may be another
	back <-chan struct{} // has an element when Consul is heard again, which may be another by then
	over *http2.Transport
	now  chan struct{} // has an element for each query that is to be answered at once

	mu      sync.Mutex    // guards what follows
	conns   []*streamConn // at most most of them, the one that is being made included
	dialing chan struct{} // closed when that is there, or is not; nil = none is being made
	failed  time.Time     // when one could not be made; zero = the last one could
	why     error         // it could not
	each    int           // streams that a connection carries; 0 = not known, or there is no HTTP/2
	modest  time.Time     // until then no connection carries more than each, whatever it promises
	plain   time.Time     // until then HTTP/2 is not tried
	vain    int           // connections and streams that came to nothing since the last answer
	cutAt   time.Time     // when a connection was closed to make room for another
}

// streamConn is one of the connections. streams.mu guards what is no part of ClientConn.
type streamConn struct {
	*http2.ClientConn
	made     time.Time
	answered bool // an answer has come on it
	retired  bool // it takes no more requests, as lictor wants it
	cut      bool // it was closed to make room for another: what waited on it is sent again
}

// newStreams returns streams over at most so many connections, which dial makes.
func newStreams(most int, contact *Contact, dial func(context.Context) (net.Conn, error)) *streams {
	over, err := http2.ConfigureTransports(&http.Transport{HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow}})
	if err != nil {
		panic(err) // it fails for a transport that is configured already
	}
	over.DisableCompression, over.MaxHeaderListSize = true, maxHeader
	over.ReadIdleTimeout, over.PingTimeout, over.WriteByteTimeout = quietTime, wordTime, wordTime
	over.IdleConnTimeout = idleTime
	return &streams{most: most, dial: dial, back: contact.Back(), over: over, tell: func() {}, now: make(chan struct{}, streamsAtOnce)}
}

// room is how many requests may be on their way at the same time.
func (s *streams) room() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.each * s.most
}

// update does work on what mu guards, and tells if room returns something else by it.
func (s *streams) update(work func()) {
	if s.changes(work) {
		s.tell()
	}
}

func (s *streams) changes(work func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.each
	work()
	return s.each != was
}

// ready reports whether there are streams. Where that is not known yet, or not any
// more, it finds out; while it cannot, there are none.
func (s *streams) ready(ctx context.Context) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	select {
	case <-s.back:
		s.plain = time.Time{}
	default:
	}
	if s.each > 0 || time.Now().Before(s.plain) {
		defer s.mu.Unlock()
		return s.each > 0
	}
	soon, err := s.dialLocked(ctx)
	s.mu.Unlock()
	return err == nil && pace.Doze(ctx, 2*openTime, soon) == nil && s.room() > 0
}

// turn waits until a query may be sent, which holds for one that waits at all times:
// very many that are to be answered at once, as after an outage, go one behind the
// other. done is to be called when the answer is read.
func (s *streams) turn(ctx context.Context, waits bool) (done func(), err error) {
	if waits {
		return func() {}, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case s.now <- struct{}{}:
		return func() { <-s.now }, nil
	}
}

// RoundTrip implements [http.RoundTripper].
func (s *streams) RoundTrip(req *http.Request) (*http.Response, error) {
	conn, err := s.reserve(req.Context())
	if err != nil {
		return nil, err
	}
	return s.roundTrip(conn, req)
}

// roundTrip is RoundTrip on the place that was reserved. What a connection did not answer
// that takes no more requests is to be asked again: no request of streams changes anything.
func (s *streams) roundTrip(conn *streamConn, req *http.Request) (*http.Response, error) {
	resp, err := conn.RoundTrip(req)
	if err == nil {
		s.answered(conn)
		return resp, nil
	}
	switch plain, again := s.failure(conn, err); {
	case plain:
		return nil, errPlain
	case again && req.Context().Err() == nil:
		return nil, errAgain
	}
	return nil, err
}

// reserve waits for a place. Others may take those on a connection that is made for it,
// but not for ever.
func (s *streams) reserve(ctx context.Context) (*streamConn, error) {
	for range 4 * (s.most + 1) {
		conn, soon, err := s.place(ctx)
		if conn != nil || err != nil {
			return conn, err
		}
		if err := pace.Doze(ctx, 2*openTime, soon); err != nil {
			return nil, err
		}
	}
	return nil, errBusy
}

// place returns a connection on which a place is taken for one request. If there is
// none, soon is closed when there may be one.
func (s *streams) place(ctx context.Context) (conn *streamConn, soon <-chan struct{}, err error) {
	s.update(func() {
		if s.each == 0 {
			err = errPlain
			return
		}
		for _, c := range s.conns {
			if c.ReserveNewRequest() {
				conn = c
				return
			}
		}
		soon, err = s.dialLocked(ctx)
	})
	return conn, soon, err
}

// answered notes that an answer came on a connection.
func (s *streams) answered(conn *streamConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.answered, s.vain = true, 0
}

// failure looks after what is left of a connection on which a request failed: plain
// says that the request is to be sent as all others are, again that it may be asked on
// another connection.
func (s *streams) failure(conn *streamConn, err error) (plain, again bool) {
	reset, isReset := errors.AsType[http2.StreamError](err)
	again = conn.State().Closing
	s.update(func() {
		again = again || conn.cut
		switch {
		case again:
		case isReset && (reset.Code == http2.ErrCodeRefusedStream || reset.Code == http2.ErrCodeHTTP11Required):
			s.plainLocked()
			plain = true
		case (isReset || errors.Is(err, context.DeadlineExceeded)) && !conn.answered:
			s.vainLocked()
		}
		s.sweepLocked()
	})
	return plain, again
}
