package http2

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
	"lictor/proxy/socket"
)

// acceptor counts the connections that it accepts.
type acceptor struct {
	net.Listener
	accepted atomic.Int64
}

func (a *acceptor) Accept() (net.Conn, error) {
	nc, err := a.Listener.Accept()
	if err == nil {
		a.accepted.Add(1)
	}
	return nc, err
}

// TestClosedClientServesLateRequestsAndKeepsNothing has requests come after
// Close, as of a request that chose an instance just before it was retired.
func TestClosedClientServesLateRequestsAndKeepsNothing(t *testing.T) {
	h1 := http1.NewServer(new(handler), testLimits())
	h1.SetHTTP2(NewServer(h1))
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &acceptor{Listener: nl}
	served := make(chan error)
	go func() { served <- h1.Serve(l, new(http1.Entrance)) }()
	t.Cleanup(func() {
		l.Close()
		_ = h1.Shutdown(context.Background())
		<-served
	})
	slots := new(socket.Slots)
	slots.SetMost(4)
	c := NewClient(ClientConfig{Address: nl.Addr().String(), Idle: time.Hour, Patience: 10 * time.Second, Slots: slots})
	c.Close()
	for i := range int64(8) {
		nc, err := c.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		io.WriteString(nc, "GET /large/10 HTTP/1.1\r\nHost: a\r\n\r\n")
		if answer, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Errorf("request %d got %q, %v", i, answer, err)
		}
		nc.Close()
		if n := l.accepted.Load(); n != i+1 {
			t.Errorf("%d connections for %d requests", n, i+1)
		}
		if active, idle := c.Counts(); active+idle != 0 {
			t.Errorf("it keeps %d connections in use and %d idle", active, idle)
		}
	}
	eventually.True(t, "all slots are given back", func() bool { return slots.Open() == 0 })
}
