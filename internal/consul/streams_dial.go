package consul

//lint:file-ignore SA1019 as in streams.go (docs/decisions/0008)

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/crash"
)

const (
	openTime   = 2 * dialTime // for a connection of streams, its first ping included
	maxStreams = 10_000       // that are counted on of what a connection grants
)

// dialLocked has one more connection made, if none is on its way and there may be more,
// and returns what is closed when it is worth to look again. Right behind one that could
// not be made none is tried. It is the one place that begins a connection. s.mu is held.
func (s *streams) dialLocked(ctx context.Context) (soon <-chan struct{}, err error) {
	if s.dialing != nil {
		return s.dialing, nil
	}
	if time.Since(s.failed) < redialAfter {
		return nil, s.why
	}
	had := s.each
	s.sweepLocked()
	if s.each == 0 && had > 0 {
		return nil, errPlain
	}
	if len(s.conns) >= s.most {
		if soon, err := s.makeRoomLocked(); soon != nil || err != nil {
			return soon, err
		}
	}
	s.dialing = make(chan struct{})
	ctx = context.WithoutCancel(ctx) // others wait for it as well
	crash.Go("consul dial", func() { s.dialled(s.open(ctx)) }, func() { s.dialled(nil, ErrPanic) })
	return s.dialing, nil
}

// dialled takes over a connection, or notes why there is none.
func (s *streams) dialled(conn *streamConn, err error) {
	s.update(func() {
		defer close(s.dialing)
		s.dialing = nil
		s.failed, s.why = time.Now(), err
		switch {
		case err == nil:
			s.failed = time.Time{}
			s.conns = append(s.conns, conn)
			grants := int(min(conn.State().MaxConcurrentStreams, maxStreams))
			if s.each == 0 || time.Now().After(s.modest) {
				s.each = grants
			}
			s.each = min(s.each, grants)
		case errors.Is(err, errPlain):
			s.plainLocked()
		case errors.Is(err, errBroken):
			s.vainLocked()
		}
	})
}

// open makes a connection. That an answer to a ping came says that it lives, and that
// what Consul has to say about streams was read.
func (s *streams) open(ctx context.Context) (*streamConn, error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
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
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	if err := conn.Ping(ctx); err != nil {
		_ = conn.Close() // it is given up
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	if conn.State().MaxConcurrentStreams < leastStreams {
		_ = conn.Close() // it is of no use
		return nil, errPlain
	}
	return &streamConn{ClientConn: conn, made: time.Now()}, nil
}

// makeRoomLocked makes room for another connection where there are as many as may be, or
// says why there is none. A connection that takes no more requests, as the peer said so or
// the certificates are others by now, is closed, and what waits on it, which may be for
// many minutes, is sent again. That goes one after the other: soon is closed when it is the
// turn of the next. What carries less than it promised is not counted on any more. s.mu is
// held.
func (s *streams) makeRoomLocked() (soon <-chan struct{}, err error) {
	var least *streamConn // of those that take no more, with the fewest requests
	carry, fewest := 0, 0
	for _, conn := range s.conns {
		state := conn.State()
		if !state.Closing {
			carry += int(min(state.MaxConcurrentStreams, maxStreams))
			continue
		}
		waiting := state.StreamsActive + state.StreamsReserved
		carry += waiting
		if least == nil || waiting < fewest {
			least, fewest = conn, waiting
		}
	}
	switch wait := redialAfter - time.Since(s.cutAt); {
	case s.each > 0 && carry < leastStreams*s.most:
		s.plainLocked()
		return nil, errPlain
	case least == nil:
		s.each, s.modest = min(s.each, carry/s.most), time.Now().Add(plainTime)
		return nil, errBusy
	case wait > 0:
		later := make(chan struct{})
		time.AfterFunc(wait, func() { close(later) })
		return later, nil
	}
	s.cutAt, least.cut = time.Now(), true
	s.conns = slices.DeleteFunc(s.conns, func(c *streamConn) bool { return c == least })
	closeSoon(least)
	return nil, nil
}

// sweepLocked forgets connections that are closed, and those that take no more requests
// and have none. s.mu is held.
func (s *streams) sweepLocked() {
	vain := 0
	s.conns = slices.DeleteFunc(s.conns, func(c *streamConn) bool {
		state := c.State()
		idle := state.Closing && state.StreamsActive+state.StreamsReserved+state.StreamsPending == 0
		if !state.Closed && !idle {
			return false
		}
		if !c.answered && !c.retired && time.Since(c.made) < briefTime {
			vain++
		}
		if !state.Closed {
			closeSoon(c)
		}
		return true
	})
	for range vain {
		s.vainLocked()
	}
}

// closeSoon closes a connection, which may take a moment, while somebody holds a lock.
func closeSoon(c *streamConn) {
	crash.Go("consul dial", func() { _ = c.Close() }, nil) // it is given up
}

// vainLocked notes that a connection or a stream came to nothing. Several in a row are
// no accident. s.mu is held.
func (s *streams) vainLocked() {
	if s.vain++; s.vain >= mostVain {
		s.plainLocked()
	}
}

// plainLocked does without streams for a while. s.mu is held.
func (s *streams) plainLocked() {
	s.each, s.vain, s.plain = 0, 0, time.Now().Add(plainTime)
	s.retireLocked()
}

// retire has each connection closed when nobody waits on it any more, or its place is
// needed: it was made by other certificates than count now.
func (s *streams) retire() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retireLocked()
}

func (s *streams) retireLocked() {
	for _, conn := range s.conns {
		conn.retired = true
		conn.SetDoNotReuse()
	}
}
