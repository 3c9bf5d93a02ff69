package egress

import (
	"testing"

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
	alice.Close()
	b.eventually("the connections ended with their client", func() bool { return s.Open() == 1 && other.Open() == 1 })
	ask(b.client(), s, "nobody")
}
