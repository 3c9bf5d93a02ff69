package rabbitmq

import (
	"bufio"
	"net"
	"sync"
)

// gather is a connection that can hold back what is written to it, so that many
// messages leave in one system call, and that reads as many. The library writes each
// by itself, and reads a few.
type gather struct {
	net.Conn
	in *bufio.Reader // of Conn

	mu   sync.Mutex // guards what follows, and the order of writes
	held bool
	buf  []byte
}

// gatherMost is how many bytes are held back, or read at once, at most.
const gatherMost = 64 << 10

func newGather(nc net.Conn) *gather {
	return &gather{Conn: nc, in: bufio.NewReaderSize(nc, gatherMost)}
}

// Read implements net.Conn.
func (g *gather) Read(p []byte) (int, error) { return g.in.Read(p) }

// hold has writes gathered until release.
func (g *gather) hold() {
	g.mu.Lock()
	g.held = true
	g.mu.Unlock()
}

// release writes what was gathered.
func (g *gather) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = false
	return g.flush()
}

// Write implements net.Conn.
func (g *gather) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held && len(g.buf)+len(p) <= gatherMost {
		g.buf = append(g.buf, p...)
		return len(p), nil
	}
	if err := g.flush(); err != nil {
		return 0, err
	}
	return g.Conn.Write(p)
}

func (g *gather) flush() error {
	if len(g.buf) == 0 {
		return nil
	}
	_, err := g.Conn.Write(g.buf)
	g.buf = g.buf[:0]
	return err
}
