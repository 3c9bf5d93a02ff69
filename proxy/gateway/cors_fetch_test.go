package gateway

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lictor/policy"
)

// page is a page whose script asks for something of another origin, and what a
// browser does then by the Fetch standard.
type page struct {
	origin, method string
	fields         []string // that are not safelisted
	credentials    bool
}

// valueOf gets a value of a header list as Fetch 2.2.2 does: all fields of the
// name in one.
func valueOf(h http.Header, name string) (string, bool) {
	all := h[http.CanonicalHeaderKey(name)]
	return strings.Join(all, ", "), len(all) > 0
}

// checks is the CORS check (Fetch 4.10).
func (p *page) checks(h http.Header) bool {
	origin, ok := valueOf(h, "Access-Control-Allow-Origin")
	credentials, _ := valueOf(h, "Access-Control-Allow-Credentials")
	switch {
	case !ok:
		return false
	case !p.credentials && origin == "*":
		return true
	case origin != p.origin:
		return false
	}
	return !p.credentials || credentials == "true"
}

// preflights is the CORS-preflight fetch (Fetch 4.8) on its answer.
func (p *page) preflights(status int, h http.Header) bool {
	if !p.checks(h) || status < 200 || status > 299 {
		return false
	}
	list := func(name string) []string {
		v, _ := valueOf(h, name)
		return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	}
	methods, fields := list("Access-Control-Allow-Methods"), list("Access-Control-Allow-Headers")
	if !slices.Contains([]string{"GET", "HEAD", "POST"}, p.method) && !slices.Contains(methods, p.method) && (p.credentials || !slices.Contains(methods, "*")) {
		return false
	}
	for _, f := range p.fields {
		named := slices.ContainsFunc(fields, func(g string) bool { return strings.EqualFold(f, g) })
		if !named && (p.credentials || f == "authorization" || !slices.Contains(fields, "*")) {
			return false
		}
	}
	return true
}

// intent is what an operator means by a configuration, in plain words.
func intent(config map[string]any, p *page) (reads, asks bool) {
	origins := config["origins"].([]string)
	for _, o := range origins {
		parent, wild := strings.CutPrefix(o, "*.")
		is := o == p.origin || wild && parent != "" && strings.HasPrefix(p.origin, "https://") && strings.HasSuffix(p.origin, "."+parent) && !strings.HasSuffix(p.origin, "//."+parent)
		switch {
		case o == "*":
			reads = reads || !p.credentials
		case is:
			reads = reads || !p.credentials || config["credentials"] == true
		}
	}
	methods, fields := config["methods"].([]string), config["headers"].([]string)
	asks = reads && (slices.Contains([]string{"GET", "HEAD", "POST"}, p.method) || slices.Contains(methods, p.method))
	for _, f := range p.fields {
		asks = asks && (len(fields) == 0 || slices.Contains(fields, f))
	}
	return reads, asks
}

// TestBrowsersDoWhatIsConfigured sends what browsers send, by random configurations,
// and judges the answers as they do.
func TestBrowsersDoWhatIsConfigured(t *testing.T) { // P1
	rnd := rand.New(rand.NewPCG(1, 2))
	some := func(of ...string) (list []string) {
		for _, s := range of {
			if rnd.IntN(2) == 0 {
				list = append(list, s)
			}
		}
		return list
	}
	r := newRig(t, nil)
	r.rawBackend(corsBackend(""))
	c := r.dial()
	ask := func(method string, fields ...string) (int, http.Header) {
		c.send(method + " /svc/x HTTP/1.1\r\nHost: gw.test\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n")
		resp, _ := c.answer(method)
		return resp.StatusCode, resp.Header
	}
	seen := map[string]int{}
	for range 400 {
		config := map[string]any{"origins": append(some("*", "https://a.example", "*.b.example"), "https://c.example"), "methods": append(some("PUT", "DELETE"), "GET"),
			"headers": append([]string{}, some("authorization", "x-one")...), "credentials": rnd.IntN(2) == 0}
		doc, err := json.Marshal(map[string]any{"name": "cors", "config": config})
		if err != nil {
			t.Fatal(err)
		}
		r.rules.apply(put(t, policy.KindPlugins, "c", string(doc)))
		told := map[string]bool{} // what a cache would keep
		_, without := ask("GET")
		cached := without.Values("Vary")
		told[toldOf(without)] = true
		for _, origin := range []string{"https://a.example", "http://a.example", "https://x.b.example", "https://b.example", "https://xb.example", "https://c.example:8443", "https://c.example", "null"} {
			p := page{origin, []string{"GET", "PUT", "DELETE", "PATCH"}[rnd.IntN(4)], some("authorization", "x-one"), rnd.IntN(2) == 0}
			reads, asks := intent(config, &p)
			_, h := ask("GET", "Origin: "+origin)
			told[toldOf(h)] = true
			if p.checks(h) != reads {
				t.Fatalf("%s: %+v may read: want %v: %v", doc, p, reads, toldOf(h))
			}
			status, pre := ask("OPTIONS", "Origin: "+origin, "Access-Control-Request-Method: "+p.method, "Access-Control-Request-Headers: "+strings.Join(p.fields, ","))
			if got := p.preflights(status, pre); got != asks {
				t.Fatalf("%s: %+v may ask: got %v: %d %v", doc, p, got, status, toldOf(pre))
			}
			seen[fmt.Sprint("reads ", reads, " with credentials ", p.credentials)]++
			seen[fmt.Sprint("asks ", asks)]++
		}
		if len(told) > 1 != slices.Contains(cached, "Origin") {
			t.Fatalf("%s: a cache is told to vary by %q, and answers are %v", doc, cached, told)
		}
	}
	for what, n := range seen {
		if n < 50 {
			t.Errorf("only %d: %s: the test proves little", n, what)
		}
	}
	if len(seen) != 6 {
		t.Errorf("the test proves little: %v", seen)
	}
}
