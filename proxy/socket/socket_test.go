package socket

import (
	"bytes"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"lictor/internal/eventually"
)

// socketPair is two connected TCP sockets.
func socketPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ca, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cb, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ca.Close(); cb.Close() })
	return ca.(*net.TCPConn), cb.(*net.TCPConn)
}

func newSock(t testing.TB, nc net.Conn) *Socket {
	t.Helper()
	s := new(Socket)
	s.Init(nc)
	return s
}

// A deadline that passes before the request could be written, as on a busy
// machine, does not leave it unwritten.
func TestExchangeWritesThoughItsDeadlinePassed(t *testing.T) {
	a, b := socketPair(t)
	s := newSock(t, a)
	late(s)
	if _, err := s.Exchange([]byte("hello"), make([]byte, 10), time.Minute); !IsTimeout(err) {
		t.Errorf("got %v, want a deadline error", err)
	}
	b.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, 5)
	if _, err := io.ReadFull(b, got); err != nil || string(got) != "hello" {
		t.Errorf("the peer read %q %v", got, err)
	}
	io.WriteString(b, "world")
	s.Woken()
	s.ReadBy(time.Minute)
	if n, err := s.Read(got); err != nil || string(got[:n]) != "world" {
		t.Errorf("got %q %v", got, err)
	}
}

// late gives s a deadline and lets it pass, which nothing tells before a read.
func late(s *Socket) {
	s.ReadBy(time.Nanosecond)
	time.Sleep(5 * time.Millisecond)
}

// The same, where the peer closed meanwhile: nothing was sent.
func TestExchangeThatIsLateAndStale(t *testing.T) {
	a, b := socketPair(t)
	s := newSock(t, a)
	b.Close()
	eventually.True(t, "the end has arrived", s.Stale)
	for _, deadline := range []func(){func() { late(s) }, func() { s.ReadBy(time.Second) }} {
		s.Woken()
		deadline()
		if _, err := s.Exchange([]byte("hello"), make([]byte, 10), time.Second); err != ErrStale {
			t.Errorf("got %v, want ErrStale", err)
		}
	}
}

// A request that does not fit into the socket's buffer is written whole before
// the answer is read.
func TestExchangeOfMuch(t *testing.T) {
	a, b := socketPair(t)
	a.SetWriteBuffer(4 << 10)
	s := newSock(t, a)
	big := bytes.Repeat([]byte("x"), 1<<20)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if n, err := io.CopyN(io.Discard, b, int64(len(big))); err != nil {
			t.Errorf("the peer read %d bytes: %v", n, err)
		}
		io.WriteString(b, "done")
	})
	in := make([]byte, 10)
	s.ReadBy(time.Minute)
	if n, err := s.Exchange(big, in, time.Minute); err != nil || string(in[:n]) != "done" {
		t.Errorf("got %q %v", in[:n], err)
	}
}

// halt ends what waits and what comes later, whatever deadline is set after it.
func TestHalt(t *testing.T) {
	for i := range 200 {
		a, _ := socketPair(t)
		s := newSock(t, a)
		var wg sync.WaitGroup
		wg.Go(func() {
			big := make([]byte, 1<<20)
			for {
				if _, err := s.Write(big, time.Minute); err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			for !s.halted.Load() {
				s.ReadBy(time.Minute)
				s.Read(make([]byte, 1))
				s.Woken()
			}
		})
		for range i % 20 * 20 { // any moment
			runtime.Gosched()
		}
		s.Halt()
		wg.Wait()
		if _, err := s.Write([]byte("x"), time.Minute); err == nil {
			if _, err := s.Read(make([]byte, 1)); !IsTimeout(err) {
				t.Errorf("a read after halt: %v", err)
			}
		}
		a.Close()
	}
}

// A wake is undone by the next deadline.
func TestWake(t *testing.T) {
	a, b := socketPair(t)
	s := newSock(t, a)
	s.ReadBy(time.Minute)
	s.Wake()
	if _, err := s.Read(make([]byte, 1)); !IsTimeout(err) || s.Expired() {
		t.Errorf("got %v, expired %v", err, s.Expired())
	}
	s.Woken()
	io.WriteString(b, "x")
	s.ReadBy(time.Minute)
	if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// Deadlines come in time, or up to a fifth early, and no earlier.
func TestDeadlines(t *testing.T) {
	a, _ := socketPair(t)
	s := newSock(t, a)
	pace := time.Tick(time.Millisecond)
	for range 20 {
		s.ReadBy(50 * time.Millisecond)
		<-pace
	}
	began := time.Now()
	s.ReadBy(50 * time.Millisecond)
	_, err := s.Read(make([]byte, 1))
	if took := time.Since(began); !IsTimeout(err) || took < 39*time.Millisecond || !s.Expired() {
		t.Errorf("%v after %v", err, took)
	}
}

// A copy between sockets that fails leaves no bytes in a pipe for the next one.
func TestPipesAreCleanAfterErrors(t *testing.T) {
	flowing := Flow{Arm: func() error { return nil }, Lapsed: func() error { return os.ErrDeadlineExceeded }, Moved: func(int) {}}
	for i := range 20 {
		src, feed := socketPair(t)
		dst, sink := socketPair(t)
		go func() { feed.Write(bytes.Repeat([]byte("old"), 200_000)) }()
		if i%2 == 0 {
			sink.SetLinger(0)
			sink.Close() // the write fails with bytes in the pipe
		} else {
			dst.SetWriteBuffer(4 << 10)
			time.AfterFunc(5*time.Millisecond, func() { dst.SetWriteDeadline(past) })
		}
		if err := Splice(newSock(t, dst), newSock(t, src), 600_000, 50*time.Millisecond, flowing); err == nil {
			t.Error("no error")
		}
		src2, feed2 := socketPair(t)
		dst2, sink2 := socketPair(t)
		want := bytes.Repeat([]byte("new"), 40_000)
		go func() { feed2.Write(want); feed2.Close() }()
		got := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(sink2)
			got <- b
		}()
		err := Splice(newSock(t, dst2), newSock(t, src2), int64(len(want)), time.Minute, flowing)
		dst2.Close()
		if b := <-got; err != nil || !bytes.Equal(b, want) {
			t.Fatalf("%v, and %d bytes that are not what was sent", err, len(b))
		}
	}
}

// A source that ends before all bytes came is told as its end.
func TestSpliceOfACutBody(t *testing.T) {
	src, feed := socketPair(t)
	dst, _ := socketPair(t)
	io.WriteString(feed, "abc")
	feed.Close()
	err := Splice(newSock(t, dst), newSock(t, src), 10, time.Second,
		Flow{Arm: func() error { return nil }, Lapsed: func() error { return os.ErrDeadlineExceeded }, Moved: func(int) {}})
	if err != io.EOF {
		t.Errorf("got %v", err)
	}
}
