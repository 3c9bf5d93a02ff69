package http1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"lictor/internal/crash"
	"lictor/internal/eventually"
	"lictor/proxy/http1/message"
)

// panicker is a handler that panics where the path says so.
type panicker struct{ *forwarder }

func (p panicker) Serve(c *Conn) {
	switch c.Request().Target {
	case "/before":
		panic("as the test wants it")
	case "/half":
		_ = c.Answer([]byte("HTTP/1.0 200 OK\r\n\r\nhalf of it"))
		panic("as the test wants it")
	}
	_ = c.Answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
}

func (p panicker) Refuse(*Conn, *message.ParseError) { panic("as the test wants it") }

// TestPanicsCutTheirConnection has handlers panic: the client sees a broken
// connection, not the end of an answer, and others are served.
func TestPanicsCutTheirConnection(t *testing.T) {
	var told atomic.Int64
	crash.SetReport(func(string, any, []byte) { told.Add(1) })
	s := NewServer(panicker{}, testLimits)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l, new(Entrance)) }()
	t.Cleanup(func() { l.Close(); _ = s.Shutdown(t.Context()) })
	other := dialTest(t, l.Addr().String())
	in := bufio.NewReader(other)
	wantAnswer(t, other, in, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	for i, request := range []string{
		"GET /before HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /half HTTP/1.0\r\n\r\n",
		"not a request\r\n\r\n",
	} {
		c := dialTest(t, l.Addr().String())
		io.WriteString(c, request)
		got, err := io.ReadAll(c)
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q: got %q, %v, want a reset", request, got, err)
		}
		if n := told.Load(); n != int64(i+1) {
			t.Errorf("%q: %d panics were told", request, n)
		}
	}
	wantAnswer(t, other, in, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually.True(t, "one connection is open", func() bool { return s.Open() == 1 }) // the client may see the end first
}
