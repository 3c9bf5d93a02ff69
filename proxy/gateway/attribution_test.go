package gateway

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
)

// attributed is what a line of the access log says of who asked, for what, and what
// the policy made of it.
func attributed(t *testing.T, line string) map[string]string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(line), &all); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	got := make(map[string]string)
	for _, key := range []string{"reason", "consumer", "credential", "service", "api", "plugin", "mode", "would", "rule", "entry"} {
		if text, ok := all[key].(string); ok && text != "" {
			got[key] = text
		}
	}
	return got
}

// Whatever becomes of a request, its line says who it was from, as far as that is
// known, which rule spoke, and never a key.
func TestLineSaysWhoWasRefusedAndWhy(t *testing.T) {
	book := newLogBook(t, "json")
	r := newRigWith(t, nil, func(c *Config) { c.AccessLog = book.log })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	r.rules.apply(
		put(t, policy.KindConsumers, "ann", `{"name": "ann", "id": "c-1", "groups": ["staff"]}`),
		put(t, policy.KindConsumers, "bob", `{"name": "bob", "id": "c-2"}`),
		put(t, policy.KindCredentials, keyHash("key-of-ann"), `{"consumer": "c-1", "id": "k-ann"}`),
		put(t, policy.KindCredentials, keyHash("key-of-bob"), `{"consumer": "c-2", "id": "k-bob"}`),
		put(t, policy.KindCredentials, keyHash("key-of-old"), `{"consumer": "c-1", "id": "k-old", "not_after": "2020-01-01T00:00:00Z"}`),
		put(t, policy.KindPlugins, "auth", `{"id": "auth", "name": "key-auth"}`),
		put(t, policy.KindPlugins, "limit", `{"id": "limit", "name": "rate-limiting", "config": {"hour": 2}}`),
		put(t, policy.KindPlugins, "size", `{"id": "size", "name": "request-size-limiting", "config": {"allowed_payload_size": 1}}`),
		put(t, policy.KindACLs, "a", `{"id": "a", "api": "svc", "groups": ["staff"]}`),
		put(t, policy.KindBlacklist, "ops", `{"entries": ["/svc/admin"], "direction": "ingress"}`),
		put(t, policy.KindBlacklist, "trial", `{"entries": ["/svc/tried"], "direction": "ingress", "mode": "report"}`),
	)
	digits := r.rules.Set().Digits()
	svc := func(more map[string]string) map[string]string {
		all := map[string]string{"service": "svc", "api": "svc"}
		maps.Copy(all, more)
		return all
	}
	ann := map[string]string{"consumer": "ann", "credential": "k-ann"}
	for _, tt := range []struct {
		name, target, key string
		status            int
		want              map[string]string
	}{
		{"a blacklist refuses", "/svc/admin", "key-of-ann", 403,
			svc(map[string]string{"reason": "blacklist", "mode": "enforce", "rule": "lictor/policy/blacklist/ops", "entry": "/svc/admin"})},
		{"there is no key", "/svc/x", "", 401,
			svc(map[string]string{"reason": "no_credentials", "mode": "enforce", "plugin": "key-auth", "rule": "lictor/policy/plugins/auth"})},
		{"nobody knows the key", "/svc/x", "key-of-eve", 401,
			svc(map[string]string{"reason": "bad_credentials", "mode": "enforce", "plugin": "key-auth", "rule": "lictor/policy/plugins/auth"})},
		{"the key has run out", "/svc/x", "key-of-old", 401,
			svc(map[string]string{"reason": "bad_credentials", "mode": "enforce", "plugin": "key-auth", "rule": "lictor/policy/plugins/auth", "credential": "k-old"})},
		{"the ACL does not name the consumer", "/svc/x", "key-of-bob", 403,
			svc(map[string]string{"reason": "acl", "mode": "enforce", "plugin": "acl", "rule": "lictor/policy/acls/a", "consumer": "bob", "credential": "k-bob"})},
		{"it passes", "/svc/x", "key-of-ann", 200, svc(ann)},
		{"a rule in report mode would refuse it", "/svc/tried", "key-of-ann", 200,
			svc(map[string]string{"consumer": "ann", "credential": "k-ann", "would": "blacklist", "mode": "report", "rule": "lictor/policy/blacklist/trial", "entry": "/svc/tried"})},
		{"the limit is used up", "/svc/x", "key-of-ann", 429,
			svc(map[string]string{"reason": "rate_limit", "mode": "enforce", "plugin": "rate-limiting", "rule": "lictor/policy/plugins/limit", "consumer": "ann", "credential": "k-ann"})},
		{"there is no such service", "/none/x", "key-of-ann", 503,
			map[string]string{"reason": "unknown_service", "service": "none", "api": "none", "consumer": "ann", "credential": "k-ann"}},
		{"nothing names a service", "/", "key-of-ann", 404, map[string]string{"reason": "no_service"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, _ := r.get(tt.target, "apikey: "+tt.key)
			line := book.until(t, 1)[0]
			if got := attributed(t, line); resp.StatusCode != tt.status || !maps.Equal(got, tt.want) {
				t.Errorf("got %d\n %v\nwant %d\n %v", resp.StatusCode, got, tt.status, tt.want)
			}
			if !strings.Contains(line, `"policy": "`+digits+`"`) || tt.key != "" && strings.Contains(line, tt.key) {
				t.Errorf("the line does not name the policy %s, or has the key: %s", digits, line)
			}
		})
	}
}

// What a later policy cuts is told by that one's rule, and that one's hash.
func TestLineSaysWhichRuleCutIt(t *testing.T) {
	book := newLogBook(t, "json")
	r := newRigWith(t, nil, func(c *Config) { c.AccessLog = book.log })
	going := make(chan struct{})
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		if _, err := readHead(in); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
		close(going)
		in.ReadByte()
	})
	c := r.dial()
	c.send("GET /svc/chat HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
	<-going
	r.oneLasts()
	r.rules.apply(put(t, policy.KindBlacklist, "ops", `{"entries": ["/svc/chat"], "direction": "ingress"}`))
	r.gw.PolicyChanged()
	line := book.until(t, 1)[0]
	want := map[string]string{"service": "svc", "api": "svc", "reason": "blacklist", "mode": "enforce", "rule": "lictor/policy/blacklist/ops", "entry": "/svc/chat"}
	if got := attributed(t, line); !maps.Equal(got, want) || !strings.Contains(line, `"policy": "`+r.rules.Set().Digits()+`"`) {
		t.Errorf("got %v\nwant %v by %s: %s", got, want, r.rules.Set().Digits(), line)
	}
}

// What an authority refuses is told by the rule that has it asked.
func TestLineSaysWhoseAuthorityRefused(t *testing.T) {
	book := newLogBook(t, "json")
	r := newRigWith(t, nil, func(c *Config) { c.AccessLog = book.log })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	r.authority("", func(w http.ResponseWriter, q *http.Request) { w.WriteHeader(http.StatusForbidden) })
	r.get("/svc/x")
	line := book.until(t, 1)[0]
	want := map[string]string{"service": "svc", "api": "svc", "reason": "forward_auth", "mode": "enforce", "plugin": "forward-auth", "rule": "lictor/policy/plugins/ask"}
	if got := attributed(t, line); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v: %s", got, want, line)
	}
}

// Refusals are counted for the service and the API that they were for, if those
// exist, and names that clients make up are nobody's.
func TestRefusalsAreCountedForTheirService(t *testing.T) {
	reg, book := prometheus.NewRegistry(), newLogBook(t, "json")
	r := newRigWith(t, nil, func(c *Config) {
		c.Metrics, c.AccessLog, c.Detail = reg, book.log, answer.Detail{Codes: true, Consumers: 1}
	})
	r.backend(func(http.ResponseWriter, *http.Request) {})
	r.rules.apply(
		put(t, policy.KindConsumers, "ann", `{"name": "ann"}`),
		put(t, policy.KindConsumers, "bob", `{"name": "bob"}`),
		put(t, policy.KindCredentials, keyHash("of-ann"), `{"consumer": "ann"}`),
		put(t, policy.KindCredentials, keyHash("of-bob"), `{"consumer": "bob"}`),
		put(t, policy.KindACLs, "a", `{"id": "a", "api": "svc", "consumers": ["bob"]}`),
		put(t, policy.KindACLs, "b", `{"id": "b", "api": "ruled", "consumers": ["bob"]}`),
		put(t, policy.KindFilters, "part", `{"name": "part", "paths": ["/part"]}`),
		put(t, policy.KindAPIs, "half", `{"name": "half", "service": "svc", "filters": ["part"]}`),
		put(t, policy.KindACLs, "c", `{"id": "c", "api": "half", "consumers": ["bob"]}`),
		put(t, policy.KindBlacklist, "trial", `{"entries": ["/svc/tried"], "direction": "ingress", "mode": "report"}`),
	)
	for _, target := range []string{"/svc/x", "/ruled/x", "/part/x", "/made-up"} {
		r.get(target, "apikey: of-ann")
	}
	r.get("/svc/tried", "apikey: of-bob")
	book.until(t, 5)
	want := map[string]float64{
		"requests_total 4xx svc": 2, "requests_total 2xx svc": 1, "requests_total 4xx ": 1, "requests_total 5xx ": 1,
		"responses_total 403 svc": 2, "responses_total 200 svc": 1, "responses_total 403 ": 1, "responses_total 503 ": 1,
		"denied_total svc enforce acl svc": 1, "denied_total half enforce acl svc": 1, "denied_total ruled enforce acl ": 1,
		"denied_total  enforce unknown_service ": 1, "denied_total svc report blacklist svc": 1,
		"consumer_requests_total 4xx ann acl": 3, "consumer_requests_total 5xx ann unknown_service": 1, "consumer_requests_total 2xx other ": 1,
		"request_duration_seconds svc": 1, "request_duration_seconds ": 4, "upstream_duration_seconds svc": 1,
	}
	if got := counted(t, reg); !maps.Equal(got, want) {
		t.Errorf("got\n %v\nwant\n %v", got, want)
	}
}

// The trace of a request is the exemplar of its duration, but not each of them.
func TestTraceIsTheExemplarOfADuration(t *testing.T) {
	reg, book := prometheus.NewRegistry(), newLogBook(t, "json")
	r := newRigWith(t, nil, func(c *Config) { c.Metrics, c.AccessLog = reg, book.log })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	const id = "0af7651916cd43dd8448eb211c80319c"
	exemplars := func() (ids []string) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				for _, b := range m.GetHistogram().GetBucket() {
					if e := b.GetExemplar(); e != nil {
						ids = append(ids, f.GetName()+" "+e.Label[0].GetName()+" "+e.Label[0].GetValue())
					}
				}
			}
		}
		return ids
	}
	eventually.True(t, "a trace is an exemplar", func() bool {
		r.get("/svc/x", "traceparent: 00-"+id+"-b7ad6b7169203331-01")
		book.until(t, 1)
		return len(exemplars()) > 0
	})
	if got := exemplars()[0]; got != "lictor_request_duration_seconds trace_id "+id {
		t.Errorf("got %s", got)
	}
}
