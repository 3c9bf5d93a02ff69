package consul

//lint:file-ignore SA1019 net/http's connections send no ping that is asked for, nor say how many streams were granted (docs/decisions/0008)

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/crash"
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
)

// errPlain is returned where there are no streams (any more): the query is to be sent
// as all others are.
var errPlain = errors.New("consul does not speak HTTP/2")

var errBusy = errors.New("as many queries wait for consul as there are streams")

// streams are connections of HTTP/2, each of which carries hundreds of queries that
// wait. A request is sent by the first that has room for it, so that there are as few
// as can be. All are known to be alive: by what comes, and by pings.
//
// There are none where Consul is not reached over TLS, or by a proxy, or something in
// front of it speaks HTTP/1.1 only or refuses streams.
type streams struct {
	most int // connections
	dial func(context.Context) (net.Conn, error)
	tell func()          // what room returns may be another
	back <-chan struct{} // has an element when Consul is heard again, which may be another by then
	over *http2.Transport
	now  chan struct{} // has an element for each query that is to be answered at once

	mu      sync.Mutex // guards what follows
	conns   []*http2.ClientConn
	dialing chan struct{} // closed when the connection is there that is being made; nil = none is
	failed  time.Time     // when none could be made, and why
	why     error
	each    int       // streams that a connection carries; 0 = not known, or there is no HTTP/2
	plain   time.Time // until then HTTP/2 is not tried
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
	each, plain := s.each, time.Now().Before(s.plain)
	s.mu.Unlock()
	if each > 0 || plain {
		return each > 0
	}
	return s.connect(ctx) == nil
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

// RoundTrip implements [http.RoundTripper]. Others may take the places on a connection
// that is made for it, but not on all that may be.
func (s *streams) RoundTrip(req *http.Request) (*http.Response, error) {
	for range s.most + 1 {
		conn, err := s.reserve()
		if err != nil {
			return nil, err
		}
		if conn == nil {
			if err := s.connect(req.Context()); err != nil {
				return nil, err
			}
			continue
		}
		resp, err := conn.RoundTrip(req)
		if err != nil {
			s.sweep()
		}
		if refusal, is := errors.AsType[http2.StreamError](err); is && refusal.Code == http2.ErrCodeRefusedStream {
			s.giveUp()
			return nil, errPlain
		}
		return resp, err
	}
	return nil, errBusy
}

// reserve returns a connection with a place for one request, nil if there is none
// and another may be made.
func (s *streams) reserve() (*http2.ClientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.each == 0 {
		return nil, errPlain
	}
	for _, conn := range s.conns {
		if conn.ReserveNewRequest() {
			return conn, nil
		}
	}
	if s.sweepLocked(); len(s.conns) >= s.most {
		return nil, errBusy
	}
	return nil, nil
}

// sweep forgets connections that are closed.
func (s *streams) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked()
}

func (s *streams) sweepLocked() {
	s.conns = slices.DeleteFunc(s.conns, func(c *http2.ClientConn) bool { return c.State().Closed })
}

// connect makes one more connection, or waits for the one that is being made. One
// that could not be made is not tried again at once.
func (s *streams) connect(ctx context.Context) error {
	s.mu.Lock()
	if time.Since(s.failed) < redialAfter {
		defer s.mu.Unlock()
		return s.why
	}
	made := s.dialing
	if made == nil {
		made = make(chan struct{})
		s.dialing = made
		dialled := context.WithoutCancel(ctx) // others wait for it as well
		crash.Go("consul dial", func() { s.add(dialled, made) }, nil)
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-made:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.failed) < redialAfter {
		return s.why
	}
	return nil
}

// add makes a connection, or notes why there is none, and closes made.
func (s *streams) add(ctx context.Context, made chan struct{}) {
	conn, err := s.open(ctx)
	s.mu.Lock()
	was := s.each
	switch {
	case err == nil:
		s.conns = append(s.conns, conn)
		s.each = int(conn.State().MaxConcurrentStreams)
	case errors.Is(err, errPlain):
		s.each, s.plain = 0, time.Now().Add(plainTime)
		fallthrough
	default:
		s.failed, s.why = time.Now(), err
	}
	other := was != s.each
	s.dialing = nil
	close(made)
	s.mu.Unlock()
	if other {
		s.tell()
	}
}

// open makes a connection. That an answer to a ping came says that it lives, and that
// what Consul has to say about streams was read.
func (s *streams) open(ctx context.Context) (*http2.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTime)
	defer cancel()
	wire, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if secured, is := wire.(*tls.Conn); !is || secured.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
		_ = wire.Close() // it is of no use
		return nil, errPlain
	}
	conn, err := s.over.NewClientConn(wire)
	if err != nil {
		_ = wire.Close() // it is given up
		return nil, err
	}
	if err := conn.Ping(ctx); err != nil {
		_ = conn.Close() // it is given up
		return nil, err
	}
	if conn.State().MaxConcurrentStreams < leastStreams {
		_ = conn.Close() // it is of no use
		return nil, errPlain
	}
	return conn, nil
}

// giveUp does without streams for a while.
func (s *streams) giveUp() {
	s.mu.Lock()
	was := s.each
	s.each, s.plain = 0, time.Now().Add(plainTime)
	for _, conn := range s.conns {
		conn.SetDoNotReuse()
	}
	s.mu.Unlock()
	if was > 0 {
		s.tell()
	}
}

// retire has each connection closed when nobody waits on it any more: it was made by
// other certificates than count now.
func (s *streams) retire() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		conn.SetDoNotReuse()
	}
}
