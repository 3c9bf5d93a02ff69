package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// RFC 9110 7.8: a request that wants another protocol may have a body, and the
// new protocol begins behind it. Docker and Podman attach so.
func TestUpgradeWithBody(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 64<<10) // does not come with the head
	tests := []struct{ name, framing, sent, body string }{
		{"with a length", "Content-Length: 16\r\n", `{"Detach":false}`, `{"Detach":false}`},
		{"in chunks", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello"},
		{"that is large", fmt.Sprintf("Content-Length: %d\r\n", len(large)), large, large},
		{"that is empty", "Content-Length: 0\r\n", "", ""},
	}
	for _, tt := range tests {
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, early answer %v", tt.name, early), func(t *testing.T) {
				r := newRig(t, nil)
				r.rawBackend(func(c net.Conn, in *bufio.Reader) {
					head, err := readHead(in)
					if err != nil || !strings.Contains(head, "Connection: Upgrade\r\n") || !strings.Contains(head, "Upgrade: tcp\r\n") {
						t.Errorf("the backend got %q, %v", head, err)
						return
					}
					const switched = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
					if early {
						io.WriteString(c, switched)
					}
					if body, err := readBody(in, head); err != nil || body != tt.body {
						t.Errorf("the backend got a body of %d bytes, %v", len(body), err)
						return
					}
					if !early {
						io.WriteString(c, switched)
					}
					io.Copy(c, in)
				})
				c := r.dial()
				c.send("POST /svc/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" + tt.framing + "\r\n" + tt.sent + "first ")
				if head, err := readHead(c.in); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
					t.Fatalf("got %q, %v", head, err)
				}
				c.send("second")
				got := make([]byte, len("first second"))
				if _, err := io.ReadFull(c.in, got); err != nil || string(got) != "first second" {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
	}
}

// readBody reads the body that a head speaks of.
func readBody(in *bufio.Reader, head string) (string, error) {
	var n int
	if strings.Contains(head, "Transfer-Encoding: chunked\r\n") {
		var b strings.Builder
		for {
			if _, err := fmt.Fscanf(in, "%x\r\n", &n); err != nil {
				return "", err
			}
			p := make([]byte, n+2)
			if _, err := io.ReadFull(in, p); err != nil {
				return "", err
			}
			if b.Write(p[:n]); n == 0 {
				return b.String(), nil
			}
		}
	}
	_, after, _ := strings.Cut(head, "Content-Length: ")
	fmt.Sscanf(after, "%d", &n)
	p := make([]byte, n)
	_, err := io.ReadFull(in, p)
	return string(p), err
}

// What follows an upgrade that is not agreed to is the next request, and is
// decided on as such; what a backend switches to unasked is refused.
func TestUpgradeWithBodySmugglesNothing(t *testing.T) {
	r := newRig(t, nil)
	heads := make(chan string, 4)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		for {
			head, err := readHead(in)
			if err != nil {
				return
			}
			heads <- head
			if _, err := readBody(in, head); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	c := r.dial()
	c.send("POST /svc/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 4\r\n\r\nbodyGET /nosuch/b HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, _ := c.answer("POST"); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
	if resp, _ := c.answer("GET"); resp.StatusCode != 503 {
		t.Errorf("the second request got %d", resp.StatusCode)
	}
	if head := <-heads; len(heads) > 0 || !strings.HasPrefix(head, "POST /a ") {
		t.Errorf("the backend got %q and %d more", head, len(heads))
	}
	for _, upgrade := range []string{"h2c", "tcp, h2c", "H2C/1"} {
		c := r.dial()
		c.send("POST /svc/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + upgrade + "\r\nContent-Length: 4\r\n\r\nbody")
		c.answer("POST")
		if head := <-heads; strings.Contains(head, "Upgrade") {
			t.Errorf("%s went on: %q", upgrade, head)
		}
	}
}
