package http2

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"lictor/proxy/http1"
	"lictor/proxy/socket"
)

// teller answers with the target that came, whatever it is.
type teller struct{ handler }

func (h *teller) Serve(c *http1.Conn) {
	req := c.Request()
	text := req.Method + " " + req.Target + " " + req.Host + "\n"
	for _, f := range req.Fields {
		text += f.Name + ": " + f.Value + "\n"
	}
	reply(c, "200 OK", []byte(text))
}

// echo returns a client of an instance that answers with the head that it got.
func echo(t *testing.T) *Client {
	t.Helper()
	h1 := http1.NewServer(new(teller), testLimits())
	h1.SetHTTP2(NewServer(h1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- h1.Serve(l, new(http1.Entrance)) }()
	slots := new(socket.Slots)
	slots.SetMost(4)
	c := NewClient(ClientConfig{Address: l.Addr().String(), Idle: time.Hour, Patience: 10 * time.Second, Slots: slots})
	t.Cleanup(func() {
		c.Close()
		l.Close()
		_ = h1.Shutdown(context.Background())
		<-served
	})
	return c
}

// send returns the answer to a head.
func send(t *testing.T, c *Client, head string) string {
	t.Helper()
	nc, err := c.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, head)
	answer, err := io.ReadAll(nc)
	if err != nil {
		t.Errorf("%q: %v", head, err)
	}
	return string(answer)
}

// TestATargetComesToAnInstanceAsItIs: what was decided on is what is forwarded (D22),
// also where a library would take the beginning of a path for a host.
func TestATargetComesToAnInstanceAsItIs(t *testing.T) {
	c := echo(t)
	for _, target := range []string{
		"/", "/a?b", "/a?", "*", "//", "//a", "///a//?b", "//a%2Fb", `//a%2Fb"c`, "//%2e%2e/\u00e9", "//a|b%3fc?d%2f|", "//a?", "//a%20b[", "//u@h/p", "//[::1]:1/p", "//h:x/p",
		"/http://h/a", "//h.test/a", "//h.test//a", "//http://h.test/a",
	} {
		method := "GET"
		if target == "*" {
			method = "OPTIONS"
		}
		if got := send(t, c, method+" "+target+" HTTP/1.1\r\nHost: h.test\r\n\r\n"); !strings.Contains(got, "\r\n\r\n"+method+" "+target+" h.test\n") {
			t.Errorf("%s came as %q", target, got)
		}
	}
}

// TestFieldsOfOneNameKeepTheirOrder, in whatever case each is written (RFC 9110 5.3).
func TestFieldsOfOneNameKeepTheirOrder(t *testing.T) {
	c := echo(t)
	for range 8 {
		got := send(t, c, "GET / HTTP/1.1\r\nHost: h.test\r\nX-Seen: a\r\nx-seen: b\r\nX-SEEN: c\r\n\r\n")
		if !strings.Contains(got, "x-seen: a\nx-seen: b\nx-seen: c\n") {
			t.Fatalf("they came as %q", got)
		}
	}
}
