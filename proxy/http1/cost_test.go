package http1

import (
	"net"
	"testing"
	"unsafe"
)

// lockedClose notes whether a pool was locked while it closed the connection.
type lockedClose struct {
	net.Conn
	pool   *Pool
	closed int
	locked bool
}

func (l *lockedClose) Close() error {
	l.closed++
	if !l.pool.mu.TryLock() {
		l.locked = true
		return nil
	}
	l.pool.mu.Unlock()
	return nil
}

func TestNobodyWaitsForAConnectionThatThePoolCloses(t *testing.T) {
	for name, end := range map[string]func(p *Pool, u *Upstream){
		"one that serves a single request": func(p *Pool, u *Upstream) { u.single = true; p.put(u, new(Conn)) },
		"one more than are kept":           func(p *Pool, u *Upstream) { p.put(u, new(Conn)) },
		"one that another is put before": func(p *Pool, u *Upstream) {
			c := new(Conn)
			u.alone = true
			p.put(u, c)
			other := p.Adopt(&lockedClose{pool: p})
			other.alone = true
			p.put(other, c)
		},
		"one that gives its slot to another": func(p *Pool, u *Upstream) {
			p.cfg.MaxIdle = 1
			p.put(u, new(Conn))
			p.Spare()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPool(PoolConfig{Address: "unused"})
			nc := &lockedClose{pool: p}
			end(p, p.Adopt(nc))
			if nc.closed != 1 || nc.locked {
				t.Errorf("closed %d times, while the pool was locked: %t; want once, and not locked", nc.closed, nc.locked)
			}
		})
	}
}

// Each stream of HTTP/2 has a Conn of its own: a larger one is the next size
// class of the allocator, and garbage for every request.
func TestConnStaysInItsSizeClass(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n > 640 {
		t.Errorf("a Conn has %d bytes, want at most 640", n)
	}
}
