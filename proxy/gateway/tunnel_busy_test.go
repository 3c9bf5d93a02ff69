package gateway

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lictor/policy"
)

// A tunnel that is busy, goes quiet, and is busy again carries every byte:
// bytes go by splice(2) and by a buffer in turn.
func TestTunnelThatIsBusyNowAndThen(t *testing.T) {
	t.Parallel()
	const rounds, burst = 4, 2<<20 + 12345
	send := func(c *net.TCPConn, seed uint64) {
		all := stuff(seed)
		quiet := time.NewTimer(0)
		for range rounds {
			io.CopyN(c, all, burst)
			quiet.Reset(150 * time.Millisecond)
			<-quiet.C
			io.CopyN(c, all, 1)
		}
		c.CloseWrite()
	}
	sums := make(chan [32]byte, 2)
	r := tunnelRig(t, nil, func(c *net.TCPConn, in *bufio.Reader) {
		var wg sync.WaitGroup
		wg.Go(func() { send(c, 1) })
		sums <- sumAll(in)
		wg.Wait()
	})
	c := r.tunnel("")
	var wg sync.WaitGroup
	wg.Go(func() { send(c.Conn.(*net.TCPConn), 2) })
	h := sumAll(c.in)
	wg.Wait()
	if got := <-sums; got != sumOf(2, rounds*(burst+1)) {
		t.Error("what arrived at the upstream is not what was sent")
	}
	if h != sumOf(1, rounds*(burst+1)) {
		t.Error("what arrived at the client is not what was sent")
	}
}

// However a busy tunnel ends, both sides see it, and what it held goes back.
func TestTunnelEndsWhileItIsBusy(t *testing.T) {
	forbid := func(r *rig) {
		r.rules.apply(policy.Change{Key: policy.Key{Kind: policy.KindBlacklist, Name: "ops"}, Index: 7, Object: &policy.List{Entries: []string{"/svc"}}})
		r.gw.PolicyChanged()
	}
	tests := []struct {
		name string
		end  func(r *rig, client, upstream *net.TCPConn)
	}{
		{"the client resets", func(_ *rig, client, _ *net.TCPConn) { client.SetLinger(0); client.Close() }},
		{"the upstream resets", func(_ *rig, _, upstream *net.TCPConn) { upstream.SetLinger(0); upstream.Close() }},
		{"the policy forbids it", func(r *rig, _, _ *net.TCPConn) { forbid(r) }}, // X14
	}
	before := -1
	for range 4 { // pipes that are kept do not become more
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				upstream := make(chan *net.TCPConn, 1)
				ended := make(chan struct{})
				r := tunnelRig(t, nil, func(c *net.TCPConn, in *bufio.Reader) {
					var wg sync.WaitGroup
					wg.Go(func() { io.Copy(c, zeros{}) })
					upstream <- c
					io.Copy(io.Discard, in)
					wg.Wait()
					close(ended)
				})
				c := r.tunnel("")
				var wg sync.WaitGroup
				wg.Go(func() { io.Copy(c.Conn, zeros{}) })
				if _, err := io.CopyN(io.Discard, c.in, 4<<20); err != nil {
					t.Fatal(err)
				}
				tt.end(r, c.Conn.(*net.TCPConn), <-upstream)
				io.Copy(io.Discard, c.in)
				wg.Wait()
				<-ended
				r.stop()
			})
		}
		if n := openPipes(t); before >= 0 && n > before+4 {
			t.Errorf("%d ends of pipes are open, %d before", n, before)
		} else if before < 0 {
			before = n
		}
	}
}

func openPipes(t *testing.T) int {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range all {
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}
