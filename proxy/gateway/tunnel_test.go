package gateway

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"lictor/internal/eventually"
)

const (
	askTunnel = "GET /svc/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
	giveIt    = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
)

// tunnelRig is a gateway whose backend serves every connection as a tunnel.
func tunnelRig(t *testing.T, edit func(*Settings), serve func(c *net.TCPConn, in *bufio.Reader)) *rig {
	r := newRig(t, edit)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		if _, err := readHead(in); err == nil {
			io.WriteString(c, giveIt)
			serve(c.(*net.TCPConn), in)
		}
	})
	return r
}

// tunnel opens one.
func (r *rig) tunnel(early string) *client {
	r.t.Helper()
	c := r.dial()
	c.send(askTunnel + early)
	if head, err := readHead(c.in); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		r.t.Fatalf("%q %v", head, err)
	}
	return c
}

func echoTunnel(c *net.TCPConn, in *bufio.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		c.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

// D20: frames go to and fro as they come.
func TestPingPong(t *testing.T) {
	r := tunnelRig(t, nil, echoTunnel)
	c := r.tunnel("")
	frame := make([]byte, 16)
	for i := 0; i < 10_000; {
		window := 1
		if i >= 1000 {
			window = 50 // without waiting for each
		}
		for k := range window {
			c.send(fmt.Sprintf("frame %010d", i+k))
		}
		for range window {
			want := fmt.Sprintf("frame %010d", i)
			if _, err := io.ReadFull(c.in, frame); err != nil || string(frame) != want {
				t.Fatalf("%q %v, want %q", frame, err, want)
			}
			i++
		}
	}
}

// D20: an end of one side goes on, and leaves the other side open.
func TestTunnelHalfClose(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		r := tunnelRig(t, nil, func(c *net.TCPConn, in *bufio.Reader) {
			all, _ := io.ReadAll(in)
			pace := time.Tick(10 * time.Millisecond)
			for range 3 {
				<-pace
				c.Write(all)
			}
		})
		c := r.tunnel("early ")
		c.send("late ")
		c.Conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(c.in); err != nil || string(b) != strings.Repeat("early late ", 3) {
			t.Errorf("%q %v", b, err)
		}
	})
	t.Run("by the upstream", func(t *testing.T) {
		got := make(chan string, 1)
		r := tunnelRig(t, nil, func(c *net.TCPConn, in *bufio.Reader) {
			io.WriteString(c, "that is all")
			c.CloseWrite()
			all, _ := io.ReadAll(in)
			got <- string(all)
		})
		c := r.tunnel("early ")
		if b, err := io.ReadAll(c.in); err != nil || string(b) != "that is all" {
			t.Errorf("%q %v", b, err)
		}
		c.send("late")
		c.Close()
		if s := <-got; s != "early late" {
			t.Errorf("the upstream got %q", s)
		}
	})
}

// A reset of one side ends both.
func TestTunnelReset(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		gone := make(chan struct{})
		r := tunnelRig(t, nil, func(c *net.TCPConn, in *bufio.Reader) {
			io.Copy(io.Discard, in)
			close(gone)
		})
		c := r.tunnel("")
		c.Conn.(*net.TCPConn).SetLinger(0)
		c.Close()
		<-gone
	})
	t.Run("by the upstream", func(t *testing.T) {
		there := make(chan struct{})
		r := tunnelRig(t, nil, func(c *net.TCPConn, in *bufio.Reader) {
			<-there
			c.SetLinger(0)
		})
		c := r.tunnel("")
		close(there)
		if _, err := c.in.ReadByte(); err == nil {
			t.Error("the client's side stays open")
		}
	})
}

// A tunnel in which nothing passes ends at the stream limit; one in which
// bytes pass one way only does not.
func TestTunnelIdleLimit(t *testing.T) {
	t.Parallel()
	limit := func(s *Settings) { s.Stream = 200 * time.Millisecond }
	t.Run("silent", func(t *testing.T) {
		r := tunnelRig(t, limit, func(c *net.TCPConn, in *bufio.Reader) { io.Copy(io.Discard, in) })
		began := time.Now()
		c := r.tunnel("")
		if _, err := c.in.ReadByte(); err == nil || time.Since(began) < 150*time.Millisecond || time.Since(began) > soon {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	t.Run("one way", func(t *testing.T) {
		eventually.AtAPace(t, 50*time.Millisecond, func(p *eventually.Pace) error {
			said := make(chan struct{})
			r := tunnelRig(t, func(s *Settings) { s.Stream = 4 * p.Beat }, func(c *net.TCPConn, in *bufio.Reader) {
				defer close(said)
				for range 12 {
					p.Await()
					io.WriteString(c, "x")
				}
			})
			b, err := io.ReadAll(r.tunnel("").in)
			<-said
			if err != nil || len(b) != 12 {
				return fmt.Errorf("%q %w", b, err)
			}
			return nil
		})
	})
	t.Run("a peer that reads nothing", func(t *testing.T) {
		cut := make(chan struct{})
		r := tunnelRig(t, limit, func(c *net.TCPConn, in *bufio.Reader) {
			io.Copy(c, zeros{})
			close(cut)
		})
		r.tunnel("")
		<-cut
	})
}

// Large transfers both ways at once arrive as they were sent.
func TestTunnelCarriesMuchBothWays(t *testing.T) {
	const size = 4 << 20
	sums := make(chan [32]byte, 2)
	r := tunnelRig(t, nil, func(c *net.TCPConn, in *bufio.Reader) {
		pump(c, in, 1, size, sums)
	})
	c := r.tunnel("")
	pump(c.Conn.(*net.TCPConn), c.in, 2, size, sums)
	got := map[[32]byte]bool{<-sums: true, <-sums: true}
	if !got[sumOf(1, size)] || !got[sumOf(2, size)] {
		t.Error("what arrived is not what was sent")
	}
}

// pump sends size bytes made from seed, ends its side, and sums what comes.
func pump(c *net.TCPConn, in io.Reader, seed uint64, size int, sums chan [32]byte) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		io.CopyN(c, stuff(seed), int64(size))
		c.CloseWrite()
	})
	sums <- sumAll(in)
}

func sumAll(in io.Reader) [32]byte {
	h := sha256.New()
	io.Copy(h, in)
	return [32]byte(h.Sum(nil))
}

// stuff is an endless stream made from seed.
func stuff(seed uint64) io.Reader { return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}) }

func sumOf(seed uint64, size int) [32]byte {
	h := sha256.New()
	io.CopyN(h, stuff(seed), int64(size))
	return [32]byte(h.Sum(nil))
}
