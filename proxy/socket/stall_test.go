package socket

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/internal/monotonic"
)

// A peer that reads slowly, but does read, is not cut for taking nothing, though its
// socket is not writable for longer than the limit.
func TestASlowReaderIsNotOneThatTakesNothing(t *testing.T) {
	for name, send := range map[string]func(t *testing.T, a net.Conn, stall time.Duration) error{
		"plain": func(_ *testing.T, a net.Conn, stall time.Duration) error {
			var s Socket
			s.Init(a)
			_, err := s.Write(make([]byte, slowSize), stall)
			return err
		},
		"by TLS": func(t *testing.T, a net.Conn, stall time.Duration) error {
			var s Socket
			s.Init(tls.Server(Ground(a), serverTLS(t)))
			_, err := s.Write(make([]byte, slowSize), stall)
			return err
		},
		"through a pipe of the kernel": func(t *testing.T, a net.Conn, stall time.Duration) error {
			from, to := socketPair(t)
			go to.Write(make([]byte, slowSize))
			var dst, src Socket
			dst.Init(a)
			src.Init(from)
			return Splice(&dst, &src, slowSize, stall, Flow{Arm: func() error { return nil }, Moved: func(int) {}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eventually.AtAPace(t, 4*time.Millisecond, func(p *eventually.Pace) error {
				a, b := socketPair(t)
				a.SetWriteBuffer(512 << 10) // a third of twice that is free only after long
				b.SetReadBuffer(32 << 10)
				var from io.Reader = b
				if name == "by TLS" {
					from = tls.Client(b, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // of the test
				}
				read := make(chan int)
				go func() { read <- readSlowly(from, p) }()
				err := send(t, a, 25*p.Beat)
				if err != nil {
					a.Close()
				}
				if n := <-read; err == nil && n != slowSize {
					t.Errorf("it got %d bytes, want %d", n, slowSize)
				}
				return err
			})
		})
	}
}

// slowSize is how much readSlowly reads.
const slowSize = 2 << 20

// readSlowly reads 4 KiB at each beat for a while, and then the rest.
func readSlowly(from io.Reader, p *eventually.Pace) (read int) {
	for range 125 {
		n, err := io.CopyN(io.Discard, from, 4<<10)
		if read += int(n); err != nil {
			return read // it was cut
		}
		p.Await()
	}
	n, _ := io.CopyN(io.Discard, from, int64(slowSize-read))
	return read + int(n)
}

// The deadline of writes that run on a ground is that of many: it may pass when nobody
// waits, or only just does.
func TestAPassedDeadlineCutsNobodyWhoHadNoTimeToTake(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int
		by   time.Duration // when the deadline passes
	}{
		{"it passed before a write began", 1, -time.Second},
		{"it passed before a write began that has to wait", 1 << 20, -time.Second},
		{"it passes when a write has just begun to wait", 1 << 20, 20 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := socketPair(t)
			a.SetWriteBuffer(32 << 10)
			b.SetReadBuffer(32 << 10)
			g := newGround(a)
			g.stall = time.Minute
			g.since = monotonic.Now() - int64(2*time.Minute) // when a former write began to wait
			g.TCPConn.SetWriteDeadline(time.Now().Add(tt.by))
			read := make(chan int64)
			time.AfterFunc(100*time.Millisecond, func() {
				n, _ := io.Copy(io.Discard, b)
				read <- n
			})
			if _, err := g.Write(make([]byte, tt.size)); err != nil {
				t.Errorf("cut, though its minute is not over: %v", err)
			}
			a.Close()
			if n := <-read; n != int64(tt.size) {
				t.Errorf("it got %d bytes, want %d", n, tt.size)
			}
		})
	}
}

// One that takes nothing is.
func TestAReaderThatTakesNothingIsCut(t *testing.T) {
	a, _ := socketPair(t)
	var s Socket
	s.Init(a)
	if _, err := s.Write(make([]byte, 64<<20), 50*time.Millisecond); !IsTimeout(err) {
		t.Errorf("got %v, want the end of its time", err)
	}
}

// serverTLS is a configuration with some certificate.
func serverTLS(t *testing.T) *tls.Config {
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	return &tls.Config{Certificates: s.TLS.Certificates} //nolint:gosec // of the test
}
