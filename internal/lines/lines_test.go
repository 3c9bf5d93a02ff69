package lines

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is an output that takes nothing until it is freed.
type stuck struct {
	free   chan struct{}
	mu     sync.Mutex
	got    bytes.Buffer
	closed bool
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.free
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func (s *stuck) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *stuck) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

func open() *stuck {
	s := &stuck{free: make(chan struct{})}
	close(s.free)
	return s
}

// Nobody waits for an output that takes nothing; what is kept is bounded, the
// rest counted, and all that was kept comes out in order.
func TestOutputThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{free: make(chan struct{})}
		w := New(out, 1000, 0)
		for i := range 1000 {
			fmt.Fprintf(w, "line %d\n", i)
			synctest.Wait()
		}
		if err := w.Flush(time.Second); !errors.Is(err, ErrSlow) {
			t.Errorf("flushed: %v", err)
		}
		kept := 1000 - int(w.Dropped())
		if kept < 100 || kept > 200 {
			t.Errorf("%d lines are kept", kept)
		}
		close(out.free)
		if err := w.Flush(time.Second); err != nil {
			t.Error(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.text(), "\n"), "\n")
		if len(lines) != kept {
			t.Errorf("%d lines came out, %d were kept", len(lines), kept)
		}
		for i, line := range lines {
			if line != fmt.Sprint("line ", i) {
				t.Fatalf("line %d is %q", i, line)
			}
		}
	})
}

// Lines that may wait are gathered, and written in time all the same.
func TestGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := open()
		w := New(out, 1<<20, 200*time.Millisecond)
		fmt.Fprint(w, "a\n")
		time.Sleep(100 * time.Millisecond)
		fmt.Fprint(w, "b\n")
		synctest.Wait()
		if got := out.text(); got != "" {
			t.Errorf("too early: %q", got)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := out.text(); got != "a\nb\n" {
			t.Errorf("in time: %q", got)
		}
		fmt.Fprint(w, strings.Repeat("x", gathered)+"\n")
		synctest.Wait()
		if got := len(out.text()); got != gathered+5 {
			t.Errorf("much at once: %d bytes", got)
		}
		fmt.Fprint(w, "c\n")
		if err := w.Flush(time.Second); err != nil || !strings.HasSuffix(out.text(), "c\n") {
			t.Errorf("flushed: %v", err)
		}
	})
}

// An output that is replaced gets what came before, if it takes it, and is
// closed; one that is stuck holds up nothing.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, every := range []time.Duration{0, 200 * time.Millisecond} {
			first, second := open(), open()
			w := New(first, 1<<20, every)
			fmt.Fprint(w, "a\n")
			w.Replace(second, time.Second)
			fmt.Fprint(w, "b\n")
			if err := w.Flush(time.Second); err != nil || first.text() != "a\n" || second.text() != "b\n" || !first.closed {
				t.Errorf("every %v: %v, %q and %q, closed %v", every, err, first.text(), second.text(), first.closed)
			}
			never := &stuck{free: make(chan struct{})}
			w.Replace(never, time.Second)
			fmt.Fprint(w, "lost with it\n")
			_ = w.Flush(time.Second)
			third := open()
			w.Replace(third, time.Second)
			fmt.Fprint(w, "c\n")
			if err := w.Flush(time.Second); err != nil || third.text() != "c\n" {
				t.Errorf("behind one that is stuck: %v, %q", err, third.text())
			}
			close(never.free)
			synctest.Wait()
			if !never.closed {
				t.Error("it is never closed")
			}
		}
	})
}

// slow is an output that shows what it is given, and takes it when told to.
type slow struct {
	began chan string
	take  chan struct{}
	under int // writes at this moment
	mu    sync.Mutex
	most  int
}

func (s *slow) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under += n
	s.most = max(s.most, s.under)
}

func (s *slow) Write(p []byte) (int, error) {
	s.count(1)
	defer s.count(-1)
	s.began <- string(p)
	<-s.take
	return len(p), nil
}

// Lines that come while others are written gather again, are written by one at a
// time, and whoever has them flushed is not told that they are written before they are.
func TestLinesThatComeDuringAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 200 * time.Millisecond
		out := &slow{began: make(chan string, 9), take: make(chan struct{})}
		w := New(out, 1<<20, every)
		fmt.Fprint(w, "a\n")
		if got := <-out.began; got != "a\n" {
			t.Fatalf("first %q", got)
		}
		fmt.Fprint(w, "b\n")
		out.take <- struct{}{}
		written := time.Now()
		fmt.Fprint(w, "c\n")
		if got := <-out.began; got != "b\nc\n" || time.Since(written) != every {
			t.Errorf("%q after %v, want both after %v", got, time.Since(written), every)
		}
		fmt.Fprint(w, "d\n")
		time.Sleep(2 * every)
		if err := w.Flush(time.Second); !errors.Is(err, ErrSlow) {
			t.Errorf("flushed what is not written: %v", err)
		}
		go func() {
			for range out.began {
				out.take <- struct{}{}
			}
		}()
		out.take <- struct{}{}
		if err := w.Flush(time.Second); err != nil || out.most != 1 {
			t.Errorf("flushed: %v; %d wrote at once", err, out.most)
		}
		close(out.began)
	})
}

// Who is about to write when the output is replaced closes it, also if they have not
// begun.
func TestAnOutputThatIsReplacedBeforeAnythingIsWrittenIsClosed(t *testing.T) {
	out := open()
	w := New(out, 1000, 0)
	w.writing = true // as begin has it until its goroutine runs
	w.Replace(open(), 0)
	if w.drain(0, out); !out.closed {
		t.Error("it is never closed")
	}
}

func TestManyAtOnce(t *testing.T) {
	out := open()
	w := New(out, 1<<20, time.Millisecond)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				fmt.Fprint(w, "a line\n")
			}
		})
	}
	wg.Wait()
	if err := w.Flush(10 * time.Second); err != nil || w.Dropped() != 0 {
		t.Error(err, w.Dropped())
	}
	if n := strings.Count(out.text(), "a line\n"); n != 8000 {
		t.Errorf("%d lines", n)
	}
}
