package http2

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// Where all places are taken, a connection of HTTP/2 that waits for a request makes room
// for the next one, and is told so. One that has a request stays.
func TestIdleConnectionsOfHTTP2MakeRoom(t *testing.T) {
	busy := hello(t, func(l *http1.Limits) { l.Admission.Connections, l.Idle = 2, time.Hour })
	busy.request(1, true, "/hold")
	eventually.True(t, "it is served", func() bool { return busy.h.served.Load() == 1 })
	idle := busy.beside()
	if !idle.alive(1) {
		t.Fatal("the second connection is not served")
	}
	eventually.True(t, "somebody else gets in", func() bool {
		c, err := net.Dial("tcp", busy.nc.RemoteAddr().String())
		if err != nil {
			return false
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		line, err := bufio.NewReader(c).ReadString('\n')
		return err == nil && strings.HasPrefix(line, "HTTP/1.1 200")
	})
	if o := idle.outcome(1 << 30); o.how != "closed" {
		t.Errorf("the idle connection: got %s, want its end", o)
	}
	busy.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	if !busy.alive(3) {
		t.Error("the connection with a request was ended")
	}
}
