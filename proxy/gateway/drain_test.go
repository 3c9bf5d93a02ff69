package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
)

// X16: what is idle ends at once, what is under way ends within the drain time.
func TestDrain(t *testing.T) {
	before := resources()
	t.Run("idle connections end at once", func(t *testing.T) {
		r := newRig(t, nil)
		r.recorder()
		fresh, used := r.dial(), r.dial()
		used.send(get + "\r\n")
		used.answer("GET")
		fresh.send(get + "\r\n")
		fresh.answer("GET") // so that both were accepted
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > soon {
			t.Errorf("took %v", took)
		}
		for _, c := range []*client{fresh, used} {
			if _, err := c.in.ReadByte(); err != io.EOF {
				t.Errorf("%v, want EOF", err)
			}
		}
	})
	t.Run("the first request of a connection comes late and is served", func(t *testing.T) {
		r := newRig(t, nil)
		r.recorder()
		c := r.dial()
		eventually.True(t, "it was accepted", func() bool { return r.gw.server.Open() == 1 })
		stopped := make(chan struct{})
		go func() { r.stop(); close(stopped) }()
		eventually.True(t, "the gateway stops", r.gw.server.Draining)
		// A client that is slow to write: ten times what used connections get.
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the connection does not wait for its first request: %v", err)
		}
		c.SetReadDeadline(time.Now().Add(soon))
		c.send(get + "\r\n")
		if resp, _ := c.answer("GET"); resp == nil || resp.StatusCode != 200 || !resp.Close {
			t.Errorf("got %+v", resp)
		}
		<-stopped
	})
	t.Run("a request under way ends, and so does its connection", func(t *testing.T) {
		r := newRig(t, nil)
		asked, go_ := make(chan struct{}), make(chan struct{})
		r.rawBackend(func(c net.Conn, in *bufio.Reader) {
			readHead(in)
			close(asked)
			<-go_
			io.WriteString(c, ok2)
		})
		c := r.dial()
		c.send(get + "\r\n")
		<-asked
		stopped := make(chan struct{})
		go func() { r.stop(); close(stopped) }()
		eventually.True(t, "the listener is closed", func() bool {
			nc, err := net.Dial("tcp", r.addr)
			if err == nil {
				nc.Close()
			}
			return err != nil
		})
		eventually.True(t, "the gateway stops", r.gw.server.Draining)
		close(go_)
		if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "ok" || !resp.Close {
			t.Errorf("got %d %q close=%v", resp.StatusCode, body, resp.Close)
		}
		if _, err := c.in.ReadByte(); err != io.EOF {
			t.Errorf("%v, want EOF", err)
		}
		c.Close()
		<-stopped
	})
	for name, tt := range map[string]struct{ request, answer string }{
		"an upstream that thinks":  {get + "\r\n", ""},
		"a silent stream":          {get + "\r\n", "HTTP/1.1 200 OK\r\n" + te + "\r\n"},
		"a stuck upload":           {post + "Content-Length: 1000000\r\n\r\nabc", ""},
		"a tunnel":                 {askTunnel, giveIt},
		"a client that reads not":  {get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 1<<20)},
		"a head that is not whole": {"GET /svc/", ""},
		"a body that is discarded": {"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", ""},
	} {
		t.Run("cut at the end of the drain time: "+name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(s *Settings) { s.Drain = 100 * time.Millisecond })
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, tt.answer)
				io.Copy(io.Discard, in)
			})
			c := r.dial()
			c.send(tt.request)
			time.Sleep(50 * time.Millisecond) // until it is stuck, each at another place
			began := time.Now()
			r.stop()
			if took := time.Since(began); took > soon {
				t.Errorf("took %v", took)
			}
			c.SetDeadline(time.Now().Add(soon))
			if _, err := io.Copy(io.Discard, c.in); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Error("the client's connection is still open")
			}
		})
	}
	t.Cleanup(func() { settle(t, before) })
}

// usage is what must come back to where it was.
type usage struct{ goroutines, files int }

func resources() usage {
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	files, _ := os.ReadDir("/proc/self/fd")
	return usage{runtime.NumGoroutine(), len(files)}
}

// spare is what may stay: pipes are kept for later.
const spare = 2 * 64

// settle waits until what is used is what was used before.
func settle(t *testing.T, before usage) {
	t.Helper()
	eventually.True(t, "what was used is given back", func() bool {
		now := resources()
		return now.goroutines <= before.goroutines && now.files <= before.files+spare
	})
}

// Every way in which an exchange can end gives back what it took.
func TestNothingLeaks(t *testing.T) {
	before := resources()
	t.Run("after all that can happen", func(t *testing.T) {
		r := newRig(t, func(s *Settings) { s.Timeout, s.Stream = 100*time.Millisecond, 150*time.Millisecond })
		r.rawBackend(func(c net.Conn, in *bufio.Reader) {
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				answerByPath(c, req)
			}
		})
		for range 3 {
			for _, path := range []string{"ok", "big", "cut", "silent", "stream", "tunnel", "reset", "twice"} {
				for _, request := range []string{get, post + "Content-Length: 5\r\n\r\nhello", post + te + "\r\n5\r\nhello\r\n", post + "Content-Length: 200000\r\n\r\nhello"} {
					c := r.dial()
					request = strings.Replace(request, "/svc/a", "/svc/"+path, 1)
					if strings.HasPrefix(request, "GET") {
						request += "Connection: upgrade\r\nUpgrade: x\r\n\r\n"
					}
					c.send(request)
					c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
					c.in.Peek(1)
					c.Close()
				}
			}
		}
	})
	settle(t, before)
}

func answerByPath(c net.Conn, req *http.Request) {
	switch req.URL.Path {
	case "/ok":
		io.WriteString(c, ok2)
	case "/big":
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 1_000_000))
	case "/cut":
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 1000))
		c.Close()
	case "/stream":
		io.WriteString(c, "HTTP/1.1 200 OK\r\n"+te+"\r\n1\r\nx\r\n")
	case "/tunnel":
		io.WriteString(c, giveIt)
		io.Copy(c, c)
	case "/reset":
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	case "/twice":
		io.WriteString(c, ok2+ok2)
	}
}
