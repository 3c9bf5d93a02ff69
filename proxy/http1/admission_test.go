package http1

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/socket"
)

// admitting is a server with bounds, and whom it exempts.
func admitting(t *testing.T, lim Limits, exempt func(netip.Addr) bool) (s *Server, addr string) {
	t.Helper()
	f := &forwarder{pool: NewPool(PoolConfig{Address: startPeer(t, echoPeer), MaxIdle: 4, IdleTimeout: time.Minute})}
	f.now = make(map[*Conn]struct{})
	s = NewServer(f, lim)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l, &Entrance{Exempt: exempt}) }()
	t.Cleanup(func() {
		l.Close()
		s.cutAll(func() chan struct{} { c := make(chan struct{}); go func() { s.wg.Wait(); close(c) }(); return c }())
	})
	return s, l.Addr().String()
}

// stays sends half a request, and reports whether the connection stays.
func stays(t *testing.T, c net.Conn) bool {
	t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n")
	c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return socket.IsTimeout(err)
}

// TestConnectionsAreBounded opens more than there may be.
func TestConnectionsAreBounded(t *testing.T) {
	tests := []struct {
		name   string
		bounds Admission
		exempt bool
		want   int // of six
	}{
		{"no bound", Admission{}, false, 6},
		{"four in all", Admission{Connections: 4}, false, 4},
		{"three of one address", Admission{Connections: 5, ConnectionsPerClient: 3}, false, 3},
		{"a proxy in front is no client", Admission{Connections: 5, ConnectionsPerClient: 3}, true, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lim := testLimits
			lim.Admission = tt.bounds
			s, addr := admitting(t, lim, func(netip.Addr) bool { return tt.exempt })
			var all []net.Conn
			got := 0
			for range 6 {
				c, err := net.Dial("tcp", addr)
				if err != nil { // closed before it was there
					continue
				}
				all = append(all, c)
				if stays(t, c) {
					got++
				}
			}
			if got != tt.want {
				t.Errorf("%d of 6 connections stay, want %d", got, tt.want)
			}
			for _, c := range all {
				c.Close()
			}
			eventually.True(t, "none is counted", func() bool { return s.accepted.Load() == 0 })
			c := dialTest(t, addr) // one more gets in
			wantAnswer(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		})
	}
}

// TestIdleConnectionsMakeRoom has all places taken by connections that wait.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	lim := testLimits
	lim.Admission.Connections = 3
	_, addr := admitting(t, lim, nil)
	for range 3 {
		c := dialTest(t, addr)
		wantAnswer(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	eventually.True(t, "somebody else gets in", func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		line, err := bufio.NewReader(c).ReadString('\n')
		return err == nil && strings.HasPrefix(line, "HTTP/1.1 200")
	})
}

// TestClientsCountByNetwork counts addresses.
func TestClientsCountByNetwork(t *testing.T) {
	tests := []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	}
	for _, tt := range tests {
		var all clients
		if all.add(netip.MustParseAddr(tt.a), 1) == nil {
			t.Errorf("%s is not let in", tt.a)
		}
		if second := all.add(netip.MustParseAddr(tt.b), 1); (second == nil) != tt.same {
			t.Errorf("%s and %s are one client: %v, want %v", tt.a, tt.b, second == nil, tt.same)
		}
	}
}

// TestBodyThatNeverBeginsHasItsOwnLimit sends heads, and then little or nothing.
func TestBodyThatNeverBeginsHasItsOwnLimit(t *testing.T) {
	tests := []struct {
		name, request string
		refused       bool
	}{
		{"nothing of a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", true},
		{"nothing of chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		{"its first byte", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lim := testLimits
			lim.Begin = 200 * time.Millisecond
			_, addr := admitting(t, lim, nil)
			c := dialTest(t, addr)
			io.WriteString(c, tt.request)
			c.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			if ended := !socket.IsTimeout(err); ended != tt.refused {
				t.Errorf("ended: %v (%v), want %v", ended, err, tt.refused)
			}
		})
	}
}
