package socket

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// However many directions are busy, what lies in their pipes has a bound, and who gets
// none is served by a buffer.
func TestPipesTakeNoMoreThanTheirShare(t *testing.T) {
	var taken []*pipe
	defer func() {
		for _, p := range taken {
			p.giveBack(true)
		}
		if kept := len(freePipes); kept != cap(freePipes) || pipes.Load() != int64(kept) {
			t.Errorf("%d pipes are kept of %d, want %d", kept, pipes.Load(), cap(freePipes))
		}
	}()
	held := 0
	for p := takePipe(); p != nil; p = takePipe() {
		taken = append(taken, p)
		size, err := unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0)
		if err != nil || size != p.size || size < leastPipe {
			t.Fatalf("a pipe is said to take %d bytes and takes %d, %v", p.size, size, err)
		}
		if held += size; held > 64<<20 {
			t.Fatalf("%d pipes take %d bytes", len(taken), held)
		}
	}
	if len(taken) != mostPipes {
		t.Errorf("%d pipes were to be had, want %d", len(taken), mostPipes)
	}
	src, _ := socketPair(t)
	dst, _ := socketPair(t)
	err := Splice(newSock(t, dst), newSock(t, src), 1, time.Second, Flow{Arm: func() error { t.Error("it moves bytes"); return nil }})
	if err != ErrNoPipe {
		t.Errorf("one more says %v, want %v", err, ErrNoPipe)
	}
}
