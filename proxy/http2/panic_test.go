package http2

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/crash"
	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// TestPanicsEndNoMoreThanTheirStream has handlers panic.
func TestPanicsEndNoMoreThanTheirStream(t *testing.T) {
	quietly(t)
	for _, path := range []string{"/panic", "/panic/half"} {
		t.Run(path, func(t *testing.T) {
			p := hello(t, nil)
			p.request(1, true, "/hold")
			p.request(3, true, path)
			if o := p.outcome(3); o.how != "reset" {
				t.Errorf("got %s %q, want a reset", o, o.body)
			}
			if !p.alive(5) {
				t.Error("the connection does not serve any more")
			}
			p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
			eventually.True(t, "the other stream was served all along", func() bool { return p.h.gone.Load() == 1 })
		})
	}
}

// TestPanicsEndNoMoreThanTheirConnection has the socket of one connection
// panic, as it reads, writes, or is told a deadline.
func TestPanicsEndNoMoreThanTheirConnection(t *testing.T) {
	quietly(t)
	for _, what := range []string{"read", "write", "deadline"} {
		t.Run(what, func(t *testing.T) {
			h := new(handler)
			h1 := http1.NewServer(h, testLimits())
			server := NewServer(h1)
			h1.SetHTTP2(server)
			client, socket := net.Pipe()
			bad := &panicking{Conn: socket}
			ended := make(chan struct{})
			go server.ServeConn(bad, new(http1.Peer), nil, func() { close(ended) })
			go io.Copy(io.Discard, client)
			io.WriteString(client, http2.ClientPreface)
			fr := http2.NewFramer(client, nil)
			fr.WriteSettings()
			bad.what.Store(what)
			for range 3 { // reading is under way when the first one comes
				if fr.WritePing(false, [8]byte{}) != nil {
					break
				}
			}
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Fatal("the connection is served on")
			}
			if _, err := client.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("got %v, want a closed connection", err)
			}
		})
	}
}

// panicking is a socket that panics.
type panicking struct {
	net.Conn
	what atomic.Value
}

func (p *panicking) is(what string) {
	if p.what.Load() == what {
		panic("as the test wants it")
	}
}

func (p *panicking) Read(b []byte) (int, error)  { p.is("read"); return p.Conn.Read(b) }
func (p *panicking) Write(b []byte) (int, error) { p.is("write"); return p.Conn.Write(b) }
func (p *panicking) SetReadDeadline(t time.Time) error {
	p.is("deadline")
	return p.Conn.SetReadDeadline(t)
}
func (p *panicking) SetWriteDeadline(t time.Time) error {
	p.is("deadline")
	return p.Conn.SetWriteDeadline(t)
}

// quietly keeps contained panics out of the output, and wants one to be there.
func quietly(t *testing.T) {
	var told atomic.Int64
	crash.SetReport(func(string, any, []byte) { told.Add(1) })
	t.Cleanup(func() {
		if told.Load() == 0 {
			t.Error("nothing panicked")
		}
	})
}
