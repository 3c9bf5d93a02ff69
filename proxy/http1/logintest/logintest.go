// Package logintest is a server whose logins belong to connections, as those of
// NTLM do, for tests.
package logintest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Server answers with who is logged in on the connection: the name behind the
// scheme of the last Authorization on it. Without one it is nobody.
type Server struct {
	Addr string
	// Challenge is the field that an answer to nobody has, with status Status.
	Challenge string
	Status    int

	open atomic.Int64
}

// Start serves until the test ends.
func Start(t testing.TB, s *Server) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.Addr = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.open.Add(1)
			go s.serve(c)
		}
	}()
	return s
}

// Open is the number of connections.
func (s *Server) Open() int { return int(s.open.Load()) }

func (s *Server) serve(c net.Conn) {
	defer s.open.Add(-1)
	defer c.Close()
	who := ""
	for in := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		if _, name, ok := strings.Cut(strings.TrimSpace(req.Header.Get("Authorization")), " "); ok {
			who = strings.TrimSpace(name)
		}
		switch {
		case who == "" && s.Status != 0:
			fmt.Fprintf(c, "HTTP/1.1 %d No\r\n%s\r\nContent-Length: 6\r\n\r\nnobody", s.Status, s.Challenge)
		case who == "":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnobody")
		default:
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(who), who)
		}
	}
}
