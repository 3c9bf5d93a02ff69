package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"lictor/internal/eventually"
	"lictor/proxy/http1/logintest"
	"lictor/resolver"
)

// TestLoginOfAConnectionIsItsClients logs a client in by a scheme whose logins
// belong to the connection, and asks again as that client and as others.
func TestLoginOfAConnectionIsItsClients(t *testing.T) {
	for name, credentials := range map[string]string{
		"NTLM": "NTLM alice", "in lower case": "ntlm alice", "Negotiate": "Negotiate alice", "in upper case": "NEGOTIATE alice",
		"with blanks": "NTLM    alice", "behind a tab": "NTLM\t alice", "Kerberos": "Kerberos alice",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			one, two := logintest.Start(t, new(logintest.Server)), logintest.Start(t, new(logintest.Server))
			r.src.set(resolver.Options{}, one.Addr, two.Addr)
			ask := func(c *client, fields, want string) {
				t.Helper()
				c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n")
				if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != want {
					t.Errorf("got %d %q, want %q", resp.StatusCode, body, want)
				}
			}
			alice := r.dial()
			ask(alice, "Authorization: "+credentials+"\r\n", "alice")
			for range 4 {
				ask(r.dial(), "", "nobody")
				ask(alice, "", "alice")
			}
			if body := h2Get(t, r); body != "nobody" {
				t.Errorf("by HTTP/2 somebody else is %q", body)
			}
			n := one.Open() + two.Open()
			alice.Close()
			eventually.True(t, "the connection ended with its client", func() bool { return one.Open()+two.Open() == n-1 })
			for range 4 {
				ask(r.dial(), "", "nobody")
			}
		})
	}
}

// TestLoginOfAnHTTP2ClientEndsWithItsRequest logs in over HTTP/2, where many
// may share the client's connection.
func TestLoginOfAnHTTP2ClientEndsWithItsRequest(t *testing.T) {
	r := newRig(t, nil)
	s := logintest.Start(t, new(logintest.Server))
	r.src.set(resolver.Options{}, s.Addr)
	if body := h2Get(t, r, "Authorization", "NTLM alice"); body != "alice" {
		t.Fatalf("got %q", body)
	}
	for range 3 {
		if body := h2Get(t, r); body != "nobody" {
			t.Errorf("somebody else is %q", body)
		}
	}
}

// TestLoginToAnHTTP2InstanceEndsWithItsRequest logs in at an instance that takes
// all requests of a connection for those of who logged in on it, though many
// clients share it: nobody else is on the connection before, with or after it.
func TestLoginToAnHTTP2InstanceEndsWithItsRequest(t *testing.T) {
	type login struct{}
	for name, ask := range map[string]func(t *testing.T, r *rig, fields ...string) string{"by HTTP/2": h2Get, "by HTTP/1.1": h1Get} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) {
				who := q.Context().Value(login{}).(*atomic.Pointer[string])
				if _, name, ok := strings.Cut(q.Header.Get("Authorization"), " "); ok {
					who.Store(&name)
				}
				io.WriteString(w, *who.Load())
			}, func(s *http.Server) {
				s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1} // the others want many connections, and take what is there
				s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
					who := new(atomic.Pointer[string])
					who.Store(new("nobody"))
					return context.WithValue(ctx, login{}, who)
				}
			})
			var others sync.WaitGroup
			for range 4 {
				others.Go(func() {
					for range 20 {
						if body := ask(t, r); body != "nobody" {
							t.Errorf("somebody else is %q", body)
						}
					}
				})
			}
			for _, credentials := range []string{"NTLM alice", "Negotiate bob", "kerberos carol"} {
				_, want, _ := strings.Cut(credentials, " ")
				if body := ask(t, r, "Authorization", credentials); body != want {
					t.Errorf("got %q, want %q", body, want)
				}
				if body := ask(t, r); body != "nobody" {
					t.Errorf("who comes after %s is %q", want, body)
				}
			}
			others.Wait()
		})
	}
}

// TestChallengedConnectionIsItsClients never logs in where the gateway can see
// it, but was asked to: from then on the connection is the client's alone.
func TestChallengedConnectionIsItsClients(t *testing.T) {
	for name, s := range map[string]*logintest.Server{
		"401 NTLM":              {Status: 401, Challenge: "WWW-Authenticate: NTLM"},
		"401 negotiate":         {Status: 401, Challenge: "www-authenticate: negotiate"},
		"among others":          {Status: 401, Challenge: `WWW-Authenticate: Basic realm="a", NTLM`},
		"in a field of its own": {Status: 401, Challenge: "WWW-Authenticate: Basic realm=a\r\nWWW-Authenticate: Negotiate"},
		"with a token":          {Status: 401, Challenge: "WWW-Authenticate: NTLM TlRMTVNTUAAC"},
		"407":                   {Status: 407, Challenge: "Proxy-Authenticate: NTLM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			logintest.Start(t, s)
			r.src.set(resolver.Options{}, s.Addr)
			alice, bob := r.dial(), r.dial()
			for _, c := range []*client{alice, bob, alice, bob} {
				c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\n\r\n")
				if resp, _ := c.answer("GET"); resp.StatusCode != s.Status {
					t.Errorf("got %d", resp.StatusCode)
				}
			}
			if n := s.Open(); n != 2 {
				t.Errorf("two clients share %d connections", n)
			}
			alice.Close()
			eventually.True(t, "it ended with its client", func() bool { return s.Open() == 1 })
		})
	}
}

// TestOtherLoginsShareConnections uses schemes whose credentials come with each request.
func TestOtherLoginsShareConnections(t *testing.T) {
	r := newRig(t, nil)
	s := logintest.Start(t, &logintest.Server{Status: 401, Challenge: `WWW-Authenticate: Basic realm="NTLM"`})
	r.src.set(resolver.Options{}, s.Addr)
	c, other := r.dial(), r.dial()
	for _, fields := range []string{"", "Authorization: Basic bnRsbQ==\r\n", "Authorization: Bearer ntlm\r\n"} {
		for _, c := range []*client{c, other} {
			c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n")
			c.answer("GET")
			eventually.True(t, "it was given back", func() bool {
				_, idle := r.gw.upstream.Connections("svc")
				return idle == 1
			})
		}
	}
	if n := s.Open(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// h1Get is a request on a connection of its own.
func h1Get(t *testing.T, r *rig, fields ...string) string {
	t.Helper()
	c := r.dial()
	defer c.Close()
	text := "GET /svc/ HTTP/1.1\r\nHost: x\r\n"
	for i := 0; i < len(fields); i += 2 {
		text += fields[i] + ": " + fields[i+1] + "\r\n"
	}
	c.send(text + "\r\n")
	_, body := c.answer("GET")
	return body
}

// h2Get is a request by HTTP/2, on a connection that all such requests share.
func h2Get(t *testing.T, r *rig, fields ...string) string {
	t.Helper()
	req, _ := http.NewRequest("GET", "http://"+r.addr+"/svc/", nil)
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := r.h2cClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}
