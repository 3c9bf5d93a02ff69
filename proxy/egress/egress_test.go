package egress

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns/dnstest"
)

func TestForward(t *testing.T) { // A1
	b := start(t, quick())
	b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2"}})
	at := b.at("shop.example")
	tests := []struct{ name, request, want string }{
		{"a path and a query", "GET http://" + at + "/a/b?c=d HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a/b?c=d host=" + at + " body="},
		{"the URI's authority counts, not Host", "GET http://" + at + "/ HTTP/1.1\r\nHost: metadata.google.internal\r\n\r\n", "GET / host=" + at + " body="},
		{"no path", "GET http://" + at + " HTTP/1.1\r\nHost: x\r\n\r\n", "GET / host=" + at + " body="},
		{"only a query", "GET http://" + at + "?a=/b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?a=/b host=" + at + " body="},
		{"dots are the server's to resolve", "GET http://" + at + "/a/../b/./c HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a/../b/./c host=" + at + " body="},
		{"escapes keep their spelling", "GET http://" + at + "/@s%2fn/%7Eb%c3%a9 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /@s%2fn/%7Eb%c3%a9 host=" + at + " body="},
		{"other escapes pass untouched", "GET http://" + at + "/a%2Fb;v=1//c HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a%2Fb;v=1//c host=" + at + " body="},
		{"a body with a length", "POST http://" + at + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST / host=" + at + " body=hello"},
		{"a chunked body", "PUT http://" + at + "/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "PUT / host=" + at + " body=hello"},
		{"any method", "BREW http://" + at + "/ HTTP/1.1\r\nHost: x\r\n\r\n", "BREW / host=" + at + " body="},
		{"HTTP/1.0", "GET http://" + at + "/ HTTP/1.0\r\n\r\n", "GET / host=" + at + " body="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := b.in(t).client()
			c.send(tt.request)
			if a := c.read("GET"); a.StatusCode != 200 || a.body != tt.want {
				t.Errorf("got %d %q, want %q", a.StatusCode, a.body, tt.want)
			}
		})
	}
}

func TestHeaders(t *testing.T) { // A13
	b := start(t, quick())
	a := b.client().do("GET "+b.url("127.0.0.2", "/")+" HTTP/1.1",
		"Host: forged.example", "Via: 1.0 before", "Proxy-Authorization: Basic c2VjcmV0", "Proxy-Connection: keep-alive",
		"Proxy-Anything: 1", "Proxy: http://evil.example/", "Proxy_Authorization: Basic c2VjcmV0", "Connection: X-Secret, X-Marked, keep-alive, Host", "X_Marked: 1",
		"X-Secret: 1", "Keep-Alive: timeout=5", "TE: trailers", "Upgrade: h2c", "X-Two: a", "X-Two: b", "User-Agent: test", "Accept: */*")
	got := b.origin.last(t)
	for _, name := range []string{"Proxy-Authorization", "Proxy-Connection", "Proxy-Anything", "Proxy", "Proxy_authorization", "Connection", "X-Secret", "X_marked",
		"Keep-Alive", "Te", "Upgrade", "X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Real-Ip", "X-Request-Id"} {
		if v, there := got.Header[name]; there {
			t.Errorf("the target got %s: %q", name, v)
		}
	}
	if got.Host != b.at("127.0.0.2") {
		t.Errorf("Host is %q", got.Host)
	}
	for name, want := range map[string]string{"Via": "1.0 before, 1.1 " + string(b.proxy.mark), "X-Two": "a,b", "User-Agent": "test", "Accept": "*/*"} {
		if v := strings.Join(got.Header.Values(name), ","); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	for _, name := range []string{"Proxy-Authenticate", "X-Hop", "X-Proxy-Denied"} {
		if v := a.Header.Get(name); v != "" {
			t.Errorf("the client got %s: %q", name, v)
		}
	}
	for name, want := range map[string]string{"Via": "1.1 " + string(b.proxy.mark), "X-Two": "a,b"} {
		if v := strings.Join(a.Header.Values(name), ","); v != want {
			t.Errorf("in the answer %s is %q, want %q", name, v, want)
		}
	}
}

// TestTrailersAreHeldToTheSameRules: what may not pass as a header field may
// not pass behind the body either.
func TestTrailersAreHeldToTheSameRules(t *testing.T) {
	b := start(t, quick())
	c := b.client()
	c.send("POST " + b.url("127.0.0.2", "/") + " HTTP/1.1\r\nHost: x\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"1\r\na\r\n0\r\nX-Sum: 7\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Else: 1\r\n\r\n")
	if a := c.read("POST"); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	for name := range b.origin.last(t).Trailer {
		if strings.HasPrefix(name, "Proxy") {
			t.Errorf("the trailer %s passed", name)
		}
	}
}

// TestEachRequestIsChecked: a kept-alive connection is no pass (A2).
func TestEachRequestIsChecked(t *testing.T) {
	b := start(t, quick())
	b.policy(lists{blackKey: black("127.0.0.66", "evil.example")})
	for name, addr := range map[string]string{"one.example": "127.0.0.2", "two.example": "127.0.0.3", "evil.example": "127.0.0.4", "hidden.example": "127.0.0.66"} {
		b.dns.Set(name, dnstest.Name{Addrs: []string{addr}, TTL: 60})
	}
	c := b.client()
	for range 3 {
		for _, step := range []struct {
			host   string
			status int
			reason answer.Reason
		}{
			{"one.example", 200, ""}, {"evil.example", 403, answer.Reason(policy.ReasonBlacklist)}, {"two.example", 200, ""}, {"hidden.example", 403, answer.Reason(policy.ReasonBlacklist)},
			{"127.1", 400, badTarget}, {"one.example", 200, ""}, {"169.254.169.254", 403, privateAddress},
		} {
			a := c.do("GET "+b.url(step.host, "/")+" HTTP/1.1", "Host: one.example")
			b.expect(a, step.status, step.reason)
			if step.status == 200 && a.body != "GET / host="+b.at(step.host)+" body=" {
				t.Errorf("%s: got %q", step.host, a.body)
			}
		}
	}
	if n := len(b.dials()); n != 2 {
		t.Errorf("dialled %d times, want 2: connections are used again, each for its own host", n)
	}
}

func TestTunnel(t *testing.T) { // A12
	b := start(t, quick())
	b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2"}})
	c, a := b.connect(b.at("shop.example"))
	if a.StatusCode != 200 || a.Status != "200 Connection established" {
		t.Fatalf("got %q", a.Status)
	}
	inside := c.do("GET /inside HTTP/1.1", "Host: what.ever", "Proxy-Authorization: x")
	if inside.body != "GET /inside host=what.ever body=" || b.origin.last(t).Header.Get("Proxy-Authorization") != "x" {
		t.Errorf("the tunnel is not blind: %q", inside.body)
	}
	c.Close()
	eventually.True(b, "the tunnel is closed", func() bool { return b.proxy.slots.count() == 0 })
	if up, down := b.metric("lictor_egress_bytes_total", "direction", "out"), b.metric("lictor_egress_bytes_total", "direction", "in"); up < 50 || down < 50 {
		t.Errorf("counted %v bytes out and %v in", up, down)
	}
}

// TestEarlyBytes: what a client sends along with its CONNECT belongs to the
// tunnel, or to nobody.
func TestEarlyBytes(t *testing.T) {
	b := start(t, quick())
	c := b.client()
	c.send("CONNECT " + b.at("127.0.0.2") + " HTTP/1.1\r\nHost: x\r\n\r\nGET /early HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n")
	c.read("CONNECT")
	if a := c.read("GET"); a.body != "GET /early host=y body=" {
		t.Errorf("got %q", a.body)
	}
	b.policy(lists{blackKey: black("127.0.0.66")})
	c = b.client()
	before := b.origin.count()
	c.send("CONNECT " + b.at("127.0.0.66") + " HTTP/1.1\r\nHost: x\r\n\r\nGET " + b.url("127.0.0.2", "/smuggled") + " HTTP/1.1\r\nHost: y\r\n\r\n")
	b.expect(c.read("CONNECT"), 403, answer.Reason(policy.ReasonBlacklist))
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("after a denied CONNECT the connection goes on")
	}
	if b.origin.count() != before {
		t.Error("bytes meant for the tunnel were served as a request")
	}
}

func TestStreaming(t *testing.T) { // A14
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 5)
		io.ReadFull(r.Body, buf)
		got <- string(buf)
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "second")
	})}
	go srv.Serve(l)
	defer srv.Close()
	b := start(t, quick())
	c := b.client()
	c.send("POST http://" + l.Addr().String() + "/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	select {
	case s := <-got: // while the upload still runs
		if s != "hello" {
			t.Errorf("got %q", s)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("the upload was held back")
	}
	// The first bytes of the answer come before the rest of the upload is sent.
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "first" {
		t.Fatalf("got %q, %v", buf, err)
	}
	c.send("0\r\n\r\n")
	if rest, _ := io.ReadAll(resp.Body); string(rest) != "second" {
		t.Errorf("got %q", rest)
	}
}

// TestSecureTargets: for an https URI in absolute form the proxy itself speaks
// TLS, and believes only certificates that it can check.
func TestSecureTargets(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host+r.URL.Path) }))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	for _, tt := range []struct {
		name, host string
		roots      *x509.CertPool
		status     int
		reason     answer.Reason
	}{
		{"a certificate that is right", "example.com", roots, 200, ""},
		{"a certificate of somebody else", "shop.example", roots, 502, answer.BadGateway},
		{"a certificate that nobody vouches for", "example.com", x509.NewCertPool(), 502, answer.BadGateway},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.dns.Set("example.com", dnstest.Name{Addrs: []string{"127.0.0.1"}})
			b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.1"}})
			b.run(quick(), func(c *Config) { c.Roots = tt.roots })
			a := b.get("https://" + tt.host + ":" + port + "/a")
			b.expect(a, tt.status, tt.reason)
			if tt.status == 200 && a.body != tt.host+":"+port+"/a" {
				t.Errorf("got %q", a.body)
			}
		})
	}
}

func TestBrokenTargets(t *testing.T) { // X4
	tests := []struct {
		name   string
		serve  func(net.Conn)
		status int
		reason answer.Reason
	}{
		{"no HTTP", func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n\r\n") }, 502, answer.BadGateway},
		{"closed before the head", func(c net.Conn) {}, 502, answer.BadGateway},
		{"an upgrade nobody asked for", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
		}, 502, answer.BadGateway},
		{"too slow", func(c net.Conn) { io.ReadAll(c) }, 504, answer.Timeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					bufio.NewReader(c).ReadString('\n')
					tt.serve(c)
					c.Close()
				}
			}()
			defer func() { l.Close(); <-done }()
			s := quick()
			s.Timeout = 300 * time.Millisecond
			b := start(t, s)
			b.expect(b.get("http://"+l.Addr().String()+"/"), tt.status, tt.reason)
		})
	}
}

// TestOrdinaryClient: Go's own client needs nothing but the proxy's address.
func TestOrdinaryClient(t *testing.T) {
	b := start(t, quick())
	b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2"}, TTL: 60})
	proxy := &url.URL{Scheme: "http", Host: b.addr}
	tr := &http.Transport{Proxy: http.ProxyURL(proxy)}
	defer tr.CloseIdleConnections()
	for i := range 20 {
		resp, err := (&http.Client{Transport: tr}).Post(b.url("shop.example", "/p"), "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := fmt.Sprintf("POST /p host=%s body=x", b.at("shop.example")); string(body) != want {
			t.Fatalf("request %d: got %q", i, body)
		}
	}
	if n := len(b.dials()); n != 1 {
		t.Errorf("dialled %d times, want 1", n)
	}
}

// TestNothingIsLeftRunning: when Run has returned, so has every goroutine.
func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("some traffic", func(t *testing.T) {
		b := start(t, quick())
		b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2", "127.0.0.3"}})
		for range 5 {
			b.get(b.url("shop.example", "/"))
			b.get("http://nothing.example/")
			b.connect(b.at("shop.example"))
		}
		c := b.client()
		c.send("GET " + b.url("shop.example", "/slow") + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := http.ReadResponse(c.r, nil); err != nil {
			t.Fatal(err)
		}
	})
	eventually.True(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}
