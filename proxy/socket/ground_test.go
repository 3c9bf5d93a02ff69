package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// What runs on a ground must find it as it would find the socket.
func TestAGroundIsLikeItsSocket(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, ours, theirs net.Conn){
		"more than the kernel takes at once comes whole": func(t *testing.T, ours, theirs net.Conn) {
			much := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
			go func() { // a failure shows in what comes
				_, _ = ours.Write(much)
				ours.Close()
			}()
			if got, err := io.ReadAll(theirs); err != nil || !bytes.Equal(got, much) {
				t.Errorf("%d bytes came, %v, want %d", len(got), err, len(much))
			}
		},
		"a read waits until its deadline": func(t *testing.T, ours, _ net.Conn) {
			ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			wantTimeout(t, ours.Read)
		},
		"a write to who reads nothing waits until its deadline": func(t *testing.T, ours, _ net.Conn) {
			ours.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			wantTimeout(t, func([]byte) (int, error) { return ours.Write(make([]byte, 64<<20)) })
		},
		"the end is the end": func(t *testing.T, ours, theirs net.Conn) {
			theirs.Close()
			if n, err := ours.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("read %d bytes, %v", n, err)
			}
		},
		"a read of nothing is no end": func(t *testing.T, ours, _ net.Conn) {
			if n, err := ours.Read(nil); n != 0 || err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
		},
		"a peer that is gone fails the write": func(t *testing.T, ours, theirs net.Conn) {
			Abort(theirs)
			_, _ = ours.Read(make([]byte, 1)) // until the end is here
			if _, err := ours.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("the write failed by %v", err)
			}
		},
		"an abort from above reaches the socket": func(t *testing.T, ours, theirs net.Conn) {
			Abort(tls.Server(ours, nil))
			if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the peer read %v, want that it was reset", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := socketPair(t)
			ours := Ground(a)
			if _, ok := ours.(*ground); !ok {
				t.Fatalf("TLS would run on %T", ours)
			}
			test(t, ours, b)
		})
	}
}

func wantTimeout(t *testing.T, call func([]byte) (int, error)) {
	t.Helper()
	if _, err := call(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want that the deadline passed", err)
	}
}
