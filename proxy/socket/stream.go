package socket

import "net"

// Stream is a net.Conn that is one request's part of a connection which
// carries many. What is read from it is the text of an HTTP/1.1 request, what
// is written to it that of the answer, each in one piece up to the end of its
// head; so one path applies the rules to every version of HTTP.
type Stream interface {
	net.Conn
	// WaitGone waits until the peer gave the stream up or the read deadline
	// passes, and reports whether the peer is gone.
	WaitGone() bool
	// Gone reports, without waiting, whether the peer gave the stream up.
	Gone() bool
	// Full reports whether a write would wait for the peer now.
	Full() bool
	// Abort ends the stream at once, whatever the peer and those who read or
	// write it are doing. Any goroutine may call it while the stream is served.
	Abort()
}

// readOver is ReadLent where bytes do not come straight from a socket. With
// TLS nobody outside crypto/tls knows whether bytes are there: so one is
// waited for, and the rest of its record is read without waiting.
func (s *Socket) readOver(l Lender) (int, error) {
	if s.Stream != nil {
		n, err := s.Conn.Read(l.Lend())
		if n == 0 {
			l.GiveBack()
		}
		return n, err
	}
	n, err := s.Conn.Read(s.one[:])
	if n == 0 {
		return 0, err
	}
	p := l.Lend()
	p[0] = s.one[0]
	if len(p) == 1 {
		return 1, nil
	}
	s.Conn.SetReadDeadline(past)
	more, _ := s.Conn.Read(p[1:]) // an error that stays comes again with the next read
	s.Woken()
	return 1 + more, nil
}
