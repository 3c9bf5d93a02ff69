package socket

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// A peer that reads slowly, but does read, is not cut for taking nothing, though its
// socket is not writable for longer than the limit.
func TestASlowReaderIsNotOneThatTakesNothing(t *testing.T) {
	const stall, size = 500 * time.Millisecond, 2 << 20
	body := make([]byte, size)
	tests := []struct {
		name string
		send func(t *testing.T, a net.Conn) error
	}{
		{"plain", func(_ *testing.T, a net.Conn) error {
			var s Socket
			s.Init(a)
			_, err := s.Write(body, stall)
			return err
		}},
		{"by TLS", func(t *testing.T, a net.Conn) error {
			var s Socket
			s.Init(tls.Server(Ground(a), serverTLS(t)))
			_, err := s.Write(body, stall)
			return err
		}},
		{"through a pipe of the kernel", func(t *testing.T, a net.Conn) error {
			from, to := socketPair(t)
			go to.Write(body)
			var dst, src Socket
			dst.Init(a)
			src.Init(from)
			return Splice(&dst, &src, size, stall, Flow{Arm: func() error { return nil }, Moved: func(int) {}})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := socketPair(t)
			a.SetWriteBuffer(512 << 10) // a third of twice that is free only after long
			b.SetReadBuffer(32 << 10)
			read := make(chan int64, 1)
			go func() {
				var from io.Reader = b
				if tt.name == "by TLS" {
					from = tls.Client(b, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // of the test
				}
				n := int64(0)
				pace := time.NewTicker(20 * time.Millisecond)
				defer pace.Stop()
				for began := time.Now(); time.Since(began) < 5*stall; <-pace.C {
					k, _ := io.CopyN(io.Discard, from, 4<<10)
					n += k
				}
				k, _ := io.CopyN(io.Discard, from, size-n)
				read <- n + k
			}()
			if err := tt.send(t, a); err != nil {
				t.Errorf("cut, though it read all the time: %v", err)
				a.Close()
			}
			if n := <-read; n != size {
				t.Errorf("it got %d bytes, want %d", n, size)
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
