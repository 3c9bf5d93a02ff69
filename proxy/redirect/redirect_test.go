package redirect

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/crash"
	"lictor/internal/eventually"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

func testSettings() Settings {
	return Settings{Port: 443, Header: 5 * time.Second, MaxHeader: 8 << 10}
}

// serve runs a server until the test ends, and returns it and its address.
func serve(t *testing.T, configure func(*Config)) (*Server, string) {
	t.Helper()
	cfg := Config{Settings: testSettings(), Log: hclog.NewNullLogger()}
	if configure != nil {
		configure(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx, l); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return s, l.Addr().String()
}

// say sends text on a connection of its own and returns the answer.
func say(t *testing.T, addr, text string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, text)
	method, _, _ := strings.Cut(text, " ")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadByte(); err == nil || !resp.Close {
		t.Errorf("%q: the connection goes on", text)
	}
	return resp, string(body)
}

func TestTarget(t *testing.T) {
	tests := []struct {
		name         string
		method, path string
		host         string
		port         uint16
		want         string // "" = refused
	}{
		{"a path", "GET", "/a/b", "example.org", 443, "https://example.org/a/b"},
		{"a query stays", "GET", "/a?b=c&d=%2F", "example.org", 443, "https://example.org/a?b=c&d=%2F"},
		{"any method", "POST", "/", "example.org", 443, "https://example.org/"},
		{"the port of plain HTTP goes", "GET", "/", "example.org:80", 443, "https://example.org/"},
		{"another port of https is said", "GET", "/", "example.org:8080", 8443, "https://example.org:8443/"},
		{"an address of IPv6", "GET", "/", "[2001:DB8::1]:80", 8443, "https://[2001:db8::1]:8443/"},
		{"upper case and a dot at the end", "GET", "/", "EXAMPLE.org.", 443, "https://example.org/"},
		{"a target with its authority", "GET", "http://example.org/x?y", "example.org", 443, "https://example.org/x?y"},
		{"that has no path", "GET", "http://example.org?y", "example.org", 443, "https://example.org/?y"},
		{"two slashes stay behind the host", "GET", "//evil.example/x", "example.org", 443, "https://example.org//evil.example/x"},
		{"so does a backslash", "GET", `/\evil.example`, "example.org", 443, `https://example.org/\evil.example`},
		{"a URL in the query is no target", "GET", "/?to=http://evil.example/", "example.org", 443, "https://example.org/?to=http://evil.example/"},
		{"dot segments stay", "GET", "/a/../b", "example.org", 443, "https://example.org/a/../b"},
		{"no host", "GET", "/", "", 443, ""},
		{"a user before the host", "GET", "/", "example.org@evil.example", 443, ""},
		{"a path in the host", "GET", "/", "evil.example/", 443, ""},
		{"a backslash in the host", "GET", "/", `evil.example\`, 443, ""},
		{"a fragment in the host", "GET", "/", "evil.example#", 443, ""},
		{"an escape in the host", "GET", "/", "evil.example%2f", 443, ""},
		{"two ports", "GET", "/", "example.org:80:81", 443, ""},
		{"a port that is none", "GET", "/", "example.org:443@evil.example", 443, ""},
		{"an address with a zone", "GET", "/", "[fe80::1%25eth0]", 443, ""},
		{"no path", "OPTIONS", "*", "example.org", 443, ""},
		{"an authority alone", "CONNECT", "example.org:443", "example.org:443", 443, ""},
		{"a control character", "GET", "/%00", "example.org", 443, ""},
		{"a fragment", "GET", "/#x", "example.org", 443, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := &message.RequestHead{Method: tt.method, Target: tt.path, Host: tt.host}
			got, err := target(req, tt.port)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestEverythingIsRedirectedAndNothingElse(t *testing.T) {
	var lines bytes.Buffer
	log, err := answer.NewAccessLogTo(&lines, "")
	if err != nil {
		t.Fatal(err)
	}
	_, addr := serve(t, func(c *Config) { c.AccessLog, c.Settings.Port = log, 8443 })
	for _, text := range []string{
		"GET /svc/x?secret=1 HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"HEAD /svc/x?secret=1 HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"POST /svc/x?secret=1 HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\nabc",
		"GET http://example.org/svc/x?secret=1 HTTP/1.1\r\nHost: other.example\r\n\r\n",
	} {
		resp, body := say(t, addr, text)
		if resp.StatusCode != 308 || resp.Header.Get("Location") != "https://example.org:8443/svc/x?secret=1" || body != "" || resp.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%q: got %d %v %q", text, resp.StatusCode, resp.Header, body)
		}
	}
	if resp, body := say(t, addr, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"); resp.StatusCode != 400 || resp.Header.Get("Location") != "" || !strings.Contains(body, `"reason": "bad_request"`) {
		t.Errorf("a bad host: got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	if resp, _ := say(t, addr, "GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n"); resp.StatusCode != 400 {
		t.Errorf("a bad head: got %d", resp.StatusCode)
	}
	if err := log.Flush(time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := lines.String(); strings.Count(got, "\n") != 6 || strings.Count(got, `"listener": "redirect"`) != 6 || strings.Contains(got, "secret") {
		t.Errorf("the access log says:\n%s", got)
	}
}

func TestBoundsOfClients(t *testing.T) {
	s, addr := serve(t, func(c *Config) {
		c.Settings.Header, c.Settings.MaxHeader = 100*time.Millisecond, 1<<10
		c.Settings.Admission = http1.Admission{ConnectionsPerClient: 1}
	})
	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	eventually.True(t, "the first connection is served", func() bool { return s.server.Open() == 1 })
	ended := map[string]net.Conn{"a client that says nothing": silent}
	if second, err := net.Dial("tcp", addr); err == nil { // else it was ended before the dialler looked
		defer second.Close()
		ended["one too many"] = second
	}
	for name, c := range ended {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadAll(c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s is not ended", name)
		}
	}
	eventually.True(t, "both are gone", func() bool { return s.server.Open() == 0 })
	if resp, _ := say(t, addr, "GET /"+strings.Repeat("x", 2<<10)+" HTTP/1.1\r\nHost: x\r\n\r\n"); resp.StatusCode != 414 && resp.StatusCode != 431 {
		t.Errorf("a long head: got %d", resp.StatusCode)
	}
	next := testSettings()
	next.Port = 9443
	s.Update(next)
	if resp, _ := say(t, addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); resp.Header.Get("Location") != "https://x:9443/" {
		t.Errorf("after the update: %v", resp.Header)
	}
}

func TestChallengesAreAnswered(t *testing.T) {
	crash.SetReport(func(string, any, []byte) {})
	var asked []string
	var mu sync.Mutex
	_, addr := serve(t, func(c *Config) {
		c.Challenge = func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			asked = append(asked, r.Host+r.URL.Path)
			mu.Unlock()
			if _, ok := r.Context().Deadline(); !ok {
				t.Error("it may take for ever")
			}
			switch {
			case strings.HasSuffix(r.URL.Path, "/known"):
				w.Header().Set("Set-Cookie", "not=sent")
				io.WriteString(w, "known.proof")
			case strings.HasSuffix(r.URL.Path, "/long"):
				_, err := w.Write(make([]byte, challengeMost+1))
				if err == nil {
					t.Error("a long answer is taken")
				}
			case strings.HasSuffix(r.URL.Path, "/mad"):
				panic("mad")
			default:
				return false
			}
			return true
		}
	})
	resp, body := say(t, addr, "GET "+challengePath+"known HTTP/1.1\r\nHost: example.org\r\n\r\n")
	if resp.StatusCode != 200 || body != "known.proof" || resp.Header.Get("Set-Cookie") != "" {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	if resp, body := say(t, addr, "GET "+challengePath+"long HTTP/1.1\r\nHost: example.org\r\n\r\n"); resp.StatusCode != 200 || body != "" {
		t.Errorf("a long one: got %d with %d bytes", resp.StatusCode, len(body))
	}
	for _, text := range []string{ // of which the handler hears the first alone
		"GET " + challengePath + "unknown HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"POST " + challengePath + "known HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"GET " + challengePath + " HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"GET " + challengePath + "a/../known HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"GET " + challengePath + "known?x HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"GET /x" + challengePath + "known HTTP/1.1\r\nHost: example.org\r\n\r\n",
	} {
		if resp, _ := say(t, addr, text); resp.StatusCode != 308 {
			t.Errorf("%q: got %d", text, resp.StatusCode)
		}
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET "+challengePath+"mad HTTP/1.1\r\nHost: example.org\r\n\r\n")
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("a panic is answered %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 4 || asked[0] != "example.org"+challengePath+"known" {
		t.Errorf("asked for %q", asked)
	}
}
