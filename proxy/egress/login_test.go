package egress

import (
	"net"
	"testing"

	"lictor/internal/eventually"
	"lictor/proxy/http1/logintest"
)

// TestLoginOfAConnectionIsItsClients logs in by NTLM through the egress, and
// asks as the same client, as others, and as a client of another target.
func TestLoginOfAConnectionIsItsClients(t *testing.T) {
	b := start(t, quick())
	s, other := logintest.Start(t, new(logintest.Server)), logintest.Start(t, new(logintest.Server))
	ask := func(c *client, s *logintest.Server, want string, fields ...string) {
		t.Helper()
		if a := c.do(append([]string{"GET http://" + s.Addr + "/ HTTP/1.1", "Host: x"}, fields...)...); a.StatusCode != 200 || a.body != want {
			t.Errorf("got %d %q, want %q", a.StatusCode, a.body, want)
		}
	}
	alice := b.client()
	ask(alice, s, "alice", "Authorization: NTLM alice")
	ask(alice, other, "nobody")
	for range 3 {
		ask(b.client(), s, "nobody")
		ask(alice, s, "alice")
	}
	ask(alice, other, "alice there", "Authorization: Negotiate alice there")
	ask(alice, s, "alice")
	ask(b.client(), other, "nobody")
	n := s.Open() + other.Open()
	alice.Close()
	eventually.True(b, "the connections ended with their client", func() bool { return s.Open()+other.Open() == n-2 })
	ask(b.client(), s, "nobody")
}

// TestTargetThatHangsUpIsDialledOnce asks a target that accepts and hangs up.
func TestTargetThatHangsUpIsDialledOnce(t *testing.T) {
	b := start(t, quick())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for _, method := range []string{"GET", "POST"} {
		b.dials()
		if a := b.client().do(method+" http://"+l.Addr().String()+"/ HTTP/1.1", "Host: x", "Content-Length: 0"); a.StatusCode != 502 {
			t.Errorf("%s: got %d", method, a.StatusCode)
		}
		if n := len(b.dials()); n != 1 {
			t.Errorf("%s: dialled %d times, want 1", method, n)
		}
	}
}
