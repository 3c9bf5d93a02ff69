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

	"lictor/internal/crash"
	"lictor/internal/secret"
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
		s := newServer(t, Config{Access: full("secret")})
		status := func(from, token string, want int) *http.Response {
			t.Helper()
			resp := guess(s, from, token)
			if resp.StatusCode != want {
				t.Errorf("%s with %s: got %d, want %d", from, token, resp.StatusCode, want)
			}
			return resp
		}
		// Whoever has the right token is let in, also from the same address.
		const from, near, far = "192.0.2.1:1000", "192.0.2.200:5", "192.0.3.1:1000"
		for range freeGuesses {
			status(from, "wrong", 403)
		}
		resp := status(from, "wrong", 429)
		if resp.Header.Get("Retry-After") != "1" || resp.Header.Get("Connection") != "close" {
			t.Errorf("got %v, want to come back in 1 s on another connection", resp.Header)
		}
		wantError(t, resp, 429, "wrong_token")
		status(from, "secret", 200)
		status(near, "wrong", 429) // another address of the network is no other client
		status(near, "secret", 200)
		status(far, "wrong", 403)
		time.Sleep(time.Second)
		if again := status(near, "wrong", 429).Header.Get("Retry-After"); again != "2" {
			t.Errorf("got %s s, want twice as long", again)
		}
		time.Sleep(time.Second)
		if left := status(near, "wrong", 429).Header.Get("Retry-After"); left != "1" {
			t.Errorf("got %s s, want no longer wait for asking in between", left)
		}
		for range freeGuesses + 20 {
			status(from, "wrong", 429)
			status(from, "secret", 200)
			time.Sleep(maxPenalty)
		}
		time.Sleep(forgetAfter + time.Minute)
		status(from, "wrong", 403)
	})
}

// TestGuessingFromEverywhere sends wrong tokens from more networks than one
// could tell apart.
func TestGuessingFromEverywhere(t *testing.T) { // X8
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{Access: full("secret")})
		slowed := 0
		for i := range 2 * freeOfAll {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 5).String()
			if guess(s, from, "wrong").StatusCode == 429 {
				slowed++
			}
			if got := guess(s, from, "secret").StatusCode; got != 200 {
				t.Fatalf("the right token got %d", got)
			}
		}
		if slowed != freeOfAll {
			t.Errorf("%d of %d were slowed, want %d", slowed, 2*freeOfAll, freeOfAll)
		}
	})
}

func TestGuessersAreBounded(t *testing.T) { // X8
	var b backoff
	now := time.Now()
	network := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
	}
	for i := range 3 * maxGuessers {
		b.failed(network(i), now.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(b.guessers); n > maxGuessers {
		t.Errorf("%d networks are remembered, want at most %d", n, maxGuessers)
	}
	for _, p := range []netip.Prefix{network(3*maxGuessers - 1), everybody} {
		if _, kept := b.guessers[p]; !kept {
			t.Errorf("%s is forgotten", p)
		}
	}
}

func TestNetworkOf(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.0/24", "[::ffff:192.0.2.1]:5": "192.0.2.0/24", "[::1]:5": "::/64",
		"[2001:db8::1:2:3:4]:5": "2001:db8::/64", "[2001:db8::9:9:9:9%eth0]:5": "2001:db8::/64", "@": "::/0",
	} {
		if got := networkOf(&http.Request{RemoteAddr: from}).String(); got != want {
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

func TestACrashEndsItsRequestOnly(t *testing.T) {
	var log strings.Builder
	s := newServer(t, Config{Routes: []Route{{Method: "GET", Path: "/crash", Handler: func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("half of it", 10_000))
		panic("boom")
	}}}})
	s.cfg.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
	before := crash.Counts()["admin request"]
	server := httptest.NewServer(s)
	defer server.Close()
	resp, err := http.Get(server.URL + "/crash")
	if err == nil {
		if _, err = io.ReadAll(resp.Body); err == nil {
			t.Error("the answer looks whole")
		}
		resp.Body.Close()
	}
	if resp, err := http.Get(server.URL + "/healthz"); err != nil || resp.StatusCode != 200 {
		t.Errorf("the next request got %v %v", resp, err)
	}
	server.Close() // the log is complete
	if n := crash.Counts()["admin request"]; n != before+1 || !strings.Contains(log.String(), "[ERROR]") {
		t.Errorf("counted %d, logged %s", n-before, log.String())
	}
}

// full is a token that may all; "" = there is none.
func full(token string) []Access {
	if token == "" {
		return nil
	}
	return []Access{{Name: "admin", Token: secret.New(token), All: true}}
}
