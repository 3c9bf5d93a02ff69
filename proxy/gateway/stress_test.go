package gateway

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lictor/resolver"
)

const stressFor = 4 * time.Second

// Everything at once, for a while: every body arrives as it was sent, what is
// cut is seen to be cut, and nothing is left at the end.
func TestStress(t *testing.T) {
	before := resources()
	t.Run("everything at once", func(t *testing.T) {
		r := newRig(t, nil)
		one, two := httptest.NewServer(http.HandlerFunc(stressBackend)), httptest.NewServer(http.HandlerFunc(stressBackend))
		t.Cleanup(one.Close)
		t.Cleanup(two.Close)
		r.src.set(resolver.Options{}, one.Listener.Addr().String(), two.Listener.Addr().String())
		until := time.Now().Add(stressFor)
		var wg sync.WaitGroup
		var done [len(stressOps)]atomic.Int64
		for range 12 {
			wg.Go(func() {
				s := &stresser{rig: r, t: t}
				defer s.drop()
				for time.Now().Before(until) && !t.Failed() {
					k := rand.IntN(len(stressOps))
					if err := stressOps[k].do(s); err != nil {
						t.Errorf("%s: %v", stressOps[k].name, err)
					}
					done[k].Add(1)
				}
			})
		}
		wg.Wait()
		for k := range stressOps {
			t.Logf("%6d %s", done[k].Load(), stressOps[k].name)
			if done[k].Load() == 0 {
				t.Errorf("%s was never tried", stressOps[k].name)
			}
		}
	})
	settle(t, before)
}

// stressBackend does what the path says: /down/SEED/SIZE, /up and others.
func stressBackend(w http.ResponseWriter, req *http.Request) {
	var seed uint64
	var size int64
	what, _, _ := strings.Cut(req.URL.Path[1:], "/")
	fmt.Sscanf(req.URL.Path, "/"+what+"/%d/%d", &seed, &size)
	switch what {
	case "down":
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.CopyN(w, stuff(seed), size)
	case "chunks":
		for src := stuff(seed); size > 0; size -= 1000 {
			io.CopyN(w, src, min(size, 1000))
			if size%3 == 0 {
				w.(http.Flusher).Flush()
			}
		}
	case "up":
		h := sha256.New()
		n, err := io.Copy(h, req.Body)
		if err == nil {
			fmt.Fprintf(w, "%d %x", n, h.Sum(nil))
		}
	case "early":
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case "hang":
		<-req.Context().Done()
	case "cut":
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.CopyN(w, stuff(seed), size/2)
		panic(http.ErrAbortHandler)
	case "tunnel":
		c, buf, err := w.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(c, giveIt)
			io.Copy(c, buf)
			c.Close()
		}
	}
}

// stresser is one client, with a connection that it keeps as long as it can.
type stresser struct {
	rig *rig
	t   *testing.T
	c   net.Conn
	in  *bufio.Reader
}

func (s *stresser) drop() {
	if s.c != nil {
		s.c.Close()
		s.c = nil
	}
}

func (s *stresser) send(format string, args ...any) error {
	if s.c == nil {
		c, err := net.Dial("tcp", s.rig.addr)
		if err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(30 * time.Second))
		s.c, s.in = c, bufio.NewReader(c)
	}
	_, err := fmt.Fprintf(s.c, format+"\r\n\r\n", args...)
	return err
}

// answer reads an answer and returns its status, size and sum.
func (s *stresser) answer(method string) (status int, sum [32]byte, body string, err error) {
	resp, err := http.ReadResponse(s.in, &http.Request{Method: method})
	if err != nil {
		s.drop()
		return 0, sum, "", err
	}
	h := sha256.New()
	var text strings.Builder
	_, err = io.Copy(io.MultiWriter(h, &limited{&text}), resp.Body)
	if err != nil || resp.Close {
		s.drop()
	}
	return resp.StatusCode, [32]byte(h.Sum(nil)), text.String(), err
}

// limited keeps the beginning of what is written.
type limited struct{ b *strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len() < 200 {
		l.b.Write(p[:min(len(p), 200)])
	}
	return len(p), nil
}

func size() int64 {
	return []int64{0, 1, 100, 5_000, 16_300, 17_000, 70_000, 300_000, 1_000_000}[rand.IntN(9)] + rand.Int64N(20)
}

func (s *stresser) get(what string) error {
	seed, n := rand.Uint64N(1000), size()
	if err := s.send("GET /svc/%s/%d/%d HTTP/1.1\r\nHost: x", what, seed, n); err != nil {
		return err
	}
	status, sum, _, err := s.answer("GET")
	if err != nil || status != 200 || sum != sumOf(seed, int(n)) {
		return fmt.Errorf("%d, %d bytes, right body %v: %w", status, n, sum == sumOf(seed, int(n)), err)
	}
	return nil
}

// upload sends a body in pieces, chunked or with its length, and has its sum checked.
func (s *stresser) upload(chunked bool, fields string, pause time.Duration) error {
	seed, n := rand.Uint64N(1000), size()
	framing := fmt.Sprintf("Content-Length: %d", n)
	if chunked {
		framing = "Transfer-Encoding: chunked"
	}
	if err := s.send("POST /svc/up HTTP/1.1\r\nHost: x\r\n%s%s", fields, framing); err != nil {
		return err
	}
	src := stuff(seed)
	for left := n; left > 0; {
		piece := min(left, 1+rand.Int64N(100_000))
		if chunked {
			fmt.Fprintf(s.c, "%x\r\n", piece)
		}
		if _, err := io.CopyN(s.c, src, piece); err != nil {
			return err
		}
		if chunked {
			io.WriteString(s.c, "\r\n")
		}
		s.rest(pause)
		left -= piece
	}
	if chunked {
		io.WriteString(s.c, "0\r\nX-Trailer: y\r\n\r\n")
	}
	status, _, body, err := s.answer("POST")
	for status == 100 {
		status, _, body, err = s.answer("POST")
	}
	if want := fmt.Sprintf("%d %x", n, sumOf(seed, int(n))); err != nil || status != 200 || body != want {
		return fmt.Errorf("%d %q, want %q: %w", status, body, want, err)
	}
	return nil
}

// rest does nothing for a while, as clients do at moments that nobody chooses.
func (s *stresser) rest(d time.Duration) { time.Sleep(d) }

// leave goes away in the middle.
func (s *stresser) leave(format string, args ...any) error {
	err := s.send(format, args...)
	s.rest(time.Duration(rand.IntN(80)) * time.Millisecond)
	if s.c != nil && rand.IntN(2) == 0 {
		s.c.(*net.TCPConn).SetLinger(0)
	}
	s.drop()
	return err
}

var stressOps = [...]struct {
	name string
	do   func(s *stresser) error
}{
	{"download of known length", func(s *stresser) error { return s.get("down") }},
	{"chunked download", func(s *stresser) error { return s.get("chunks") }},
	{"upload of known length", func(s *stresser) error { return s.upload(false, "", 0) }},
	{"chunked upload", func(s *stresser) error { return s.upload(true, "", 0) }},
	{"slow upload", func(s *stresser) error { return s.upload(rand.IntN(2) == 0, "", 5*time.Millisecond) }},
	{"upload after 100", func(s *stresser) error { return s.upload(rand.IntN(2) == 0, "Expect: 100-continue\r\n", 0) }},
	{"two requests at once", func(s *stresser) error {
		if err := s.send("GET /svc/down/1/1000 HTTP/1.1\r\nHost: x\r\n\r\nGET /svc/chunks/2/2000 HTTP/1.1\r\nHost: x"); err != nil {
			return err
		}
		_, one, _, err1 := s.answer("GET")
		if err1 != nil {
			return err1
		}
		_, two, _, err2 := s.answer("GET")
		if one != sumOf(1, 1000) || two != sumOf(2, 2000) {
			return fmt.Errorf("wrong bodies: %w", err2)
		}
		return err2
	}},
	{"HEAD", func(s *stresser) error {
		if err := s.send("HEAD /svc/down/1/100000 HTTP/1.1\r\nHost: x"); err != nil {
			return err
		}
		status, _, body, err := s.answer("HEAD")
		if status != 200 || body != "" {
			return fmt.Errorf("%d %q: %w", status, body, err)
		}
		return err
	}},
	{"a cut answer", func(s *stresser) error {
		if err := s.send("GET /svc/cut/1/%d HTTP/1.1\r\nHost: x", 100+size()); err != nil {
			return err
		}
		if status, _, _, err := s.answer("GET"); err == nil && status != 502 {
			return errors.New("it looks whole")
		}
		return nil
	}},
	{"an early answer", func(s *stresser) error {
		if err := s.send("POST /svc/early HTTP/1.1\r\nHost: x\r\nContent-Length: 300000"); err != nil {
			return err
		}
		io.CopyN(s.c, zeros{}, 300_000)
		status, _, _, err := s.answer("POST")
		if status != 413 {
			return fmt.Errorf("%d: %w", status, err)
		}
		return nil
	}},
	{"an unknown service", func(s *stresser) error {
		if err := s.send("POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + "GET /svc/down/1/10 HTTP/1.1\r\nHost: x"); err != nil {
			return err
		}
		status, _, _, err := s.answer("POST")
		next, sum, _, err2 := s.answer("GET")
		if status != 503 || next != 200 || sum != sumOf(1, 10) {
			return fmt.Errorf("%d %w, then %d %w", status, err, next, err2)
		}
		return nil
	}},
	{"a tunnel", func(s *stresser) error {
		s.drop()
		if err := s.send("GET /svc/tunnel HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x"); err != nil {
			return err
		}
		defer s.drop()
		if head, err := readHead(s.in); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101") {
			return fmt.Errorf("%q: %w", head, err)
		}
		for range 10 {
			fmt.Fprintf(s.c, "%08d", rand.IntN(1e8))
		}
		s.c.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(s.in); err != nil || len(b) != 80 {
			return fmt.Errorf("%q: %w", b, err)
		}
		return nil
	}},
	{"leaving while the upstream thinks", func(s *stresser) error { return s.leave("GET /svc/hang HTTP/1.1\r\nHost: x") }},
	{"leaving in an upload", func(s *stresser) error {
		return s.leave("POST /svc/up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", rand.IntN(200_000)))
	}},
	{"leaving in a download", func(s *stresser) error { return s.leave("GET /svc/down/1/9000000 HTTP/1.1\r\nHost: x") }},
}
