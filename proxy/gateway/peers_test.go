package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"lictor/internal/eventually"
)

// A head that drips ends at the header limit, however its bytes are spread,
// and the client can read why.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *Settings) { s.Header = 200 * time.Millisecond })
	r.recorder()
	for name, first := range map[string]string{
		"in the request line": "GET /svc/",
		"in a field":          "GET /svc/ HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"behind a request":    "GET /svc/ HTTP/1.1\r\nHost: x\r\n\r\nGET /svc/",
		"behind empty lines":  "\r\n\r\nGET /svc/",
	} {
		t.Run(name, func(t *testing.T) {
			c := r.dial()
			c.send(first)
			began := time.Now()
			stop := make(chan struct{})
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						io.WriteString(c.Conn, "y")
					}
				}
			})
			defer close(stop)
			if strings.Contains(first, "\r\n\r\nGET") && first[0] == 'G' {
				c.answerOr(t, "GET")
			}
			resp, body := c.answerOr(t, "GET")
			if took := time.Since(began); resp.StatusCode != 408 || !resp.Close || took > soon {
				t.Errorf("got %d %s after %v", resp.StatusCode, body, took)
			}
		})
	}
}

// A connection that says nothing is closed at the idle limit, without a word.
func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"at first": "", "after a request": get + "\r\n", "after empty lines": "\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			eventually.AtAPace(t, 20*time.Millisecond, func(p *eventually.Pace) error {
				r := newRig(t, func(s *Settings) { s.Idle = 5 * p.Beat })
				r.recorder()
				c := r.dial()
				c.send(first)
				if strings.HasPrefix(first, "GET") {
					_, err := readHead(c.in)
					p.Await() // may have been so late that it was idle before
					if err != nil {
						return err
					}
					_, _ = c.in.Discard(len("GET /a"))
				}
				if b, err := io.ReadAll(c.in); len(b) > 0 || err != nil {
					return fmt.Errorf("got %q %w", b, err)
				}
				return nil
			})
		})
	}
}

// A client that stops in its body is answered 408 at the stream limit, and not
// 504: the upstream is not to blame. The upstream has no whole request.
func TestClientStopsInItsBody(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"of known length": "Content-Length: 100\r\n\r\nabc",
		"chunked":         te + "\r\n3\r\nabc\r\n",
		"large":           "Content-Length: 1000000\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(s *Settings) { s.Timeout, s.Stream = 100*time.Millisecond, 400*time.Millisecond })
			rec := r.recorder()
			c := r.dial()
			c.send(post + head)
			if resp, body := c.answerOr(t, "POST"); resp.StatusCode != 408 || !strings.Contains(body, "bad_request") || !resp.Close {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			eventually.True(t, "the upstream request broke", func() bool { all := rec.take(); return len(all) == 1 && all[0].broken })
		})
	}
}

// An upload with pauses that are longer than the time limit for an answer goes on.
func TestUploadWithPauses(t *testing.T) {
	t.Parallel()
	eventually.AtAPace(t, 20*time.Millisecond, func(p *eventually.Pace) error {
		r := newRig(t, func(s *Settings) { s.Timeout = 3 * p.Beat })
		r.recorder()
		c := r.dial()
		c.send(post + te + "\r\n")
		for range 3 {
			for range 6 { // longer than the timeout, which is not for uploads
				p.Await()
			}
			c.send("2\r\nab\r\n")
		}
		c.send("0\r\n\r\n")
		resp, body := c.answerOr(t, "POST")
		p.Await() // was the answer late because of the machine?
		if resp.StatusCode != 200 || body != "POST /a ababab" {
			return fmt.Errorf("got %d %s", resp.StatusCode, body)
		}
		return nil
	})
}

// A body that was announced and does not come keeps nobody waiting for long:
// not after a refusal, which it cannot change.
func TestBodyOfARefusedRequestDoesNotCome(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.dial()
	c.send("POST /none/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
	if resp, _ := c.answerOr(t, "POST"); resp.StatusCode != 503 || resp.Close {
		t.Errorf("got %d close=%v", resp.StatusCode, resp.Close)
	}
	began := time.Now()
	if _, err := c.in.ReadByte(); err != io.EOF || time.Since(began) > soon {
		t.Errorf("%v after %v, want EOF", err, time.Since(began))
	}
}

// A client that reads nothing of a large answer is cut at the stream limit, and
// so is its upstream.
func TestClientReadsNothing(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"of known length": "Content-Length: 1000000000\r\n\r\n",
		"chunked":         te + "\r\n3b9aca00\r\n",
		"until the end":   "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(s *Settings) { s.Stream = 200 * time.Millisecond })
			cut := make(chan int64, 1)
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
				n, err := io.Copy(c, zeros{})
				if err != nil {
					cut <- n
				}
			})
			c := r.dial()
			c.send(get + "\r\n")
			select {
			case <-cut:
			case <-time.After(soon):
				t.Fatal("the upstream goes on sending")
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A client that ends its side after its request gets its answer, unless the
// upstream is slow: then it cannot be told from one that left.
func TestHalfClosedClient(t *testing.T) {
	r := newRig(t, nil)
	r.recorder()
	eventually.True(t, "an answer that was not slow", func() bool {
		c := r.dial()
		defer c.Close()
		c.send(get + "\r\n")
		c.Conn.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c.in)
		return err == nil && bytes.HasSuffix(b, []byte("GET /a"))
	})
}

// D4: a client that leaves ends what the upstream does for it, within a second.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 100<<10)
	for _, tt := range []struct{ name, request, answer string }{
		{"while the upstream thinks", get + "\r\n", ""},
		{"in a small upload", post + "Content-Length: 100\r\n\r\nabc", ""},
		{"in a large upload", post + "Content-Length: 10000000\r\n\r\n" + big, ""},
		{"in a chunked upload", post + te + "\r\n3\r\nabc\r\n", ""},
		{"in the silence of events", get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + te + "\r\n5\r\nhello\r\n"},
		{"in the silence of a body until the end", get + "\r\n", "HTTP/1.1 200 OK\r\n\r\nhello"},
		{"in a small download", get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello"},
		{"in a large download", get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + big},
		{"in a tunnel", "GET /svc/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			gone := make(chan struct{})
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, tt.answer)
				io.Copy(io.Discard, in)
				close(gone)
			})
			c := r.dial()
			c.send(tt.request)
			if tt.answer != "" {
				readHead(c.in)
			}
			r.oneLasts()
			c.Close()
			select {
			case <-gone:
			case <-time.After(soon):
				t.Error("the upstream request goes on")
			}
		})
	}
}

// 2,000 connections that are idle, or send their head byte by byte, do not keep
// a normal client waiting.
func TestIdleAndSlowConnectionsKeepNobodyWaiting(t *testing.T) {
	r := newRig(t, nil)
	r.recorder()
	for i := range 2000 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		switch i % 4 {
		case 1:
			io.WriteString(c, "G")
		case 2:
			io.WriteString(c, post+"Content-Length: 10\r\n\r\nabc")
		case 3:
			io.WriteString(c, get+"\r\n") // answered, then idle
		}
	}
	c := r.dial()
	for range 50 {
		began := time.Now()
		c.send(get + "\r\n")
		if resp, body := c.answerOr(t, "GET"); resp.StatusCode != 200 || body != "GET /a" {
			t.Fatalf("got %d %q", resp.StatusCode, body)
		}
		if took := time.Since(began); took > soon {
			t.Errorf("a request took %v", took)
		}
	}
}

// D20: every byte of a stream of events goes on as it comes.
func TestEventsByteByByte(t *testing.T) {
	for name, head := range map[string]string{"chunked": te, "until the end": ""} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			more := make(chan struct{})
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"+head+"\r\n")
				for i := range more {
					_ = i
					if head == "" {
						io.WriteString(c, "x")
					} else {
						io.WriteString(c, "1\r\nx\r\n")
					}
				}
				if head != "" {
					io.WriteString(c, "0\r\n\r\n")
				}
			})
			c := r.dial()
			c.send(get + "\r\n")
			resp, err := http.ReadResponse(c.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			one := make([]byte, 1)
			for i := range 50 {
				more <- struct{}{}
				if _, err := io.ReadFull(resp.Body, one); err != nil || one[0] != 'x' {
					t.Fatalf("byte %d: %q %v", i, one, err)
				}
			}
			close(more)
			if n, err := resp.Body.Read(one); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d %v", n, err)
			}
		})
	}
}

// An early answer reaches a client that first sends all of a large body.
func TestEarlyAnswerToAClientThatSendsAllFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	answered := make(chan struct{})
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
		<-answered
	})
	defer close(answered)
	c := r.dial()
	c.send(fmt.Sprintf("%sContent-Length: %d\r\n\r\n", post, 8<<20))
	if n, err := c.Write(make([]byte, 8<<20)); err != nil {
		t.Fatalf("after %d bytes: %v", n, err)
	}
	if resp, body := c.answerOr(t, "POST"); resp.StatusCode != 403 || body != "no" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}
