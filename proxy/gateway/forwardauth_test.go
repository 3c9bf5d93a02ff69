package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"lictor/policy"
	"lictor/proxy/middleware"
)

// authority is somebody who is asked, and what came.
type authority struct {
	*httptest.Server
	mu  sync.Mutex
	got []*http.Request
}

// authority serves the questions of a plugin forward-auth with further settings.
func (r *rig) authority(config string, h http.HandlerFunc) *authority {
	r.t.Helper()
	a := new(authority)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		a.mu.Lock()
		a.got = append(a.got, q)
		a.mu.Unlock()
		h(w, q)
	}))
	r.t.Cleanup(a.Close)
	r.asks(a.URL, config)
	return a
}

// asks puts the plugin in force.
func (r *rig) asks(url, config string) {
	r.t.Helper()
	if config != "" {
		config = ", " + config
	}
	r.rules.apply(put(r.t, policy.KindPlugins, "ask", fmt.Sprintf(`{"name": "forward-auth", "config": {"url": %q%s}}`, url, config)))
}

// headers serves svc, and returns a function that returns the header that came last.
func (r *rig) headers() func() http.Header {
	var last atomic.Pointer[http.Header]
	last.Store(new(http.Header))
	r.backend(func(_ http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		all := q.Header.Clone()
		for name, values := range q.Trailer {
			all["Trailer: "+name] = values
		}
		last.Store(&all)
	})
	return func() http.Header { return *last.Load() }
}

// questions are those that came since it was called last.
func (a *authority) questions() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.got
	a.got = nil
	return got
}

func says(status int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		if status > 299 {
			io.WriteString(w, "<p>log in")
		}
	}
}

func TestAYesSetsTheHeadersThatNobodyElseCan(t *testing.T) { // P3
	r := newRig(t, func(s *Settings) { s.TrustedNetworks = []netip.Prefix{mustPrefix("127.0.0.0/8")} })
	headers := r.headers()
	r.authority(`"path": "/oauth2/auth", "response_headers": ["X-Auth-Request-*", "Authorization", "Remote-User"]`,
		says(202, "X-Auth-Request-User", "ann", "X-Auth-Request-Groups", "a", "X-Auth-Request-Groups", "b", "Authorization", "Bearer own", "X-Other", "no",
			"Set-Cookie", "s=fresh; Path=/", "Set-Cookie", "t=1"))
	for _, forged := range []string{"X-Auth-Request-User: eve", "x_auth_request_user: eve", "X-Auth-Request-Email: eve@x", "Remote_User: eve", "remote.user: eve", "Authorization: Basic x"} {
		resp, _ := r.get("/svc/x", forged)
		seen := headers()
		if resp.StatusCode != 200 || seen.Get("X-Auth-Request-User") != "ann" || len(seen["Authorization"]) != 1 || seen.Get("Authorization") != "Bearer own" {
			t.Errorf("%s: got %d, the backend sees %v", forged, resp.StatusCode, seen)
		}
		if !slices.Equal(seen["X-Auth-Request-Groups"], []string{"a", "b"}) || seen.Get("X-Other") != "" || seen.Get("X-Auth-Request-Email") != "" {
			t.Errorf("%s: the backend sees %v", forged, seen)
		}
		for name := range seen {
			if strings.EqualFold(strings.Map(func(c rune) rune { return map[bool]rune{true: '-', false: c}[c == '_' || c == '.'] }, name), "Remote-User") {
				t.Errorf("%s: it came through as %s", forged, name)
			}
		}
		if got := resp.Header["Set-Cookie"]; !slices.Equal(got, []string{"s=fresh; Path=/", "t=1"}) {
			t.Errorf("the client is not told of its session: %v", got)
		}
	}
}

// What middleware sets, adds or removes by these names is the authority's to say, however
// many of them there are.
func TestNoEditOfMiddlewareSpeaksForAnAuthority(t *testing.T) { // P3
	r := newRig(t, func(s *Settings) {
		s.Middleware = middleware.New([]middleware.Rule{{Name: "m", Effect: middleware.Effect{Request: &middleware.Edit{
			Set: []middleware.Field{{Name: "X-Auth-User", Value: "eve"}, {Name: "X-Auth-Groups", Value: "all"}, {Name: "X-Kept", Value: "yes"}},
			Add: []middleware.Field{{Name: "X_Auth_Email", Value: "eve@x"}, {Name: "X-Auth-Role", Value: "admin"}},
		}}}})
	})
	headers := r.headers()
	r.authority(`"response_headers": ["X-Auth-*"]`, says(200, "X-Auth-User", "ann"))
	r.get("/svc/x")
	for name, values := range headers() {
		if said := strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-auth-"); said && (name != "X-Auth-User" || !slices.Equal(values, []string{"ann"})) {
			t.Errorf("the backend sees %s: %q", name, values)
		}
	}
	if got := headers().Get("X-Kept"); got != "yes" {
		t.Errorf("another edit of the middleware came to %q", got)
	}
}

func TestANoGoesToTheClient(t *testing.T) { // P3
	r := newRig(t, nil)
	rec := r.recorder()
	for _, tt := range []struct {
		name   string
		says   http.HandlerFunc
		status int
		fields map[string]string
		body   string
	}{
		{"oauth2-proxy's /oauth2/auth", says(401, "Content-Type", "text/plain", "WWW-Authenticate", `Bearer realm="x"`), 401,
			map[string]string{"WWW-Authenticate": `Bearer realm="x"`, "Content-Type": "text/plain", "Cache-Control": "no-store"}, "<p>log in"},
		{"oauth2-proxy's /, and Authelia's forward-auth", says(302, "Content-Type", "text/html", "Location", "https://auth.ex/?rd=1", "Set-Cookie", "_csrf=1"), 302,
			map[string]string{"Location": "https://auth.ex/?rd=1", "Set-Cookie": "_csrf=1", "Content-Type": "text/html"}, "<p>log in"},
		{"Authelia's auth-request", says(401, "Location", "https://auth.ex/"), 401, map[string]string{"Location": "https://auth.ex/"}, "<p>log in"},
		{"what is forbidden", says(403, "X-Secret", "s", "Remote-User", "ann"), 403, map[string]string{"X-Secret": "", "Remote-User": ""}, "<p>log in"},
	} {
		r.authority(`"response_headers": ["Remote-User"]`, tt.says)
		resp, body := r.get("/svc/x")
		if resp.StatusCode != tt.status || body != tt.body {
			t.Errorf("%s: got %d %q", tt.name, resp.StatusCode, body)
		}
		for name, want := range tt.fields {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, got, want)
			}
		}
	}
	c := r.dial()
	c.send("HEAD /svc/x HTTP/1.1\r\nHost: h\r\n\r\nGET /svc/y HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, _ := c.answer("HEAD"); resp.StatusCode != 403 {
		t.Errorf("HEAD: got %d", resp.StatusCode)
	}
	if resp, body := c.answer("GET"); resp.StatusCode != 403 || body != "<p>log in" {
		t.Errorf("what follows on the connection: got %d %q", resp.StatusCode, body)
	}
	if all := rec.take(); len(all) > 0 {
		t.Errorf("the backend was asked: %+v", all)
	}
}

func TestWhatAnAuthorityIsTold(t *testing.T) { // P3
	r := newRig(t, func(s *Settings) { s.ProtectedHeaders = []string{"X-Inside"} })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	a := r.authority(`"path": "/auth?groups=a", "request_headers": ["Cookie", "Authorization", "X-Inside", "X-Listed"]`, says(200))
	r.rules.apply(put(t, policy.KindPlugins, "key", `{"name": "key-auth", "config": {"hide_credentials": true}}`),
		put(t, policy.KindConsumers, "ann", `{}`), put(t, policy.KindCredentials, keyHash("k"), `{"consumer": "ann"}`))
	c := r.dial()
	c.send("DELETE /svc/a/../b%2Fc?apikey=k&x=1 HTTP/1.1\r\nHost: app.ex:8000\r\nCookie: a=1\r\nAuthorization: Basic x\r\nAuthorization: Basic y\r\nX-Inside: 1\r\n" +
		"X-Listed: 1\r\nConnection: X-Listed\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Uri: /public\r\nX-Forwarded-Method: GET\r\nX-Original-URL: /public\r\n" +
		"X-Real-IP: 9.9.9.9\r\nContent-Length: 2\r\nX-Consumer-Username: eve\r\n\r\nhi")
	if resp, _ := c.answer("DELETE"); resp.StatusCode != 200 {
		t.Fatalf("got %d", resp.StatusCode)
	}
	all := a.questions()
	if len(all) != 1 {
		t.Fatalf("%d questions", len(all))
	}
	q := all[0]
	for name, want := range map[string]string{
		"X-Forwarded-Method": "DELETE", "X-Forwarded-Uri": "/svc/b%2Fc?x=1", "X-Forwarded-Host": "app.ex:8000", "X-Forwarded-Proto": "http", "X-Forwarded-For": "127.0.0.1",
		"X-Original-Url": "http://app.ex:8000/svc/b%2Fc?x=1", "X-Original-Method": "DELETE", "X-Real-Ip": "127.0.0.1", "Cookie": "a=1", "Authorization": "Basic x, Basic y",
		"X-Inside": "", "X-Listed": "", "Apikey": "", "Content-Length": "", "X-Consumer-Username": "", "Connection": "",
	} {
		if got := strings.Join(q.Header[name], ", "); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if q.Method != "GET" || q.RequestURI != "/auth?groups=a" || q.ContentLength != 0 || "http://"+q.Host != a.URL {
		t.Errorf("got %s %s of %d bytes at %s", q.Method, q.RequestURI, q.ContentLength, q.Host)
	}
}

// What an authority answers badly, or not, lets nobody in.
func TestAnAuthorityThatFailsLetsNobodyIn(t *testing.T) { // P3
	hostile := map[string]string{
		"a status of the server":           "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n",
		"a status past all":                "HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n",
		"nothing":                          "",
		"no HTTP":                          "SSH-2.0-x\r\n\r\n",
		"half a head":                      "HTTP/1.1 200 OK\r\nX: y",
		"half a body":                      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"a body that is too long":          "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n" + strings.Repeat("x", 65537),
		"one that says it is endless":      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"too many chunks":                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("4000\r\n"+strings.Repeat("x", 0x4000)+"\r\n", 5) + "0\r\n\r\n",
		"a bad chunk":                      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"chunks that do not end":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		"two lengths":                      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"length and chunks":                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"another protocol":                 "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		"interim answers only":             strings.Repeat("HTTP/1.1 103 x\r\n\r\n", 100),
		"a huge head":                      "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
		"too many fields":                  "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n",
		"a bare CR in a value":             "HTTP/1.1 200 OK\r\nX-User: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
		"NUL in a value":                   "HTTP/1.1 200 OK\r\nX-User: a\x00\r\nContent-Length: 0\r\n\r\n",
		"a field without a name":           "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
		"a folded field":                   "HTTP/1.1 200 OK\r\nX-User: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"a body until the end, without it": "HTTP/1.0 200 OK\r\n\r\n" + strings.Repeat("x", 70<<10),
	}
	r := newRig(t, nil)
	rec := r.recorder()
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			serveRaw(t, l, func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, text)
			})
			r.asks("http://"+l.Addr().String(), `"response_headers": ["X-User"]`)
			resp, body := r.get("/svc/x")
			if resp.StatusCode != 503 || !strings.Contains(body, `"forward_auth"`) || resp.Header.Get("Retry-After") != "1" {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
		})
	}
	gone := listen(t)
	gone.Close()
	silent := listen(t) // accepts, and says nothing
	drip := listen(t)
	serveRaw(t, drip, func(c net.Conn, in *bufio.Reader) {
		for {
			if _, err := io.WriteString(c, "HTTP/1.1 102 Wait\r\n\r\n"); err != nil {
				return
			}
			if _, err := in.ReadByte(); err != nil {
				return
			}
		}
	})
	for name, l := range map[string]net.Listener{"one that is not there": gone, "one that is silent": silent, "one that says wait": drip} {
		r.asks("http://"+l.Addr().String(), `"timeout": "100ms"`)
		if resp, body := r.get("/svc/x"); resp.StatusCode != 503 || !strings.Contains(body, `"forward_auth"`) {
			t.Errorf("%s: got %d %s", name, resp.StatusCode, body)
		}
	}
	r.rules.apply(put(t, policy.KindPlugins, "ask", `{"name": "forward-auth", "config": {"service": "nobody"}}`))
	if resp, body := r.get("/svc/x"); resp.StatusCode != 503 || !strings.Contains(body, `"forward_auth"`) {
		t.Errorf("an unknown service: got %d %s", resp.StatusCode, body)
	}
	if all := rec.take(); len(all) > 0 {
		t.Errorf("the backend was asked: %+v", all)
	}
}
