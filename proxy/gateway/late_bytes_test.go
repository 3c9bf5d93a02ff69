package gateway

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"lictor/app/listener/certtest"
	"lictor/resolver"
)

// holdBack is a connection that keeps the end of what is written to it until
// it is told to let it go.
type holdBack struct {
	net.Conn
	keep int
	rest []byte
}

func (h *holdBack) Write(p []byte) (int, error) {
	n := max(len(p)-h.keep, 0)
	h.rest = append(h.rest, p[n:]...)
	if _, err := h.Conn.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *holdBack) release() {
	h.Conn.Write(h.rest)
	h.keep, h.rest = 0, nil
}

// secureInstance makes svc one instance that is spoken to by TLS.
func (r *rig) secureInstance(addr string) {
	r.src.catalog.Store(resolver.NewCatalog(&resolver.Service{Name: "svc", Loaded: true, Instances: []*resolver.Instance{
		{ID: "svc-0", Address: addr, TLS: true, Weight: 1, State: resolver.Passing}}}))
}

// TestBytesBehindAnAnswerReachNobody has an instance send more than it was
// asked for, in every way that leaves the length of the answer clear: the next
// client gets its own answer, never what was left over.
func TestBytesBehindAnAnswerReachNobody(t *testing.T) {
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nPOISONED"
	answers := []struct{ name, method, text string }{
		{"a HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{"a 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"a 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
		{"a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
		{"no body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"the last chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\n"},
	}
	late := []struct {
		name   string
		bytes  string
		behind bool // in a write of their own
		part   int  // bytes of it that are held back until the next request
	}{
		{"an answer in the same write", poison, false, 0},
		{"an answer in a further write", poison, true, 0},
		{"one byte", "H", true, 0},
		{"an empty line", "\r\n", true, 0},
		{"all but the end of an answer", poison, true, 9},
		{"little more than nothing of an answer", poison, true, len(poison) - 3},
	}
	ca := certtest.NewCA(t)
	cert := ca.Issue(t, "backend.test")
	for _, secure := range []bool{false, true} {
		for _, a := range answers {
			for _, l := range late {
				t.Run(fmt.Sprintf("%s behind %s, TLS %v", l.name, a.name, secure), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, func(s *Settings) {
						s.UpstreamTLS = &tls.Config{RootCAs: ca.Pool(), ServerName: "backend.test"}
					})
					sent := make(chan struct{})
					backend := r.rawBackend(func(nc net.Conn, _ *bufio.Reader) {
						hold := &holdBack{Conn: nc}
						nc = hold
						if secure {
							nc = tls.Server(hold, &tls.Config{Certificates: []tls.Certificate{cert}})
						}
						in := bufio.NewReader(nc)
						for {
							head, err := readHead(in)
							if err != nil {
								return
							}
							if !strings.Contains(head, " /first ") {
								hold.release()
								fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nits own.")
								continue
							}
							if l.behind {
								io.WriteString(nc, a.text)
								hold.keep = l.part
								io.WriteString(nc, l.bytes)
							} else {
								io.WriteString(nc, a.text+l.bytes)
							}
							close(sent)
						}
					})
					if secure {
						r.secureInstance(backend.Addr().String())
					}
					c := r.dial()
					c.send(a.method + " /svc/first HTTP/1.1\r\nHost: x\r\n\r\n")
					if resp, body := c.answer(a.method); resp.StatusCode >= 500 {
						t.Fatalf("the first client got %d %q", resp.StatusCode, body)
					}
					<-sent
					for _, request := range []string{"GET /svc/ HTTP/1.1\r\nHost: x\r\n\r\n", "POST /svc/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"} {
						other := r.dial()
						other.send(request)
						method, _, _ := strings.Cut(request, " ")
						if resp, body := other.answer(method); resp.StatusCode != 200 || body != "its own." {
							t.Errorf("%s of another client got %d %q", method, resp.StatusCode, body)
						}
					}
				})
			}
		}
	}
}

// TestSilentTLSConnectionsAreReused asks again and again over TLS 1.2 and 1.3,
// whose session tickets are no answers: one connection serves all.
func TestSilentTLSConnectionsAreReused(t *testing.T) {
	ca := certtest.NewCA(t)
	cert := ca.Issue(t, "backend.test")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(s *Settings) {
				s.UpstreamTLS = &tls.Config{RootCAs: ca.Pool(), ServerName: "backend.test", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
			})
			var dials atomic.Int64
			backend := r.rawBackend(func(nc net.Conn, _ *bufio.Reader) {
				dials.Add(1)
				tc := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version})
				for in := bufio.NewReader(tc); ; {
					if _, err := readHead(in); err != nil {
						return
					}
					io.WriteString(tc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			r.secureInstance(backend.Addr().String())
			c := r.dial()
			for range 20 {
				c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\n\r\n")
				if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "ok" {
					t.Fatalf("got %d %q", resp.StatusCode, body)
				}
			}
			if n := dials.Load(); n != 1 {
				t.Errorf("20 requests took %d connections, want 1", n)
			}
		})
	}
}
