package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"lictor/resolver"
)

// TestSloppyAnswersPass has an instance answer in ways that leave one meaning
// only, though they are not quite what the standard says; and in some that are.
func TestSloppyAnswersPass(t *testing.T) {
	many := strings.Repeat("Set-Cookie: a=b\r\n", 600)
	tests := []struct{ name, answer, body string }{
		{"blanks before a colon", "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length\t: 5\r\n\r\nhello", "hello"},
		{"lines that end with LF", "HTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\n\nhello", "hello"},
		{"identity as a coding", "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		{"a list of equal lengths", "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5, 5\r\n\r\nhello", "hello"},
		{"zeros before a length", "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 0000000000000000000000005\r\n\r\nhello", "hello"},
		{"padded chunk sizes", "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5   \r\nhello\r\n0 \t \r\n\r\n", "hello"},
		{"a padded chunk size with an extension", "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5 ;a=b\r\nhello\r\n0\r\n\r\n", "hello"},
		{"many fields", "HTTP/1.1 200 OK\r\nX-A: b\r\n" + many + "Content-Length: 5\r\n\r\nhello", "hello"},
		{"a status of no standard", "HTTP/1.1 999 Request denied\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello", "hello"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				for {
					if _, err := readHead(in); err != nil {
						return
					}
					if half := len(tt.answer) / 3; true { // in two pieces
						io.WriteString(c, tt.answer[:half])
						io.WriteString(c, tt.answer[half:])
					}
				}
			})
			c := r.dial()
			for range 2 {
				c.send(get + "\r\n")
				resp, body := c.answer("GET")
				if want := tt.answer[9:12]; fmt.Sprint(resp.StatusCode) != want || body != tt.body || resp.Header.Get("X-A") != "b" {
					t.Errorf("got %d %q with X-A %q", resp.StatusCode, body, resp.Header.Get("X-A"))
				}
			}
		})
	}
}

// TestSmuggledLinesDoNotPass has an instance send heads in which a line end is
// more likely a client's than its own.
func TestSmuggledLinesDoNotPass(t *testing.T) {
	for name, answer := range map[string]string{
		"LF in a field":     "HTTP/1.1 200 OK\r\nX-A: b\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
		"LF at the end":     "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 0\n\n",
		"CR LF once":        "HTTP/1.1 200 OK\nX-A: b\r\nContent-Length: 0\n\n",
		"lengths differ":    "HTTP/1.1 200 OK\r\nContent-Length: 0, 1\r\n\r\n",
		"a blank in a name": "HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				if _, err := readHead(in); err == nil {
					io.WriteString(c, answer)
				}
			})
			if resp, _ := r.get("/svc/"); resp.StatusCode != 502 || resp.Header.Get("Set-Cookie") != "" {
				t.Errorf("got %d", resp.StatusCode)
			}
		})
	}
}

// TestTrailersAreAsLargeAsAHead sends 40 KiB of trailers behind an answer, by
// HTTP/1.1 and HTTP/2, to clients of both.
func TestTrailersAreAsLargeAsAHead(t *testing.T) {
	long := strings.Repeat("e", 40<<10)
	for _, protocol := range []resolver.Protocol{resolver.HTTP1, resolver.H2C} {
		r := newRig(t, nil)
		r.h2cBackend(protocol, func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Trailer", "Grpc-Message")
			io.WriteString(w, "a message")
			w.Header().Set("Grpc-Message", long)
		})
		c := r.dial()
		c.send(get + "TE: trailers\r\nConnection: close\r\n\r\n") // net/http reads no such trailers
		if text, err := io.ReadAll(c.in); err != nil || !strings.Contains(string(text), "a message") || !strings.Contains(string(text), long) {
			t.Errorf("%v: by HTTP/1.1 got %d bytes and %v", protocol, len(text), err)
		}
		resp, err := r.h2cClient().Get("http://" + r.addr + "/svc/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "a message" || resp.Trailer.Get("Grpc-Message") != long {
			t.Errorf("%v: by HTTP/2 got %q %v and trailers of %d", protocol, body, err, len(resp.Trailer.Get("Grpc-Message")))
		}
	}
}
