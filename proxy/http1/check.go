package http1

import (
	"os"
	"time"

	"lictor/proxy/socket"
)

// Address is where the pool's connections go.
func (p *Pool) Address() string { return p.cfg.Address }

// Check finds out whether the instance works, by a connection and a request of
// its own that acts on nothing (RFC 9110 9.3.7). Whatever comes of it shows
// that somebody is there; only silence does not.
func (p *Pool) Check(timeout time.Duration) error {
	u, err := p.dial(timeout, nil)
	if err != nil {
		return err
	}
	defer u.Discard()
	nc := u.s.Conn
	nc.SetDeadline(time.Now().Add(timeout))
	_, err = nc.Write([]byte("OPTIONS * HTTP/1.1\r\nHost: " + p.cfg.Address + "\r\nUser-Agent: lictor\r\nConnection: close\r\n\r\n"))
	if err == nil {
		_, err = nc.Read(make([]byte, 1))
	}
	if socket.IsTimeout(err) {
		return os.ErrDeadlineExceeded
	}
	return nil
}
