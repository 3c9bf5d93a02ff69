package gateway

//lint:file-ignore SA1019 only this client opens streams by Extended CONNECT

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/app/listener/certtest"
	"lictor/policy"
	"lictor/resolver"
)

// h2cClient speaks HTTP/2 with prior knowledge to the gateway.
func (r *rig) h2cClient() *http.Client {
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// h2cBackend serves svc by HTTP/2 in plain text, and says so if it speaks for itself.
func (r *rig) h2cBackend(protocol resolver.Protocol, h http.HandlerFunc, configure ...func(*http.Server)) *httptest.Server {
	r.t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	for _, c := range configure {
		c(s.Config)
	}
	s.Start()
	r.t.Cleanup(s.Close)
	r.serve(&resolver.Instance{ID: "one", Address: s.Listener.Addr().String(), Protocol: protocol})
	return s
}

// serve makes svc the instances.
func (r *rig) serve(all ...*resolver.Instance) {
	svc := &resolver.Service{Name: "svc", Loaded: true}
	for _, i := range all {
		i.Weight, i.State = 1, resolver.Passing
		svc.Instances = append(svc.Instances, i)
	}
	r.src.catalog.Store(resolver.NewCatalog(svc))
}

// TestEveryVersionMeetsEveryVersion sends requests by HTTP/1.1 and HTTP/2 to
// instances that speak either; bodies, statuses, repeated fields and trailers
// pass both ways (D6, D20).
func TestEveryVersionMeetsEveryVersion(t *testing.T) {
	large := strings.Repeat("0123456789", 100_000)
	echo := func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Errorf("reading the body: %v", err)
		}
		w.Header().Add("X-Two", "a")
		w.Header().Add("X-Two", "b")
		w.Header().Set("Trailer", "X-End")
		w.WriteHeader(202)
		fmt.Fprintf(w, "%s %s %s ", q.Proto, q.Header.Get("X-Forwarded-Host"), q.Trailer.Get("X-Sent"))
		w.Write(body)
		w.Header().Set("X-End", "done")
	}
	for _, up := range []struct {
		name     string
		protocol resolver.Protocol
		proto    string
	}{{"HTTP/1.1", resolver.HTTP1, "HTTP/1.1"}, {"h2c", resolver.H2C, "HTTP/2.0"}} {
		r := newRig(t, nil)
		r.h2cBackend(up.protocol, echo)
		for _, client := range []struct {
			name string
			*http.Client
		}{{"HTTP/1.1", &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}, {"HTTP/2", r.h2cClient()}} {
			for _, body := range []string{"", "x", large} {
				t.Run(fmt.Sprintf("%s to %s with %d bytes", client.name, up.name, len(body)), func(t *testing.T) {
					req, err := http.NewRequest("POST", "http://"+r.addr+"/svc/a", io.NopCloser(strings.NewReader(body)))
					if err != nil {
						t.Fatal(err)
					}
					req.Trailer = http.Header{"X-Sent": {"sent"}}
					resp, err := client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					if want := up.proto + " " + r.addr + " sent " + body; err != nil || string(got) != want {
						t.Errorf("got %d bytes %.60q, %v, want %d bytes %.60q", len(got), got, err, len(want), want)
					}
					if resp.StatusCode != 202 || len(resp.Header["X-Two"]) != 2 || resp.Trailer.Get("X-End") != "done" {
						t.Errorf("got %d, %q, trailers %q", resp.StatusCode, resp.Header["X-Two"], resp.Trailer)
					}
				})
			}
		}
	}
}

// TestGRPCGoesByHTTP2 leaves the protocol unsaid (D20), and lets question and
// answer take turns on one stream.
func TestGRPCGoesByHTTP2(t *testing.T) {
	r := newRig(t, nil)
	r.h2cBackend(resolver.HTTP1, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("X-Proto", q.Proto+" "+q.Header.Get("Te"))
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		buf := make([]byte, 100)
		for {
			n, err := q.Body.Read(buf)
			w.Write(buf[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
	in, out := io.Pipe()
	req, _ := http.NewRequest("POST", "http://"+r.addr+"/svc/pkg.Service/Method", in)
	req.Header.Set("Content-Type", "application/grpc+proto")
	req.Header.Set("Te", "trailers")
	resp, err := r.h2cClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Proto"); got != "HTTP/2.0 trailers" {
		t.Errorf("the backend saw %q", got)
	}
	for _, word := range []string{"ping", "pong"} {
		io.WriteString(out, word)
		got := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v, want %q", got, err, word)
		}
	}
	out.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("got %q, %v, trailers %q", rest, err, resp.Trailer)
	}
}

// TestHTTPSInstances reaches instances by TLS, with an authority, a name and a
// certificate of our own, in both versions.
func TestHTTPSInstances(t *testing.T) {
	ca := certtest.NewCA(t)
	cert, mine := ca.Issue(t, "backend.test"), ca.Issue(t, "lictor.test")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		fmt.Fprint(w, q.Proto, " ", q.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	s.StartTLS()
	t.Cleanup(s.Close)
	tests := []struct {
		name     string
		protocol resolver.Protocol
		cas      *x509.CertPool
		want     string
	}{
		{"by HTTP/1.1", resolver.HTTP1, ca.Pool(), "HTTP/1.1 lictor.test"},
		{"by HTTP/2", resolver.H2, ca.Pool(), "HTTP/2.0 lictor.test"},
		{"a stranger's certificate is no instance of ours", resolver.H2, certtest.NewCA(t).Pool(), "unreachable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(s *Settings) {
				s.UpstreamTLS = &tls.Config{RootCAs: tt.cas, ServerName: "backend.test", Certificates: []tls.Certificate{mine}}
			})
			r.serve(&resolver.Instance{ID: "one", Address: s.Listener.Addr().String(), TLS: true, Protocol: tt.protocol})
			if _, body := r.get("/svc/"); !strings.Contains(body, tt.want) {
				t.Errorf("got %q, want %q", body, tt.want)
			}
		})
	}
}

// TestInstanceThatGoesAwayLosesNoRequest has a backend send GOAWAY again and
// again while requests run.
func TestInstanceThatGoesAwayLosesNoRequest(t *testing.T) {
	r := newRig(t, nil)
	var mu sync.Mutex
	served := 0
	r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		mu.Lock()
		defer mu.Unlock()
		if served++; served%7 == 0 {
			w.Header().Set("Connection", "close") // net/http's way to GOAWAY
		}
		io.WriteString(w, "ok")
	})
	client := r.h2cClient()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				resp, err := client.Post("http://"+r.addr+"/svc/", "text/plain", strings.NewReader("body"))
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 || string(body) != "ok" {
					t.Errorf("got %d %q", resp.StatusCode, body)
				}
			}
		})
	}
	wg.Wait()
}

// TestUselessInstanceOfHTTP2IsPassedOver asks an instance that refuses, or that
// does not speak HTTP/2, and then another one.
func TestUselessInstanceOfHTTP2IsPassedOver(t *testing.T) {
	dead := listen(t)
	dead.Close()
	old := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(old.Close)
	for name, addr := range map[string]string{"it refuses": dead.Addr().String(), "it speaks HTTP/1.1": old.Listener.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			s := r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, "ok") })
			r.serve(
				&resolver.Instance{ID: "useless", Address: addr, Protocol: resolver.H2C},
				&resolver.Instance{ID: "live", Address: s.Listener.Addr().String(), Protocol: resolver.H2C},
			)
			for range 4 {
				if resp, body := r.get("/svc/"); resp.StatusCode != 200 || body != "ok" {
					t.Errorf("got %d %q", resp.StatusCode, body)
				}
			}
		})
	}
}

// TestPROXYHeaderIsSent asks an instance that wants to know the client.
func TestPROXYHeaderIsSent(t *testing.T) {
	for version, want := range map[uint8]string{1: "PROXY TCP4 127.0.0.1 127.0.0.1 ", 2: "\r\n\r\n\x00\r\nQUIT\n!\x11"} {
		r := newRig(t, nil)
		l := listen(t)
		got := make(chan string, 2)
		wg := new(sync.WaitGroup)
		wg.Go(func() {
			for range 2 {
				c, err := l.Accept()
				if err != nil {
					return
				}
				buf := make([]byte, 1000)
				n, _ := io.ReadAtLeast(c, buf, 60)
				got <- string(buf[:n])
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				c.Close()
			}
		})
		r.src.set(resolver.Options{SendProxy: version}, l.Addr().String())
		c := r.dial()
		for range 2 { // each on a connection of its own: another client must not come by it
			c.send("GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
			c.answer("GET")
			if text := <-got; !strings.HasPrefix(text, want) {
				t.Errorf("got %q, want it to begin with %q", text, want)
			}
		}
		wg.Wait()
	}
}

// TestCutReachesStreams revokes what a stream of HTTP/2 may do while its
// answer runs (X14).
func TestCutReachesStreams(t *testing.T) {
	r := newRig(t, nil)
	r.backend(func(w http.ResponseWriter, q *http.Request) {
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-q.Context().Done()
	})
	resp, err := r.h2cClient().Get("http://" + r.addr + "/svc/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.ReadFull(resp.Body, make([]byte, 5))
	r.rules.apply(policy.Change{Key: policy.Key{Kind: policy.KindBlacklist, Name: "ops"}, Index: 7, Object: &policy.List{Entries: []string{"/svc"}}})
	r.gw.PolicyChanged()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the answer ended as if it were whole")
	}
}

// TestWebSocketOverHTTP2 opens a WebSocket by Extended CONNECT (RFC 8441); the
// backend sees the handshake of HTTP/1.1.
func TestWebSocketOverHTTP2(t *testing.T) {
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		head, _ := readHead(in)
		if !strings.Contains(head, "GET /chat HTTP/1.1") || !strings.Contains(head, "Upgrade: websocket") || !strings.Contains(strings.ToLower(head), "sec-websocket-key: ") {
			t.Errorf("the backend saw %q", head)
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello")
		io.Copy(c, in)
	})
	in, out := io.Pipe()
	req, _ := http.NewRequest("CONNECT", "http://"+r.addr+"/svc/chat", in)
	req.Header.Set(":protocol", "websocket")
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.URL.Path = "/svc/chat"
	resp, err := r.h2cClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Sec-WebSocket-Accept") != "" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	for _, word := range []string{"hello", "ping", "pong"} {
		if word != "hello" {
			io.WriteString(out, word)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v, want %q", got, err, word)
		}
	}
	out.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v, want the end", rest, err)
	}
}
