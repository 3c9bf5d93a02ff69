package http1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/socket"
)

// restless is a server whose answers and tunnels move to a new stack whenever
// nothing comes for a moment.
func restless(t *testing.T, serve func(c net.Conn, in *bufio.Reader)) (*forwarder, net.Conn) {
	lim := testLimits
	lim.Lull = time.Nanosecond
	return limited(t, lim, serve)
}

// limited is a server with limits of the test's choice, and a client of it.
func limited(t *testing.T, lim Limits, serve func(c net.Conn, in *bufio.Reader)) (*forwarder, net.Conn) {
	f := &forwarder{now: make(map[*Conn]struct{}), pool: NewPool(PoolConfig{Address: startPeer(t, serve), MaxIdle: 4, IdleTimeout: time.Minute})}
	s := NewServer(f, lim)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l, new(Entrance)) }()
	t.Cleanup(func() { l.Close(); _ = s.Shutdown(t.Context()); f.pool.Close() })
	return f, dialTest(t, l.Addr().String())
}

// moved waits until the rest of an answer waits without a goroutine.
func moved(t *testing.T) {
	t.Helper()
	eventually.True(t, "the answer waits in the lot", func() bool { return socket.Parked(nil) > 0 })
}

func TestAnAnswerThatMovesLosesNothing(t *testing.T) {
	for name, tt := range map[string]struct{ head, piece, end string }{
		"of known length": {"Content-Length: 15\r\n\r\n", "piece", ""},
		"in chunks":       {"Transfer-Encoding: chunked\r\n\r\n", "5\r\npiece\r\n", "0\r\n\r\n"},
		"until the end":   {"\r\n", "piece", "end"},
	} {
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, the next request early: %t", name, early), func(t *testing.T) {
				more := make(chan struct{})
				f, c := restless(t, func(c net.Conn, in *bufio.Reader) {
					for {
						if _, err := http.ReadRequest(in); err != nil {
							return
						}
						io.WriteString(c, "HTTP/1.1 200 OK\r\n"+tt.head+tt.piece)
						for range 2 {
							<-more
							io.WriteString(c, tt.piece)
						}
						io.WriteString(c, tt.end)
						if tt.end == "end" {
							return
						}
					}
				})
				requests := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
				if early {
					requests += requests
				}
				in := bufio.NewReader(c)
				for range 2 {
					io.WriteString(c, requests)
					if early {
						requests = ""
					}
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Fatal(err)
					}
					for range 2 {
						moved(t)
						more <- struct{}{}
					}
					want := "piecepiecepiece"
					if tt.end == "end" {
						want += tt.end
					}
					if got, err := io.ReadAll(resp.Body); string(got) != want || err != nil {
						t.Fatalf("got %q, %v, want %q", got, err, want)
					}
				}
				c.Close()
				eventually.True(t, "every exchange is done", func() bool {
					f.mu.Lock()
					defer f.mu.Unlock()
					return len(f.now) == 0
				})
			})
		}
	}
}

// A login of a connection is told by fields of the answer, which are given back when it
// moves, and overwritten by the client's when its body is long: the connection is its
// client's alone all the same.
func TestAChallengeBindsItsConnectionWhenItsFieldsAreGone(t *testing.T) {
	for name, parts := range map[string][2]string{
		"an answer that moves": {"piece", "piece"}, "one with a long body": {strings.Repeat("x", 1000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			more := make(chan struct{})
			f, c := restless(t, func(c net.Conn, in *bufio.Reader) {
				_, _ = http.ReadRequest(in)
				fmt.Fprintf(c, "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: %d\r\n\r\n%s", len(parts[0]+parts[1]), parts[0])
				<-more
				io.WriteString(c, parts[1])
				_, _ = in.ReadByte()
			})
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if parts[1] != "" {
				moved(t)
			}
			close(more)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != parts[0]+parts[1] {
				t.Fatalf("got %q, %v", body, err)
			}
			var alone, shared int
			eventually.True(t, "the connection is back", func() bool {
				f.pool.mu.Lock()
				defer f.pool.mu.Unlock()
				alone, shared = len(f.pool.alone), len(f.pool.idle)
				return alone+shared > 0
			})
			if alone != 1 || shared != 0 {
				t.Errorf("%d connections are one client's, %d are anybody's", alone, shared)
			}
		})
	}
}

func TestAnAnswerThatMovedEndsWithItsClient(t *testing.T) {
	gone := make(chan error, 1)
	_, c := restless(t, func(c net.Conn, in *bufio.Reader) {
		_, _ = http.ReadRequest(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npiece")
		_, err := in.ReadByte()
		gone <- err
	})
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	moved(t)
	c.Close()
	if err := <-gone; err == nil {
		t.Error("the upstream got a byte, want an end")
	}
}

func TestATunnelThatMovesLosesNothing(t *testing.T) {
	f, c := restless(t, func(c net.Conn, in *bufio.Reader) {
		_, _ = http.ReadRequest(in)
		io.WriteString(c, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(c, in)
	})
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly")
	in := bufio.NewReader(c)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	want := "early"
	for i := range 200 {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		want = fmt.Sprint(i)
		io.WriteString(c, want)
	}
	_, _ = io.CopyN(io.Discard, in, int64(len(want)))
	if c.(*net.TCPConn).CloseWrite() != nil {
		t.Fatal("the connection is broken")
	}
	if n, err := io.Copy(io.Discard, in); n != 0 || err != nil {
		t.Errorf("%d bytes more, %v, want the end", n, err)
	}
	eventually.True(t, "the exchange is done", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.now) == 0
	})
}

// An answer that began while the request is still being sent moves as well, beside the
// goroutine that sends it: under the race detector.
func TestAnAnswerMovesBesideAnUpload(t *testing.T) {
	const pieces = 60
	_, c := restless(t, func(c net.Conn, in *bufio.Reader) {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npiece")
		if n, err := io.Copy(io.Discard, req.Body); n != pieces || err != nil {
			return
		}
		io.WriteString(c, "piece")
	})
	fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", pieces)
	for range pieces {
		time.Sleep(glance / 20) // an answer moves at its first glance
		io.WriteString(c, "x")
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != "piecepiece" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
