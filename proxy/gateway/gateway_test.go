package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lictor/proxy/answer"
	"lictor/resolver"
)

// D1, D2, D22: the first segment names the service, the rest goes on.
func TestFirstSegmentNamesTheService(t *testing.T) {
	r := newRig(t, nil)
	r.backend(func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, req.RequestURI) })
	tests := []struct {
		name, target string
		status       int
		want         string
	}{
		{"the segment is stripped", "/svc/bar/baz?x=1", 200, "/bar/baz?x=1"},
		{"a bare service is the root", "/svc", 200, "/"},
		{"so is a slash behind it", "/svc/", 200, "/"},
		{"a query follows the bare service", "/svc?x=1", 200, "/?x=1"},
		{"an empty query stays", "/svc/a?", 200, "/a?"},
		{"escapes stay as they came", "/svc/a%2Fb//c;v=1", 200, "/a%2Fb//c;v=1"},
		{"dot segments are resolved", "/svc/x/%2e%2e/admin", 200, "/admin"},
		{"absolute form is read by its path", "http://other/svc/abs", 200, "/abs"},
		{"the root names no service", "/", 404, "no_service"},
		{"an empty segment names none", "//svc/x", 404, "no_service"},
		{"a segment with other characters names none", "/a%20b/x", 404, "no_service"},
		{"dots above the root name none", "/..", 404, "no_service"},
		{"NUL is refused", "/svc/%00", 400, "bad_path"},
		{"a broken escape is refused", "/svc/%zz", 400, "bad_path"},
		{"an unknown service is unavailable", "/nosuch/x", 503, "unknown_service"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := r.get(tt.target)
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("GET %s: got %d %q, want %d with %q", tt.target, resp.StatusCode, body, tt.status, tt.want)
			}
			if tt.status == 503 && resp.Header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After is %q, want 1", resp.Header.Get("Retry-After"))
			}
		})
	}
}

// D1: lictor-strip = false keeps the segment.
func TestKeepSegment(t *testing.T) {
	r := newRig(t, nil)
	s := r.backend(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, req.RequestURI+" "+req.Header.Get("X-Forwarded-Prefix")+" "+req.Host)
	})
	addr := s.Listener.Addr().String()
	r.src.set(resolver.Options{KeepSegment: true, UpstreamHost: true}, addr)
	if _, body := r.get("/svc/a"); body != "/svc/a  "+addr {
		t.Errorf("got %q", body)
	}
}

// D6, contract 4: what goes upstream.
func TestRequestHeaders(t *testing.T) {
	r := newRig(t, func(s *Settings) { s.ProtectedHeaders = []string{"X-Internal-*"} })
	heads := make(chan string, 1)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		head, err := readHead(in)
		if err != nil {
			return
		}
		heads <- head
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Internal-Secret: s\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-WASP-Status: 200\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
	})
	resp, _ := r.get("/svc/x",
		"X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "X-Consumer-ID: root", "X_Consumer_Username: root",
		"X-WASP-QS: a", "X-Internal-User: root", "x_internal_user: root", "Proxy: http://evil", "Proxy-Authorization: Basic eA==",
		"Connection: keep-alive, X-Forwarded-For, X-Drop-Me", "X-Drop-Me: 1", "Keep-Alive: 5", "TE: gzip", "X-Many: 1", "x-many: 2", "Via: 1.0 fred")
	head := <-heads
	for _, want := range []string{
		"GET /x HTTP/1.1\r\nHost: gw.test\r\n", "X-Many: 1\r\nx-many: 2\r\n", "\r\nX-Forwarded-For: 127.0.0.1\r\n", "\r\nX-Real-IP: 127.0.0.1\r\n",
		"\r\nX-Forwarded-Proto: http\r\n", "\r\nX-Forwarded-Host: gw.test\r\n", "\r\nX-Forwarded-Prefix: /svc\r\n",
		"\r\nForwarded: for=127.0.0.1;proto=http;host=\"gw.test\"\r\n", "\r\nVia: 1.0 fred, 1.1 lictor-", "\r\nX-Request-Id: ", "\r\ntraceparent: 00-",
	} {
		if !strings.Contains(head, want) {
			t.Errorf("upstream head lacks %q:\n%s", want, head)
		}
	}
	lower := strings.ToLower(head)
	for _, bad := range []string{"6.6.6.6", "root", "evil", "x-drop-me", "keep-alive", "proxy", "x-wasp", "te:", "connection:"} {
		if strings.Contains(lower, bad) {
			t.Errorf("upstream head has %q:\n%s", bad, head)
		}
	}
	for _, bad := range []string{"X-Internal-Secret", "X-Hop", "X-Wasp-Status", "Connection"} {
		if resp.Header.Get(bad) != "" {
			t.Errorf("the answer has %s", bad)
		}
	}
	if got := resp.Header["X-A"]; len(got) != 2 || resp.Header.Get("Date") == "" {
		t.Errorf("X-A is %q, Date %q", got, resp.Header.Get("Date"))
	}
}

// C17, D6: a trusted proxy's word is continued, right to left.
func TestTrustedProxies(t *testing.T) {
	r := newRig(t, func(s *Settings) {
		s.TrustedProxies = append(s.TrustedProxies, mustPrefix("127.0.0.0/8"), mustPrefix("10.0.0.0/8"))
	})
	r.backend(func(w http.ResponseWriter, req *http.Request) {
		h := req.Header
		fmt.Fprintf(w, "%s|%s|%s|%s|%s", h.Get("X-Real-Ip"), h.Get("X-Forwarded-For"), h.Get("X-Forwarded-Proto"), h.Get("Forwarded"), h.Get("X-Request-Id"))
	})
	_, body := r.get("/svc/", "X-Forwarded-For: 6.6.6.6, 9.9.9.9", "X-Forwarded-For: 10.1.1.1", "X-Forwarded-Proto: https", "X-Request-Id: abc-1")
	want := `9.9.9.9|6.6.6.6, 9.9.9.9, 10.1.1.1, 127.0.0.1|https|for=6.6.6.6, for=9.9.9.9, for=10.1.1.1, for=127.0.0.1;proto=https;host="gw.test"|abc-1`
	if body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

// D4: the first bytes of a slow answer reach the client at once, and a
// chunked upload reaches the backend while it is being sent.
func TestStreamsBothWays(t *testing.T) {
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		if head, err := readHead(in); err != nil || !strings.Contains(head, "Transfer-Encoding: chunked\r\n") {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 3 { // echo chunk by chunk
			size, _ := in.ReadString('\n')
			data, _ := in.ReadString('\n')
			io.WriteString(c, size+data)
		}
		io.WriteString(c, "0\r\n\r\n")
	})
	c := r.dial()
	c.send("POST /svc/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := range 3 {
		c.send("3\r\nab" + string(rune('0'+i)) + "\r\n")
		if i == 0 {
			if head, err := readHead(c.in); err != nil || !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Fatalf("%v %q", err, head)
			}
		}
		c.in.ReadString('\n')
		if line, _ := c.in.ReadString('\n'); line != "ab"+string(rune('0'+i))+"\r\n" {
			t.Fatalf("got %q", line)
		}
	}
}

// D4: client gone, upstream request cancelled. One that closes its sending side alone
// cannot be told from it.
func TestClientThatLeavesCancelsTheUpstream(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn) error{
		"it closes":                            (*net.TCPConn).Close,
		"it closes its sending side and reads": (*net.TCPConn).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			gone := make(chan struct{})
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				in.ReadByte() // until the gateway closes
				close(gone)
			})
			c := r.dial()
			c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\n\r\n")
			r.oneLasts()
			if err := leave(c.Conn.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
			select {
			case <-gone:
			case <-time.After(soon):
				t.Error("the upstream request goes on")
			}
		})
	}
}

// An upstream that answers before it has read the body does not deadlock.
func TestEarlyAnswer(t *testing.T) {
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
	})
	c := r.dial()
	c.send("POST /svc/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
	go c.Write(make([]byte, 8<<20))
	resp, body := c.answer("POST")
	if resp.StatusCode != 413 || body != "no\n" || !resp.Close {
		t.Errorf("got %d %q close=%v", resp.StatusCode, body, resp.Close)
	}
}

// D6: trailers, 1xx, bodyless answers, requests in a row.
func TestMessagesOnOneConnection(t *testing.T) {
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			switch req.URL.Path {
			case "/hints":
				io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			case "/trailers":
				io.WriteString(c, "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: "+req.Trailer.Get("X-Up")+"\r\nX-Consumer-Id: no\r\n\r\n")
			case "/204":
				io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
			case "/304":
				io.WriteString(c, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
			case "/close":
				io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nuntil the end")
				return
			default:
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
				if req.Method != "HEAD" {
					io.WriteString(c, "hello")
				}
			}
		}
	})
	c := r.dial()
	c.send("GET /svc/hints HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST /svc/trailers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Up\r\n\r\n1\r\na\r\n0\r\nX-Up: yes\r\n\r\n" +
		"HEAD /svc/ HTTP/1.1\r\nHost: x\r\n\r\nGET /svc/204 HTTP/1.1\r\nHost: x\r\n\r\nGET /svc/304 HTTP/1.1\r\nHost: x\r\n\r\n" +
		"GET /nosuch HTTP/1.1\r\nHost: x\r\n\r\nGET /svc/close HTTP/1.1\r\nHost: x\r\n\r\nGET /svc/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if head, _ := readHead(c.in); !strings.HasPrefix(head, "HTTP/1.1 103 ") || !strings.Contains(head, "Link: </a>") {
		t.Errorf("hints: %q", head)
	}
	if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "ok" {
		t.Errorf("after hints: %d %q", resp.StatusCode, body)
	}
	if resp, body := c.answer("POST"); body != "ok" || resp.Trailer.Get("X-T") != "yes" || resp.Trailer.Get("X-Consumer-Id") != "" {
		t.Errorf("trailers: %q %v", body, resp.Trailer)
	}
	if resp, body := c.answer("HEAD"); resp.ContentLength != 5 || body != "" {
		t.Errorf("HEAD: %d %q", resp.ContentLength, body)
	}
	for _, want := range []int{204, 304, 503} {
		if resp, _ := c.answer("GET"); resp.StatusCode != want {
			t.Errorf("got %d, want %d", resp.StatusCode, want)
		}
	}
	if resp, body := c.answer("GET"); body != "until the end" || resp.TransferEncoding[0] != "chunked" {
		t.Errorf("until close: %q %v", body, resp.TransferEncoding)
	}
	if resp, body := c.answer("GET"); body != "hello" || !resp.Close {
		t.Errorf("last: %q close=%v", body, resp.Close)
	}
	if _, err := c.in.ReadByte(); err != io.EOF {
		t.Errorf("after the last answer: %v, want EOF", err)
	}
}

// D20: an upgrade becomes a tunnel with half-close.
func TestUpgrade(t *testing.T) {
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		head, _ := readHead(in)
		if !strings.Contains(head, "Connection: Upgrade\r\nUpgrade: echo\r\n") {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello ")
		all, _ := io.ReadAll(in) // until the client's half-close
		c.Write(all)
		io.WriteString(c, " bye")
	})
	c := r.dial()
	c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly ")
	head, err := readHead(c.in)
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "Upgrade: echo\r\n") {
		t.Fatalf("%v %q", err, head)
	}
	r.oneLasts()
	c.send("late")
	c.Conn.(*net.TCPConn).CloseWrite()
	if all, err := io.ReadAll(c.in); err != nil || string(all) != "hello early late bye" {
		t.Errorf("%v %q", err, all)
	}
}

// Nothing is allocated per request on the common path.
func TestCommonPathDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		return // the race detector's own allocations, and sync.Pool drops at random under it
	}
	t.Run("without telemetry", func(t *testing.T) { doesNotAllocate(t, nil, "") })
	t.Run("with a trace that begins here and is not kept", func(t *testing.T) { doesNotAllocate(t, keeping(0), "") })
	t.Run("with a trace of the client's that is not kept", func(t *testing.T) { doesNotAllocate(t, keeping(0), sampled+"\r\ntracestate: a=1,b=2\r\n") })
}

func doesNotAllocate(t *testing.T, traces *answer.Traces, fields string) {
	r := newRigWith(t, nil, func(c *Config) { c.Traces = traces })
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")
		for {
			for {
				line, err := in.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
			}
			c.Write(answer)
		}
	})
	c := r.dial()
	request := []byte("GET /svc/index.html?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: test\r\nAccept: */*\r\n" + fields + "\r\n")
	buf := make([]byte, 4096)
	once := func() {
		c.Write(request)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		once()
	}
	if n := testing.AllocsPerRun(1000, once); n > 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
}
