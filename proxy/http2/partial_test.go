package http2

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/proxy/http1"
)

// reads counts the reads of a connection, and ends one that reads without an end.
type reads struct {
	net.Conn
	n int
}

const tooManyReads = 1000

func (r *reads) Read(p []byte) (int, error) {
	if r.n++; r.n > tooManyReads {
		return 0, io.EOF
	}
	return r.Conn.Read(p)
}

// serveInBubble serves a client by pipes, in the bubble of the test, and returns the
// server's side and a channel that closes when the connection is over. The client
// reads all that comes.
func serveInBubble(t *testing.T) (p *peer, r *reads, over chan struct{}) {
	t.Helper()
	ours, theirs := net.Pipe()
	p = &peer{t: t, nc: theirs, h: new(handler), data: new(atomic.Int64)}
	p.h1 = http1.NewServer(p.h, testLimits())
	p.server = NewServer(p.h1)
	p.fr = http2.NewFramer(theirs, nil)
	r, over = &reads{Conn: ours}, make(chan struct{})
	go p.server.ServeConn(r, new(http1.Peer), nil, func() { close(over) })
	p.block.Reset()
	p.enc = hpack.NewEncoder(&p.block)
	in := http2.NewFramer(nil, theirs)
	go func() {
		for {
			f, err := in.ReadFrame()
			if err != nil {
				return
			}
			if d, ok := f.(*http2.DataFrame); ok {
				p.data.Add(int64(len(d.Data())))
			}
		}
	}()
	p.greet()
	synctest.Wait()
	return p, r, over
}

// The time for a frame is its own: where one always comes in parts, because the client
// sends as fast as its link takes, none of them is slow.
func TestFramesThatComeInPartsAreNotTakenForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, over := serveInBubble(t)
		p.request(1, true, "/hold") // so that the connection is not idle
		var text bytes.Buffer
		out := http2.NewFramer(&text, nil)
		const frames = 20
		for range frames {
			out.WriteWindowUpdate(0, 1)
		}
		b := text.Bytes()
		for len(b) > 8 { // never a whole frame at once, and never the end of one alone
			p.nc.Write(b[:8])
			b = b[8:]
			time.Sleep(time.Second)
			synctest.Wait()
		}
		p.nc.Write(b)
		synctest.Wait()
		select {
		case <-over:
			t.Errorf("the connection ended, though no frame took longer than 3 s of %s", p.h1.Limits().Header)
		default:
		}
		p.nc.Close()
		<-over
	})
}
