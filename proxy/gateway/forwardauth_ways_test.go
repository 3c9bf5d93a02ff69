package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/middleware"
)

// byCookie lets in whom the cookie says it may.
func byCookie(w http.ResponseWriter, q *http.Request) {
	if q.Header.Get("Cookie") != "s=ann" {
		w.Header().Set("Location", "https://auth.ex/")
		w.WriteHeader(302)
		return
	}
	w.Header().Set("Remote-User", "ann")
}

const vouches = `"response_headers": ["Remote-User"]`

func TestEveryWayToABackendIsAskedFor(t *testing.T) { // P3
	bus := &fakeBus{answer: nil}
	r := newBusRig(t, bus, nil, nil)
	switching := "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		head, err := readHead(in)
		switch {
		case err != nil:
		case !strings.Contains(head, "Remote-User: ann\r\n") || strings.Count(strings.ToLower(head), "remote-user") != 1:
			t.Errorf("the backend got %q", head)
		case strings.Contains(head, "Upgrade: x"):
			io.WriteString(c, switching)
			io.Copy(c, in)
		default:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	a := r.authority(vouches, byCookie)
	c := r.dial()
	c.send("GET /svc/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\nCookie: s=ann\r\nRemote-User: eve\r\n\r\nhi")
	if head, _ := readHead(c.in); !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Errorf("an upgrade with a cookie: got %q", head)
	}
	c = r.dial()
	c.send("GET /svc/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	if resp, _ := c.answer("GET"); resp.StatusCode != 302 || resp.Header.Get("Location") == "" {
		t.Errorf("an upgrade without: got %d", resp.StatusCode)
	}
	h2 := r.h2cClient()
	h2.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for cookie, want := range map[string]int{"s=ann": 200, "s=eve": 302} {
		req, _ := http.NewRequest("GET", "http://"+r.addr+"/svc/x", nil)
		req.Header.Set("Cookie", cookie)
		resp, err := h2.Do(req)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("HTTP/2 with %s: got %v, %v", cookie, resp, err)
		}
		resp.Body.Close()
	}
	req, _ := http.NewRequest("POST", "http://"+r.addr+"/svc/grpc", strings.NewReader("x"))
	req.Header.Set("Content-Type", "application/grpc+proto")
	resp, err := h2.Do(req)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Grpc-Status") != "16" || resp.Header.Get("Content-Type") != "application/grpc+proto" {
		t.Errorf("gRPC: got %+v, %v", resp, err)
	}
	a.questions()
	if resp, _ := r.get("/orders/x"); resp.StatusCode != 302 || len(bus.take()) > 0 {
		t.Errorf("on the bus, without a cookie: got %d", resp.StatusCode)
	}
	resp, _ = r.get("/orders/x", "Cookie: s=ann", "Remote-User: eve", "remote_user: eve")
	if calls := bus.take(); resp.StatusCode != 200 || len(calls) != 1 || strings.Join(values(calls[0], "Remote-User"), ",") != "ann" || len(values(calls[0], "remote_user")) > 0 {
		t.Errorf("on the bus: got %d, %+v", resp.StatusCode, calls)
	}
}

// A trailer is a field that comes late: it speaks for an authority no more than others.
func TestATrailerDoesNotSpeakForTheAuthority(t *testing.T) { // P3
	r := newRig(t, nil)
	headers := r.headers()
	r.authority(vouches, says(200))
	c := r.dial()
	c.send(post + te + "Trailer: Remote-User, X-Sum\r\n\r\n1\r\nx\r\n0\r\nRemote-User: eve\r\nRemote_User: eve\r\nX-Sum: 1\r\n\r\n")
	resp, _ := c.answer("POST")
	seen := headers()
	if resp.StatusCode != 200 || len(seen["Trailer: Remote-User"])+len(seen["Trailer: Remote_user"]) > 0 || len(seen["Trailer: X-Sum"]) != 1 {
		t.Errorf("got %d, %v", resp.StatusCode, seen)
	}
}

func TestNobodyIsInvitedBeforeTheAuthoritySaysYes(t *testing.T) { // P3
	r := newRig(t, nil)
	rec := r.recorder()
	let := make(chan int)
	r.authority("", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-let) })
	c := r.dial()
	ask := func() { c.send(post + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n") }
	ask()
	let <- 403
	if resp, _ := c.answer("POST"); resp.StatusCode != 403 {
		t.Errorf("got %d, want no 100 before it", resp.StatusCode)
	}
	c = r.dial()
	ask()
	let <- 200
	if head, _ := readHead(c.in); !strings.HasPrefix(head, "HTTP/1.1 100") {
		t.Fatalf("got %q", head)
	}
	c.send("hi")
	if resp, body := c.answer("POST"); resp.StatusCode != 200 || len(rec.take()) != 1 {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// Middleware that routes elsewhere is no way round the authority of either service.
func TestBothServicesAuthoritiesAreAsked(t *testing.T) { // P3
	forged := middleware.Rule{Name: "trust", Match: withHeader(t, "Remote-User", "eve"), Effect: middleware.Effect{Block: &middleware.Block{Status: 418}}}
	set := middleware.Rule{Name: "set", Match: middleware.Match{Paths: []string{"/svc"}}, Effect: middleware.Effect{Request: &middleware.Edit{Set: []middleware.Field{{Name: "remote_user", Value: "op"}}}}}
	route := middleware.Rule{Name: "route", Match: middleware.Match{Paths: []string{"/svc/away"}}, Effect: middleware.Effect{Route: "other"}}
	r := newRig(t, chainOf(forged, set, route))
	headers := r.headers()
	r.services(r.src.Catalog().Lookup("svc").Instances[0].Address, "svc", "other")
	mine, other := r.authority(vouches, says(200, "Remote-User", "ann")), r.authority(vouches, says(200, "Remote-User", "bob"))
	plugin := func(id, url string) policy.Change {
		return put(t, policy.KindPlugins, id, `{"name": "forward-auth", "config": {"url": "`+url+`", `+vouches+`}}`)
	}
	r.rules.apply(plugin("ask", mine.URL), plugin("there", other.URL),
		put(t, policy.KindPluginMappings, "1", `{"api": "svc", "plugins": ["ask"]}`), put(t, policy.KindPluginMappings, "2", `{"api": "other", "plugins": ["there"]}`))
	resp, _ := r.get("/svc/x", "Remote-User: eve")
	if seen := headers(); resp.StatusCode != 200 || seen.Get("Remote-User") != "ann" || len(seen["Remote_user"]) > 0 || len(seen["remote_user"]) > 0 { //nolint:staticcheck // as a backend that does not canonicalize would see it
		t.Errorf("got %d, %v", resp.StatusCode, seen)
	}
	if n, m := len(mine.questions()), len(other.questions()); n != 1 || m != 0 {
		t.Errorf("%d and %d questions", n, m)
	}
	resp, _ = r.get("/svc/away")
	if seen := headers(); resp.StatusCode != 200 || strings.Join(seen["Remote-User"], ",") != "bob" {
		t.Errorf("got %d, %v", resp.StatusCode, seen)
	}
	if n, m := len(mine.questions()), len(other.questions()); n != 1 || m != 1 {
		t.Errorf("routed away: %d and %d questions", n, m)
	}
	other.Close()
	if resp, _ := r.get("/svc/away"); resp.StatusCode != 503 {
		t.Errorf("got %d without the other authority", resp.StatusCode)
	}
}

// A request that waits for its authority goes by the policy as it is then.
func TestARevocationReachesWhoWaitsForAnAuthority(t *testing.T) { // P3, X14
	r := newRig(t, nil)
	rec := r.recorder()
	let, here := make(chan int), make(chan bool, 2)
	r.authority("", func(w http.ResponseWriter, _ *http.Request) { here <- true; w.WriteHeader(<-let) })
	c := r.dial()
	c.send(get + "\r\n")
	<-here
	r.rules.apply(put(t, policy.KindBlacklist, "b", `["127.0.0.1"]`))
	let <- 200
	if resp, body := c.answer("GET"); resp.StatusCode != 403 || len(rec.take()) > 0 {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// What runs is not asked for again, but an authority that is put in force cuts what
// it never let in.
func TestWhatLastsIsNotAskedForAgain(t *testing.T) { // P3, X14
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		io.Copy(io.Discard, in)
	})
	open := func() *client {
		c := r.dial()
		c.send(get + "\r\n")
		if head, _ := readHead(c.in); !strings.HasPrefix(head, "HTTP/1.1 200") {
			t.Fatalf("got %q", head)
		}
		r.oneLasts()
		return c
	}
	cut := func(c *client) {
		t.Helper()
		r.gw.PolicyChanged()
		if _, err := io.Copy(io.Discard, c.in); err == nil {
			t.Error("the answer looks whole")
		}
		eventually.True(t, "it is cut", func() bool { return r.lasting() == 0 })
	}
	before := open()
	a := r.authority("", says(200))
	cut(before)
	c := open()
	a.questions()
	r.asks(a.URL, `"timeout": "1s"`) // the same one is asked
	r.gw.PolicyChanged()
	eventually.Holds(t, 200*time.Millisecond, "it is not cut", func() bool { return r.lasting() == 1 })
	if n := len(a.questions()); n > 0 {
		t.Errorf("it was asked for %d times more", n)
	}
	r.asks(a.URL, `"path": "/admins"`) // another question
	cut(c)
}

func TestForwardAuthInReportMode(t *testing.T) { // P3, X13
	reg := prometheus.NewRegistry()
	r := newRigWith(t, nil, func(c *Config) { c.Metrics = reg })
	headers := r.headers()
	let := make(chan int)
	a := r.authority("", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-let) })
	r.rules.apply(put(t, policy.KindPlugins, "ask", `{"name": "forward-auth", "mode": "report", "config": {"url": "`+a.URL+`", `+vouches+`}}`))
	resp, _ := r.get("/svc/x", "Remote-User: eve")
	if seen := headers(); resp.StatusCode != 200 || seen.Get("Remote-User") != "eve" { // before it answers
		t.Errorf("got %d, %v", resp.StatusCode, seen)
	}
	let <- 403
	eventually.True(t, "the refusal is counted", func() bool {
		return counted(t, reg)["denied_total svc report forward_auth svc"] == 1
	})
	r.get("/svc/x")
	let <- 200
	eventually.True(t, "nobody is asked any more", func() bool { return r.gw.authorities.underWay() == 0 })
	if got := counted(t, reg)["denied_total svc report forward_auth svc"]; got != 1 {
		t.Errorf("counted %v, want the one that was refused", got)
	}
}

func (a *authorities) underWay() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all
}

func TestExplanationsAskNobody(t *testing.T) { // P3
	r := newRig(t, nil)
	r.backend(func(http.ResponseWriter, *http.Request) {})
	a := r.authority(`"path": "/auth"`, says(403))
	e, err := r.gw.Explain(&answer.Question{URL: "/svc/x"})
	if err != nil || !e.Allowed || len(a.questions()) > 0 || e.Plugins["forward-auth"].ID != "ask" {
		t.Fatalf("got %+v, %v", e, err)
	}
	last := e.Steps[len(e.Steps)-1]
	if last.Step != "forward-auth" || last.Note != a.URL+" /auth would be asked" || last.Rule.Key != "lictor/policy/plugins/ask" {
		t.Errorf("got %+v", last)
	}
}
