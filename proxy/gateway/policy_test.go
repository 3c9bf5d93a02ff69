package gateway

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/policy/document"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// put is a change that writes a document.
func put(t testing.TB, kind policy.Kind, name, doc string) policy.Change {
	t.Helper()
	c := document.Change(policy.Key{Kind: kind, Name: name}, 7, 7, []byte(doc))
	if c.Err != nil {
		t.Fatalf("%s/%s: %v", kind, name, c.Err)
	}
	return c
}

func keyHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// C19-C24, C5, C17, C18: what the gateway makes of verdicts.
func TestPolicyAtTheGateway(t *testing.T) {
	r := newRig(t, nil)
	r.backend(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, req.URL.RawQuery+"|"+req.Header.Get("Apikey")+"|"+req.Header.Get("X-Consumer-Username")+"|"+req.Header.Get("X-Consumer-Groups"))
	})
	r.rules.apply(
		put(t, policy.KindConsumers, "thefosk", `{"name": "thefosk", "id": "c-1", "groups": ["only_get"]}`),
		put(t, policy.KindCredentials, keyHash("k1"), `{"consumer": "c-1"}`),
		put(t, policy.KindPlugins, "auth", `{"id": "auth", "name": "key-auth", "config": {"hide_credentials": true}}`),
		put(t, policy.KindPlugins, "limit", `{"id": "limit", "name": "rate-limiting", "config": {"hour": 2}}`),
		put(t, policy.KindFilters, "get", `{"name": "get", "methods": ["GET"]}`),
		put(t, policy.KindACLs, "a", `{"id": "a", "api": "svc", "groups": ["only_get"], "filters": ["get"]}`),
		put(t, policy.KindBlacklist, "ops", `{"entries": ["/svc/admin"], "direction": "ingress"}`),
	)
	resp, body := r.get("/svc/x")
	if resp.StatusCode != 401 || !strings.Contains(body, "No API key found in request") || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Key") {
		t.Errorf("no key: %d %s %q", resp.StatusCode, body, resp.Header.Get("WWW-Authenticate"))
	}
	if resp, body := r.get("/svc/x", "apikey: nope"); resp.StatusCode != 401 || !strings.Contains(body, "bad_credentials") {
		t.Errorf("wrong key: %d %s", resp.StatusCode, body)
	}
	for _, path := range []string{"/svc/admin", "/svc//admin", "/svc/%61dmin/x", "/svc/x/..%2fadmin", "/svc/a/../admin;v=1"} {
		if resp, body := r.get(path, "apikey: k1"); resp.StatusCode != 403 || !strings.Contains(body, `"reason": "blacklist"`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	resp, body = r.get("/svc/x?a=1&apikey=k1&b=2", "X-Consumer-Username: root")
	if resp.StatusCode != 200 || body != "a=1&b=2||thefosk|only_get" {
		t.Errorf("key in query: %d %s", resp.StatusCode, body)
	}
	if h := resp.Header; h.Get("X-RateLimit-Limit-Hour") != "2" || h.Get("X-RateLimit-Remaining-Hour") != "1" || h.Get("RateLimit-Remaining") != "1" {
		t.Errorf("limit headers: %v", h)
	}
	if resp, body := r.get("/svc/x", "apikey: k1"); resp.StatusCode != 200 || body != "||thefosk|only_get" {
		t.Errorf("key in header: %d %s", resp.StatusCode, body)
	}
	resp, body = r.get("/svc/x", "apikey: k1")
	if resp.StatusCode != 429 || !strings.Contains(body, "API rate limit exceeded") || resp.Header.Get("Retry-After") == "" || resp.Header.Get("X-RateLimit-Remaining-Hour") != "0" {
		t.Errorf("over the limit: %d %s %v", resp.StatusCode, body, resp.Header)
	}
}

// X6: without a policy nothing passes.
func TestNoPolicyRefuses(t *testing.T) {
	r := newRig(t, nil)
	r.backend(func(http.ResponseWriter, *http.Request) { t.Error("the backend was reached") })
	r.rules.set.Store(nil)
	if resp, body := r.get("/svc/x"); resp.StatusCode != 503 || !strings.Contains(body, "policy_unavailable") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// X14: a change of policy reaches answers that are running.
func TestRevocationCutsRunningAnswers(t *testing.T) {
	tests := []struct{ name, request, answer string }{
		{"a stream", "GET /svc/s HTTP/1.1\r\nHost: x\r\napikey: k1\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"},
		{"a download", "GET /svc/s HTTP/1.1\r\nHost: x\r\napikey: k1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc"},
		{"a tunnel", "GET /svc/s HTTP/1.1\r\nHost: x\r\napikey: k1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nabc"},
		{"a slow answer", "GET /svc/s HTTP/1.1\r\nHost: x\r\napikey: k1\r\n\r\n", ""},
		{"an upload", "POST /svc/s HTTP/1.1\r\nHost: x\r\napikey: k1\r\nContent-Length: 1000000\r\n\r\nabc", ""},
	}
	revocations := map[string]func(t *testing.T) policy.Change{
		"credential revoked": func(*testing.T) policy.Change {
			return document.Deleted(policy.Key{Kind: policy.KindCredentials, Name: keyHash("k1")})
		},
		"consumer deleted": func(*testing.T) policy.Change {
			return document.Deleted(policy.Key{Kind: policy.KindConsumers, Name: "thefosk"})
		},
		"address blacklisted": func(t *testing.T) policy.Change { return put(t, policy.KindBlacklist, "b", `["127.0.0.1"]`) },
	}
	for _, tt := range tests {
		for why, revoke := range revocations {
			t.Run(tt.name+", "+why, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, nil)
				upstreamGone := make(chan struct{})
				r.rawBackend(func(c net.Conn, in *bufio.Reader) {
					readHead(in)
					io.WriteString(c, tt.answer)
					io.Copy(io.Discard, in)
					close(upstreamGone)
				})
				r.rules.apply(
					put(t, policy.KindConsumers, "thefosk", `{"name": "thefosk"}`),
					put(t, policy.KindCredentials, keyHash("k1"), `{"consumer": "thefosk"}`),
					put(t, policy.KindACLs, "a", `{"id": "a", "api": "svc", "consumers": ["thefosk"]}`),
				)
				c := r.dial()
				c.send(tt.request)
				if tt.answer != "" {
					if head, err := readHead(c.in); err != nil {
						t.Fatalf("%v %q", err, head)
					}
				}
				r.oneLasts()
				began := time.Now()
				r.rules.apply(revoke(t))
				r.gw.PolicyChanged()
				io.Copy(io.Discard, c.in) // until it is cut
				if took := time.Since(began); took > soon {
					t.Errorf("cut after %v", took)
				}
				select {
				case <-upstreamGone:
				case <-time.After(soon):
					t.Error("the upstream goes on")
				}
			})
		}
	}
}

// X14: a key that runs out ends the answer that it let through, though nobody
// changes the policy; one that does not goes on.
func TestKeyThatRunsOutCutsRunningAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for range time.Tick(20 * time.Millisecond) {
			if _, err := io.WriteString(c, "event\n"); err != nil {
				return
			}
		}
	})
	r.rules.apply(
		put(t, policy.KindConsumers, "ann", `{"name": "ann"}`),
		put(t, policy.KindCredentials, keyHash("long"), `{"consumer": "ann"}`),
		put(t, policy.KindPlugins, "auth", `{"id": "auth", "name": "key-auth"}`),
	)
	open := func(key string) (c *client, status string) {
		c = r.dial()
		c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\napikey: " + key + "\r\n\r\n")
		head, err := readHead(c.in)
		if err != nil {
			t.Fatalf("%q %v", head, err)
		}
		return c, strings.Fields(head)[1]
	}
	var short *client
	eventually.True(t, "it is let through before its key runs out", func() (in bool) {
		end := time.Now().Add(time.Second).Format(time.RFC3339Nano)
		r.rules.apply(put(t, policy.KindCredentials, keyHash("short"), `{"consumer": "ann", "not_after": "`+end+`"}`))
		c, status := open("short")
		short = c
		return status == "200"
	})
	long, status := open("long")
	if status != "200" {
		t.Fatalf("got %s", status)
	}
	if _, err := io.Copy(io.Discard, short.in); err == nil {
		t.Error("the answer ended as if it were whole")
	}
	if _, err := io.CopyN(io.Discard, long.in, 2<<10); err != nil {
		t.Errorf("the other answer was cut: %v", err)
	}
}

// X14: what stays allowed is not cut.
func TestUnrelatedChangeCutsNothing(t *testing.T) {
	r := newRig(t, nil)
	next := make(chan string)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for s := range next {
			io.WriteString(c, s)
		}
	})
	c := r.dial()
	c.send("GET /svc/s HTTP/1.1\r\nHost: x\r\n\r\n")
	next <- "1\r\na\r\n"
	readHead(c.in)
	r.oneLasts()
	r.rules.apply(put(t, policy.KindBlacklist, "b", `["10.1.1.1", "/other"]`))
	r.gw.PolicyChanged()
	eventually.Holds(t, 300*time.Millisecond, "it is not cut", func() bool { return r.lasting() == 1 })
	next <- "1\r\nb\r\n0\r\n\r\n"
	close(next)
	if all, _ := c.in.ReadString('b'); !strings.HasSuffix(all, "b") {
		t.Errorf("got %q", all)
	}
}

// B15, X2: a mapped host goes to its backends with Host, path and query as they are.
func TestMappedHost(t *testing.T) {
	r := newRig(t, nil)
	s := r.backend(func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, req.Host+req.RequestURI) })
	r.rules.apply(put(t, policy.KindMappings, "www.example.org", `{"domain": "www.example.org", "tenant": "t", "backends": ["http://`+s.Listener.Addr().String()+`/base"]}`))
	c := r.dial()
	for range 2 {
		c.send("GET /svc/x?y=1 HTTP/1.1\r\nHost: WWW.Example.org.:80\r\n\r\n")
		if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "WWW.Example.org.:80/base/svc/x?y=1" {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
}

// E7: rules for a service hold however the path spells it.
func TestRulesGoByTheServiceNotItsSpelling(t *testing.T) {
	r := newRig(t, nil)
	s := r.backend(func(http.ResponseWriter, *http.Request) {})
	r.src.catalog.Store(resolver.NewFoldedCatalog(&resolver.Service{Name: "svc", Loaded: true, Instances: []*resolver.Instance{
		{ID: "a", Address: s.Listener.Addr().String(), Weight: 1, State: resolver.Passing}}}))
	r.rules.apply(put(t, policy.KindACLs, "a", `{"id": "a", "api": "svc", "groups": ["nobody"]}`))
	for _, path := range []string{"/svc/x", "/SVC/x", "/Svc/x"} {
		if resp, _ := r.get(path); resp.StatusCode != 401 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

// D19
func TestMiddleware(t *testing.T) {
	match := func(path string) middleware.Match { return middleware.Match{Paths: []string{path}} }
	r := newRig(t, func(s *Settings) {
		s.Middleware = middleware.New([]middleware.Rule{
			{Name: "edit", Match: match("/svc/edit"), Effect: middleware.Effect{
				Request:  &middleware.Edit{Set: []middleware.Field{{Name: "X-A", Value: "new"}}, Remove: []string{"X-B"}, Add: []middleware.Field{{Name: "X-C", Value: "2"}}},
				Response: &middleware.Edit{Remove: []string{"Server"}, Set: []middleware.Field{{Name: "X-D", Value: "3"}}}}},
			{Name: "block", Match: match("/svc/blocked"), Effect: middleware.Effect{Block: &middleware.Block{Status: 410, Message: "gone"}}},
			{Name: "would", Match: match("/svc/would"), Report: true, Effect: middleware.Effect{Block: &middleware.Block{Status: 410}}},
			{Name: "route", Match: match("/svc/other"), Effect: middleware.Effect{Route: "closed"}},
		})
	})
	s := r.backend(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Server", "x")
		io.WriteString(w, strings.Join(req.Header.Values("X-A"), ",")+"|"+req.Header.Get("X-B")+"|"+strings.Join(req.Header.Values("X-C"), ","))
	})
	addr := s.Listener.Addr().String()
	one := func(name string) *resolver.Service {
		return &resolver.Service{Name: name, Loaded: true, Instances: []*resolver.Instance{{ID: "a", Address: addr, Weight: 1, State: resolver.Passing}}}
	}
	r.src.catalog.Store(resolver.NewCatalog(one("svc"), one("closed")))
	r.rules.apply(put(t, policy.KindACLs, "a", `{"id": "a", "api": "closed", "groups": ["nobody"]}`))
	resp, body := r.get("/svc/edit", "X-A: 1", "x-a: 2", "X-B: 1", "X-C: 1")
	if body != "new||1,2" || resp.Header.Get("Server") != "" || resp.Header.Get("X-D") != "3" {
		t.Errorf("edit: %q %v", body, resp.Header)
	}
	if resp, body := r.get("/svc//x/../blocked;v=1"); resp.StatusCode != 410 || !strings.Contains(body, `"reason": "middleware"`) {
		t.Errorf("block: %d %s", resp.StatusCode, body)
	}
	if resp, _ := r.get("/svc/would"); resp.StatusCode != 200 {
		t.Errorf("report: %d", resp.StatusCode)
	}
	if resp, body := r.get("/svc/other"); resp.StatusCode != 401 {
		t.Errorf("routing is a way round the ACL: %d %s", resp.StatusCode, body)
	}
}
