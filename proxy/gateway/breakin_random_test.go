package gateway

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"lictor/admin/api"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/resolver"
)

// TestExplanationsAgreeWithWhatHappens sends random requests under random
// policies and asks the explainer about each. It also holds what no policy may
// give away: a backend never sees a path, a consumer or a key that it must not.
func TestExplanationsAgreeWithWhatHappens(t *testing.T) {
	const seed, worlds, requests = 7, 40, 50
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, func(s *Settings) { s.ProtectedHeaders = []string{"X-Internal-*"} })
	s := r.backend(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "%s\n%v", req.RequestURI, req.Header)
	})
	addr := s.Listener.Addr().String()
	for range worlds {
		r.rules.builder = nil // the next policy knows nothing of the last one
		changes := hostileWorld(t, rnd, addr)
		r.rules.apply(changes...)
		r.src.catalog.Store(resolver.NewFoldedCatalog(oneService("svc", addr), oneService("other", addr)))
		for range requests {
			checkExplained(t, r, rnd)
		}
		if t.Failed() {
			for _, c := range changes {
				text, _ := json.Marshal(c.Object)
				t.Logf("%s = %s", c.Key, text)
			}
			return
		}
	}
}

func oneService(name, addr string) *resolver.Service {
	return &resolver.Service{Name: name, Loaded: true, Instances: []*resolver.Instance{{ID: name, Address: addr, Weight: 1, State: resolver.Passing}}}
}

func anyOf[T any](rnd *rand.Rand, list ...T) T { return list[rnd.IntN(len(list))] }

// hostileWorld is a random policy.
func hostileWorld(t testing.TB, rnd *rand.Rand, addr string) (all []policy.Change) {
	add := func(kind policy.Kind, name, doc string) { all = append(all, put(t, kind, name, doc)) }
	pick := func(list ...string) string { return anyOf(rnd, list...) }
	add(policy.KindConsumers, "ann", `{"groups": ["g"]}`)
	add(policy.KindConsumers, "bob", `{"id": "b-1"}`)
	add(policy.KindCredentials, digestOf("annkey"), `{"consumer": "ann"}`)
	add(policy.KindCredentials, digestOf("bobkey"), `{"consumer": "b-1"}`)
	add(policy.KindBlacklist, "always", `/svc/admin`)
	entry := func() string {
		return pick("POST /svc/ro", ".evil.example", "service:other", "http://api.example/pub", "10.0.0.0/8", "service:api1", "/api1/admin")
	}
	for i := range rnd.IntN(3) {
		add(policy.KindBlacklist, fmt.Sprint("b", i), fmt.Sprintf(`{"entries": [%q, %q], "mode": %q}`, entry(), entry(), pick("enforce", "enforce", "report")))
	}
	for i := range 2 {
		add(policy.KindFilters, fmt.Sprint("f", i), pick(`{"hosts": ["api.example"]}`, `{"paths": ["/svc/pub", "/pub"]}`,
			`{"methods": ["GET"], "paths": ["/svc"]}`, `{"methods": ["POST"]}`, `{"hosts": ["*.example"], "paths": ["/x"]}`))
	}
	for i := range rnd.IntN(4) {
		add(policy.KindACLs, fmt.Sprint("a", i), fmt.Sprintf(`{"api": %q, %s, "mode": %q}`, pick("svc", "other", "m.example", "api1"),
			pick(`"groups": ["g"]`, `"consumers": ["b-1"]`, `"filters": ["f0"]`, `"groups": ["g"], "filters": ["f1", "f0"]`), pick("enforce", "report")))
	}
	add(policy.KindPlugins, "key", fmt.Sprintf(`{"name": "key-auth", "config": {"keynames": ["apikey", "x-key"], "hide_credentials": true}, "mode": %q, "global": false}`, pick("enforce", "report")))
	add(policy.KindPluginMappings, "m", fmt.Sprintf(`{"api": %q, "plugins": ["key"], "filters": [%s]}`, pick("svc", "other", "api1", "m.example"), pick("", `"f1"`)))
	add(policy.KindMappings, "m.example", `{"backends": ["http://`+addr+`/mapped"]}`)
	add(policy.KindAPIs, "api1", fmt.Sprintf(`{"filters": [%s], "backends": ["http://%s"]}`, pick("", `"f0"`), addr))
	return all
}

// checkExplained sends one random request and compares what happens with what
// is said to happen.
func checkExplained(t *testing.T, r *rig, rnd *rand.Rand) {
	t.Helper()
	q := answer.Question{Method: anyOf(rnd, "GET", "GET", "POST", "post", "OPTIONS"), From: netip.MustParseAddr("127.0.0.1")}
	host := anyOf(rnd, "x", "m.example", "API.example.", "api.example", "a.evil.example:80", "x.m.example")
	path := ""
	for range rnd.IntN(5) {
		path += "/" + anyOf(rnd, "svc", "SVC", "other", "api1", "admin", "ro", "pub", "x", "..", ".", ";a", "..;", "%2e", "a%2fb", "%5c", "", "%61dmin", "%zz", "..%2f")
	}
	if path == "" {
		path = "/"
	}
	key := anyOf(rnd, "", "annkey", "bobkey", "nokey")
	switch {
	case key == "":
	case rnd.IntN(3) == 0:
		path += "?" + anyOf(rnd, "apikey", "%61pikey", "x-key") + "=" + key
	default:
		q.Headers = append(q.Headers, [2]string{anyOf(rnd, "apikey", "APIKEY", "X-Key"), key})
	}
	for _, f := range []string{"X-Consumer-ID", "x_consumer_username", "X-Internal-A", "X.Internal.B", "X-Forwarded-For"} {
		q.Headers = append(q.Headers, [2]string{f, "6.6.6.6"})
	}
	q.URL = "http://" + host + path
	head := q.Method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\n"
	for _, f := range q.Headers {
		head += f[0] + ": " + f[1] + "\r\n"
	}
	c := r.dial()
	defer c.Close()
	c.send(head + "\r\n")
	resp, body := c.answer(q.Method)
	e, err := r.gw.Explain(&q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	var said struct{ Reason string }
	if resp.StatusCode != 200 {
		json.Unmarshal([]byte(body), &said)
	}
	if resp.StatusCode != e.Status || said.Reason != e.Reason {
		t.Errorf("%s%s: got %d %q, explained as %d %q", head, path, resp.StatusCode, said.Reason, e.Status, e.Reason)
	}
	if resp.StatusCode == 200 {
		checkGivenAway(t, e, path, key, body)
	}
}

// checkGivenAway looks at what a backend saw.
func checkGivenAway(t *testing.T, e *api.Explanation, path, key, body string) {
	t.Helper()
	target, _, _ := strings.Cut(body, "\n")
	sent, _, err := uri.ParsePath(target, nil)
	if err != nil {
		t.Fatalf("%s went on as %s: %v", path, target, err)
	}
	readings := append([]string{sent.Canonical}, new(uri.ReadingSet).Of(&sent)...)
	for _, p := range readings {
		if e.Route.Service == "svc" && (p == "/admin" || strings.HasPrefix(p, "/admin/")) {
			t.Errorf("%s reached svc as %s, which can be read as %s", path, target, p)
		}
	}
	if strings.Contains(body, "6.6.6.6") {
		t.Errorf("%s: a forged header went on: %s", path, body)
	}
	if use, ok := e.Plugins["key-auth"]; ok && e.Consumer != nil && use.ID == "key" && strings.Contains(body, key) {
		t.Errorf("%s: the key went on: %s", path, body)
	}
	if e.Consumer == nil && strings.Contains(body, "X-Consumer") {
		t.Errorf("%s: nobody became somebody: %s", path, body)
	}
}
