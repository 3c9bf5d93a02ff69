package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
)

// X5: every answer of lictor itself is JSON with message, reason and request
// id; the id stands in the access log, which has one line for every request,
// also for those whose head could not be read.
func TestRefusals(t *testing.T) {
	big := strings.Repeat("x", 100)
	fields := strings.Repeat("X: y\r\n", 260)
	tests := []struct {
		name, request string
		status        int
		reason        string
		goesOn        bool // the connection does
	}{
		{"a body past max_body by its length", post + "Content-Length: 101\r\n\r\n" + big + "x", 413, "body_too_large", true},
		{"a huge body past max_body", post + "Content-Length: 100000000\r\n\r\n", 413, "body_too_large", false},
		{"a body past max_body that waits to be asked for", post + "Content-Length: 101\r\nExpect: 100-continue\r\n\r\n", 413, "body_too_large", false},
		{"a chunked body past max_body", post + te + "\r\n64\r\n" + big + "\r\n1\r\nx\r\n0\r\n\r\n", 413, "body_too_large", false},
		{"a body of max_body", post + "Content-Length: 100\r\n\r\n" + big, 200, "", true},
		{"a chunked body of max_body", post + te + "\r\n64\r\n" + big + "\r\n0\r\n\r\n", 200, "", true},
		{"a head past the limit", get + "X: " + strings.Repeat("y", 5000) + "\r\n\r\n", 431, "bad_request", false},
		{"a head past the limit without an end", get + strings.Repeat("X: y\r\n", 1000), 431, "bad_request", false},
		{"too many fields", get + fields + "\r\n", 431, "bad_request", false},
		{"a long request line", "GET /svc/" + strings.Repeat("y", 5000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 414, "bad_request", false},
		{"no head at all", "\x00\x01\x02", 400, "bad_request", false},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", 400, "bad_request", false},
		{"half a head, then the end", "GET /svc/", 400, "bad_request", false},
		{"no service", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "no_service", true},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, "no_service", true},
		{"a bad path", "GET /svc/%0 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_path", true},
		{"an unknown service", "GET /none HTTP/1.1\r\nHost: x\r\n\r\n", 503, "unknown_service", true},
		{"an unknown service by HTTP/1.0", "GET /none HTTP/1.0\r\n\r\n", 503, "unknown_service", false},
	}
	book := newLogBook(t, "json")
	r := newRigWith(t, func(s *Settings) { s.MaxBody, s.MaxHeader = 100, 4<<10 }, func(c *Config) { c.AccessLog = book.log })
	rec := r.recorder()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial()
			defer c.Close()
			c.send(tt.request)
			if strings.HasPrefix(tt.name, "half") {
				c.Conn.(interface{ CloseWrite() error }).CloseWrite()
			}
			resp, body := c.answerOr(t, "GET")
			if resp.StatusCode != tt.status || resp.Close == tt.goesOn {
				t.Fatalf("got %d close=%v %s", resp.StatusCode, resp.Close, body)
			}
			l := line{}
			if lines := book.until(t, 1); len(lines) != 1 {
				t.Fatalf("lines %q", lines)
			} else if err := json.Unmarshal([]byte(lines[0]), &l); err != nil || l.Status != tt.status || l.Reason != tt.reason {
				t.Errorf("logged %+v %v", l, err)
			}
			if tt.reason == "" {
				return
			}
			var e struct {
				Message, Reason string
				RequestID       string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.Message == "" || e.Reason != tt.reason || e.RequestID != l.ID || l.ID == "" {
				t.Errorf("got %s %v, logged %+v", body, err, l)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/json; charset=utf-8" {
				t.Errorf("Content-Type is %q", ct)
			}
			if tt.goesOn {
				c.send(get + "\r\n")
				if resp, body := c.answerOr(t, "GET"); resp.StatusCode != 200 || body != "GET /a" {
					t.Errorf("next: %d %s", resp.StatusCode, body)
				}
				book.until(t, 1)
			} else if _, err := c.in.ReadByte(); err != io.EOF {
				t.Errorf("after the refusal: %v, want EOF", err)
			}
		})
	}
	for _, s := range rec.take() {
		if !s.broken && len(s.body) > 100 {
			t.Errorf("the backend read %d bytes", len(s.body))
		}
	}
}

// max_body holds for a body that comes bit by bit, of either framing.
func TestMaxBodyOfAStream(t *testing.T) {
	r := newRig(t, func(s *Settings) { s.MaxBody = 200_000 })
	rec := r.recorder()
	c := r.dial()
	c.send(post + te + "\r\n")
	chunk := "2710\r\n" + strings.Repeat("x", 10_000) + "\r\n"
	pace := time.Tick(time.Millisecond)
	for range 21 {
		c.send(chunk)
		<-pace
	}
	if resp, body := c.answerOr(t, "POST"); resp.StatusCode != 413 || !resp.Close {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	eventually.True(t, "the upstream request broke", func() bool {
		all := rec.take()
		return len(all) == 1 && all[0].broken
	})
	c = r.dial()
	c.send(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", post, 200_000, strings.Repeat("x", 200_000)))
	if resp, body := c.answerOr(t, "POST"); resp.StatusCode != http.StatusOK || len(body) != 200_000+len("POST /a ") {
		t.Errorf("got %d, %d bytes", resp.StatusCode, len(body))
	}
}

// A HEAD request is refused without a body.
func TestRefusalOfHead(t *testing.T) {
	r := newRig(t, nil)
	r.recorder()
	c := r.dial()
	c.send("HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n" + get + "\r\n")
	if resp, _ := c.answerOr(t, "HEAD"); resp.StatusCode != 503 || resp.ContentLength <= 0 {
		t.Errorf("got %d, length %d", resp.StatusCode, resp.ContentLength)
	}
	if resp, body := c.answerOr(t, "GET"); resp.StatusCode != 200 || body != "GET /a" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}
