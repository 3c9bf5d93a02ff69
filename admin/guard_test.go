package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// guess sends a token from an address and returns the answer.
func guess(s *Server, from, token string) *http.Response {
	r := httptest.NewRequest("GET", "/status", nil)
	r.RemoteAddr = from
	r.Header.Set("X-Admin-Token", token)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func TestGuessing(t *testing.T) { // X8
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{Token: "secret"})
		const from, other = "192.0.2.1:1000", "192.0.2.2:1000"
		status := func(from, token string, want int) *http.Response {
			t.Helper()
			resp := guess(s, from, token)
			if resp.StatusCode != want {
				t.Errorf("got %d, want %d", resp.StatusCode, want)
			}
			return resp
		}
		for range freeGuesses - 1 {
			status(from, "wrong", 403)
		}
		status(from, "secret", 200) // a good one makes up for the wrong ones
		for range freeGuesses {
			status(from, "wrong", 403)
		}
		if resp := status(from, "secret", 403); resp.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After: got %q, want 1", resp.Header.Get("Retry-After"))
		}
		status("192.0.2.1:2000", "secret", 403) // another port is no other client
		status(other, "secret", 200)
		time.Sleep(time.Second)
		status(from, "wrong", 403)
		time.Sleep(time.Second)
		status(from, "secret", 403) // twice as long
		time.Sleep(time.Second)
		status(from, "secret", 200)
		for range freeGuesses + 20 {
			status(from, "wrong", 403)
			time.Sleep(2 * maxPenalty / 3)
		}
		time.Sleep(maxPenalty)
		status(from, "secret", 200)
	})
}

func TestGuessersAreBounded(t *testing.T) { // X8
	var b backoff
	now := time.Now()
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 3 * maxGuessers {
		b.failed(addr(i), now.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(b.guessers); n > maxGuessers {
		t.Errorf("%d addresses are remembered, want at most %d", n, maxGuessers)
	}
	if _, kept := b.guessers[addr(3*maxGuessers-1)]; !kept {
		t.Error("the last one is forgotten")
	}
}

func TestClientOf(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[::1]:5": "::1",
		"[2001:db8::1:2:3:4]:5": "2001:db8::", "[2001:db8::9:9:9:9]:5": "2001:db8::", "nonsense": "invalid IP",
	} {
		if got := clientOf(&http.Request{RemoteAddr: from}).String(); got != want {
			t.Errorf("%s: got %s, want %s", from, got, want)
		}
	}
}

// pipeListener hands out the server's end of pipes.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestSlowClientsAreCut(t *testing.T) {
	tests := []struct{ name, sent string }{
		{"nothing is sent", ""},
		{"the head does not end", "POST /take HTTP/1.1\r\nHost: a\r\n"},
		{"the body does not come", "POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, Config{Routes: []Route{{Method: "POST", Path: "/take", Handler: func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.ReadAll(r.Body); err == nil {
						t.Error("the body came to an end")
					}
				}}}})
				ln := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- s.Run(ctx, ln) }()
				client, server := net.Pipe()
				ln.conns <- server
				began := time.Now()
				if _, err := io.WriteString(client, tt.sent); err != nil {
					t.Error(err)
				}
				_, _ = io.Copy(io.Discard, client) // until it is cut
				if took := time.Since(began); took > 2*time.Minute {
					t.Errorf("cut after %s", took)
				}
				client.Close()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestBodiesAreBounded(t *testing.T) {
	s := newServer(t, Config{Routes: []Route{
		{Method: "POST", Path: "/small", Handler: Handle(readAll)},
		{Method: "POST", Path: "/large", MaxBody: 2 << 20, Handler: Handle(readAll)},
	}})
	for path, sizes := range map[string][2]int{"/small": {1 << 20, 1<<20 + 1}, "/large": {2 << 20, 2<<20 + 1}} {
		for i, status := range []int{200, 413} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", path, strings.NewReader(strings.Repeat("x", sizes[i])))
			r.Host = "localhost"
			s.ServeHTTP(w, r)
			if w.Code != status {
				t.Errorf("%s %d: got %d, want %d", path, sizes[i], w.Code, status)
			}
		}
	}
}

func readAll(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, err = io.WriteString(w, strconv.Itoa(len(body)))
	}
	return err
}

func TestACrashIsTold(t *testing.T) {
	var log strings.Builder
	s := newServer(t, Config{Routes: []Route{{Method: "GET", Path: "/crash", Handler: func(http.ResponseWriter, *http.Request) { panic("boom") }}}})
	s.cfg.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
	server := httptest.NewServer(s)
	defer server.Close()
	if resp, err := http.Get(server.URL + "/crash"); err == nil {
		t.Errorf("got %s, want a cut connection", resp.Status)
		resp.Body.Close()
	}
	server.Close() // the log is complete
	if !strings.Contains(log.String(), "[ERROR]") || !strings.Contains(log.String(), "boom") {
		t.Errorf("got %s", log.String())
	}
}
