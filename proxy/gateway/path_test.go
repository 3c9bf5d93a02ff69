package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/resolver"
)

// What goes to the backend is byte for byte what came, but for dot segments and
// the segment that is stripped, whatever way the service was found.
func TestPathsGoOnAsTheyCame(t *testing.T) {
	r := newRig(t, nil)
	s := r.backend(func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, req.RequestURI) })
	base := "http://" + s.Listener.Addr().String()
	r.rules.apply(
		policy.Change{Key: policy.Key{Kind: policy.KindMappings, Name: "shop.test"}, Index: 1, Object: &policy.Mapping{Domain: "shop.test", Tenant: "t", Backends: []string{base + "/base"}}},
	)
	paths := map[string]string{ // what comes behind the service, and what the backend gets
		"/a%2fb": "/a%2fb", "/%7Euser": "/%7Euser", "/%61.txt": "/%61.txt", "/caf%c3%a9/%C3%a9": "/caf%c3%a9/%C3%a9",
		"/@scope%2fname": "/@scope%2fname", "//a;v=1": "//a;v=1", `/a\b%5c`: `/a\b%5c`, "/x/%2e/%7e/../a%2fb?q=%7e%2f;a=+": "/x/a%2fb?q=%7e%2f;a=+",
		"/caf\xc3\xa9": "/caf\xc3\xa9",
	}
	for in, want := range paths {
		for _, way := range []struct{ name, host, before, base string }{
			{"by segment", "gw.test", "/svc", ""},
			{"by a segment with escapes", "gw.test", "/%73v%63", ""},
			{"by domain", "shop.test", "", "/base"},
		} {
			t.Run(way.name+in, func(t *testing.T) {
				c := r.dial()
				c.send("GET " + way.before + in + " HTTP/1.1\r\nHost: " + way.host + "\r\n\r\n")
				if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != way.base+want {
					t.Errorf("got %d %q, want %q", resp.StatusCode, body, way.base+want)
				}
			})
		}
	}
	r.src.set(resolver.Options{KeepSegment: true}, s.Listener.Addr().String())
	if _, body := r.get("/%73vc/a%2fb"); body != "/%73vc/a%2fb" {
		t.Errorf("with its segment: got %q", body)
	}
}

// No reading of a path climbs above the root of what it is routed to: it is
// refused, and explained so.
func TestPathsThatClimb(t *testing.T) {
	r := newRig(t, nil)
	s := r.backend(func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, req.RequestURI) })
	r.rules.apply(
		policy.Change{Key: policy.Key{Kind: policy.KindMappings, Name: "shop.test"}, Index: 1, Object: &policy.Mapping{Domain: "shop.test", Tenant: "t", Backends: []string{"http://" + s.Listener.Addr().String() + "/base"}}},
	)
	tests := []struct {
		name, host, target string
		status             int
	}{
		{"an escaped slash", "gw.test", "/svc/..%2fx", 400},
		{"all of it escaped", "gw.test", "/svc/%2e%2e%2fx", 400},
		{"a backslash", "gw.test", `/svc/..\x`, 400},
		{"params", "gw.test", "/svc/..;v/x", 400},
		{"further down", "gw.test", "/svc/a/..%2f..%2fx", 400},
		{"out of the base path of a domain's backend", "shop.test", "/..%2fx", 400},
		{"up and down again inside", "gw.test", "/svc/a/..%2fx", 200},
		{"inside of a domain", "shop.test", "/svc/..%2fx", 200},
		{"a path that costs too much to read", "gw.test", "/svc/" + strings.Repeat(";", uri.MaxOddPath), 400},
		{"a long one that is plain", "gw.test", "/svc/" + strings.Repeat("a", 2*uri.MaxOddPath), 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial()
			c.send("GET " + tt.target + " HTTP/1.1\r\nHost: " + tt.host + "\r\n\r\n")
			resp, body := c.answer("GET")
			if resp.StatusCode != tt.status || tt.status == 400 && !strings.Contains(body, `"reason": "bad_path"`) {
				t.Errorf("got %d %s, want %d", resp.StatusCode, body, tt.status)
			}
			e, err := r.gw.Explain(&answer.Question{URL: "http://" + tt.host + tt.target})
			if err != nil || e.Status != tt.status || e.Allowed != (tt.status == 200) {
				t.Errorf("explained as %+v, %v", e, err)
			}
			if tt.status == 200 && !strings.HasSuffix(body, e.Path.Forwarded) {
				t.Errorf("the backend got %q, explained as %q", body, e.Path.Forwarded)
			}
		})
	}
	r.src.set(resolver.Options{KeepSegment: true}, s.Listener.Addr().String())
	if resp, body := r.get("/svc/..%2fx"); resp.StatusCode != 200 || body != "/svc/..%2fx" {
		t.Errorf("with its segment it stays below the root: got %d %q", resp.StatusCode, body)
	}
	if resp, _ := r.get("/svc/..%2f..%2fx"); resp.StatusCode != 400 {
		t.Errorf("above the root: got %d", resp.StatusCode)
	}
}
