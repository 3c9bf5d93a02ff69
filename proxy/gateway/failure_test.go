package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lictor/resolver"
)

// An answer that is cut short ends visibly short.
func TestCutAnswerIsVisible(t *testing.T) {
	for name, head := range map[string]string{
		"of known length": "Content-Length: 10\r\n\r\nabc",
		"chunked":         "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"mid chunk":       "Transfer-Encoding: chunked\r\n\r\n30\r\nabc",
		"large":           "Content-Length: 1000000\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
			})
			c := r.dial()
			c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(c.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("read %q with a clean end", b)
			}
		})
	}
}

// X4, D5: the statuses of what cannot be served.
func TestFailuresOfTheUpstream(t *testing.T) {
	tests := []struct {
		name   string
		answer string // "" = never
		status int
		reason string
	}{
		{"no answer in time", "", 504, "timeout"},
		{"closed without an answer", "close", 502, "bad_gateway"},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", 502, "bad_gateway"},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-", 502, "bad_gateway"},
		{"ambiguous framing", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, "bad_gateway"},
		{"an upgrade nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502, "bad_gateway"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(s *Settings) {
				if tt.answer == "" {
					s.Timeout = 300 * time.Millisecond
				}
			})
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				switch tt.answer {
				case "":
					in.ReadByte()
				case "close":
				default:
					io.WriteString(c, tt.answer)
				}
			})
			resp, body := r.get("/svc/")
			if resp.StatusCode != tt.status || !strings.Contains(body, `"reason": "`+tt.reason+`"`) {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			if resp.Header.Get("Retry-After") != "" {
				t.Error("Retry-After on a request that may have been acted on")
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		r := newRig(t, nil)
		l := listen(t)
		l.Close()
		r.src.set(resolver.Options{}, l.Addr().String())
		resp, body := r.get("/svc/")
		if resp.StatusCode != 503 || !strings.Contains(body, "unreachable") || resp.Header.Get("Retry-After") != "1" {
			t.Errorf("got %d %s", resp.StatusCode, body)
		}
	})
}

// D10, B15: another instance is tried where nothing can have been acted on.
func TestRetries(t *testing.T) {
	r := newRig(t, nil)
	live := r.backend(func(w http.ResponseWriter, req *http.Request) { io.Copy(w, req.Body) })
	dead := listen(t)
	dead.Close()
	r.src.set(resolver.Options{}, dead.Addr().String(), live.Listener.Addr().String())
	for i := range 20 {
		c := r.dial()
		c.send("POST /svc/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
		if resp, body := c.answer("POST"); resp.StatusCode != 200 || body != "hello" {
			t.Fatalf("request %d: %d %q", i, resp.StatusCode, body)
		}
	}
}

// A kept-alive connection that the upstream closed costs no request, safe or not.
func TestStaleConnections(t *testing.T) {
	r := newRig(t, nil)
	closed := make(chan struct{})
	r.rawBackend(func(c net.Conn, in *bufio.Reader) { // one request per connection, without saying so
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		c.Close()
		closed <- struct{}{}
	})
	c := r.dial()
	for i := range 20 {
		c.send("POST /svc/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
		if resp, _ := c.answer("POST"); resp.StatusCode != 200 {
			t.Fatalf("request %d: %d", i, resp.StatusCode)
		}
		<-closed
	}
}
