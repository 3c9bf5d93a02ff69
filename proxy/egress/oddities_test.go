package egress

import (
	"testing"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/hops"
)

// TestLoop: a request that came back is not sent around once more.
func TestLoop(t *testing.T) {
	b := start(t, quick())
	b.expect(b.get(b.url("127.0.0.2", "/"), "Via: 1.0 a (, 1.1 "+string(b.proxy.mark)), 508, answer.Loop)
	a := b.client().do("CONNECT "+b.at("127.0.0.2")+" HTTP/1.1", "Host: x", "Via: 1.1 "+string(b.proxy.mark))
	b.expect(a, 508, answer.Loop)
	b.expect(b.get(b.url("127.0.0.2", "/"), "Via: 1.1 "+string(hops.NewMark())), 200, answer.ReasonNone)
	if d := b.dials(); len(d) != 1 {
		t.Errorf("dialled %v, want one target", d)
	}
}

// TestDotsHideNothing: as dot segments are passed on, a path is forbidden if it
// is with them and if it is without.
func TestDotsHideNothing(t *testing.T) {
	b := start(t, quick())
	b.policy(lists{blackKey: black("http://" + b.at("127.0.0.2") + "/admin")})
	for path, status := range map[string]int{"/admin": 403, "/x/../admin": 403, "/x/%2e%2E/%61dmin": 403, "/admin/../x": 403, "/x/..%2fadmin": 403, "/x/./y": 200, "/x/../y": 200} {
		if a := b.in(t).get(b.url("127.0.0.2", path)); a.StatusCode != status {
			t.Errorf("%s: got %d, want %d", path, a.StatusCode, status)
		}
	}
}

// RFC 9110 7.6.2, on this listener as well.
func TestMaxForwards(t *testing.T) {
	b := start(t, quick())
	a := b.client().do("TRACE "+b.url("127.0.0.2", "/x?k=1")+" HTTP/1.1", "Host: h", "Max-Forwards: 0", "Cookie: s=1", "X-A: 1")
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "message/http" || a.body != "TRACE "+b.url("127.0.0.2", "/x")+" HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX-A: 1\r\n\r\n" {
		t.Errorf("got %d %v %q", a.StatusCode, a.Header, a.body)
	}
	if a := b.client().do("OPTIONS "+b.url("127.0.0.2", "")+" HTTP/1.1", "Host: h", "Max-Forwards: 0"); a.StatusCode != 200 || a.body != "" {
		t.Errorf("got %d %q", a.StatusCode, a.body)
	}
	if b.origin.count() != 0 {
		t.Error("the target was asked")
	}
	b.client().do("OPTIONS "+b.url("127.0.0.2", "/")+" HTTP/1.1", "Host: h", "Max-Forwards: 4")
	if got := b.origin.last(t).Header["Max-Forwards"]; len(got) != 1 || got[0] != "3" {
		t.Errorf("the target got %q", got)
	}
	b.policy(lists{blackKey: black("127.0.0.2")})
	b.expect(b.client().do("OPTIONS "+b.url("127.0.0.2", "/")+" HTTP/1.1", "Host: h", "Max-Forwards: 0"), 403, answer.Reason(policy.ReasonBlacklist))
}

// Names with an underscore pass; those that a careless server takes for what
// frames a message, or is about the connection, do not.
func TestAliases(t *testing.T) {
	b := start(t, quick())
	passing := []string{"X_Request_ID", "X_Real_IP", "X_Forwarded_For", "X_Consumer_ID", "api_key", "X.Trace"}
	held := []string{"Transfer_Encoding", "Content_Length", "Proxy_Authorization", "proxy.connection", "Keep_Alive", "Proxy_Else", "Connection"}
	var fields []string
	for _, name := range append(passing, held...) {
		fields = append(fields, name+": 1")
	}
	if a := b.get(b.url("127.0.0.2", "/"), fields...); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	got := b.origin.last(t).Header
	for _, name := range passing {
		if got.Get(name) != "1" {
			t.Errorf("%s did not pass: %v", name, got)
		}
	}
	for _, name := range held {
		if got.Get(name) != "" {
			t.Errorf("%s passed", name)
		}
	}
}
