package egress

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns/dnstest"
	"lictor/resolver"
)

func TestLogOfDecisions(t *testing.T) {
	b := start(t, quick())
	b.policy(lists{blackKey: &policy.List{Entries: []string{"127.0.0.66"}, Reason: "botnet"}})
	b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2"}})
	b.dns.Set("evil.example", dnstest.Name{Addrs: []string{"127.0.0.66"}})
	b.get(b.url("shop.example", "/a?secret=1"))
	b.get(b.url("evil.example", "/"))
	for _, want := range [][]string{
		{"allowed: ", "host=shop.example", "address=" + b.at("127.0.0.2"), "status=200", "lookup_us=", "connect_us=", "took_us="},
		{"denied: ", "host=evil.example", "address=127.0.0.66", "reason=blacklist", "rule=lictor/policy/blacklist/ops", "entry=127.0.0.66", "note=botnet"},
	} {
		eventually.True(b, "the log tells", func() bool {
			for line := range strings.Lines(b.log.String()) {
				if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(line, w) }) {
					return true
				}
			}
			return false
		})
	}
	if strings.Contains(b.log.String(), "secret") {
		t.Error("the log holds a query")
	}
}

func TestAccessLog(t *testing.T) {
	formats := map[string]func(b *bench) []string{
		"json": func(b *bench) []string {
			return []string{`"listener": "egress"`, `"host": "127.0.0.2"`, `"upstream": "` + b.at("127.0.0.2") + `"`, `"reason": "private_address"`, `"path": "/a", "protocol": "HTTP/1.1", "user_agent": "test \"agent\"", "status": 200, "policy": "00000000"`, `"upstream_status": 200`}
		},
		"common": func(b *bench) []string {
			return []string{`"GET ` + b.url("127.0.0.2", "/a") + ` HTTP/1.1" 200 `, `"CONNECT 10.0.0.1:443 HTTP/1.1" 403 `}
		},
		"combined": func(b *bench) []string {
			return []string{`"GET ` + b.url("127.0.0.2", "/a") + ` HTTP/1.1" 200 `, `"-" "test \"agent\""`}
		},
	}
	for format, want := range formats {
		t.Run(format, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.log")
			log, err := answer.NewAccessLog(path, format)
			if err != nil {
				t.Fatal(err)
			}
			b := newBench(t)
			b.run(quick(), func(c *Config) { c.AccessLog, c.AccessFormat = log, format })
			b.get(b.url("127.0.0.2", "/a?secret=1"), `User-Agent: test "agent"`)
			b.connect("10.0.0.1:443")
			time.Sleep(20 * time.Millisecond) // the line is written behind the answer, to a file that is flushed below
			ctx, stop := context.WithCancel(t.Context())
			stop()
			if err := log.Run(ctx); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range want(b) {
				if format == "combined" {
					w = strings.ReplaceAll(w, `\\"`, `\"`)
				}
				if !strings.Contains(string(text), w) {
					t.Errorf("no %s in\n%s", w, text)
				}
			}
			if strings.Contains(string(text), "secret") || strings.Count(string(text), "\n") != 2 {
				t.Errorf("want two lines without the query, got\n%s", text)
			}
			for line := range strings.Lines(string(text)) {
				if format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %s", line)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) { // contract 6
	b := start(t, quick())
	b.get(b.url("127.0.0.2", "/"))
	b.get("http://10.0.0.1/")
	c, _ := b.connect(b.at("127.0.0.2"))
	eventually.True(b, "all is counted", func() bool {
		return b.metric("lictor_requests_total", "code", "2xx") == 1 && b.metric("lictor_requests_total", "code", "4xx") == 1 &&
			b.metric("lictor_denied_total", "reason", "private_address") == 1
	})
	c.Close()
	eventually.True(b, "the tunnel is counted when it ends", func() bool { return b.metric("lictor_requests_total", "code", "2xx") == 2 })
}

func TestExplain(t *testing.T) { // contract 5
	b := start(t, quick())
	b.policy(lists{blackKey: black("127.0.0.66", ".evil.example"), whiteKey: white("127.0.0.0/8")})
	b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2"}})
	b.dns.Set("hidden.example", dnstest.Name{Addrs: []string{"127.0.0.66"}})
	tests := []struct {
		name, method, url string
		status            int
		reason            answer.Reason
		steps             string // step:verdict
	}{
		{"allowed", "", "http://shop.example/a/../b", 200, "", "dns:pass own_address:pass blacklist:pass registered_service:pass private_address:pass whitelist:pass"},
		{"a tunnel", "CONNECT", "shop.example:443", 200, "", "dns:pass own_address:pass blacklist:pass registered_service:pass private_address:pass whitelist:pass"},
		{"https is a tunnel", "", "https://shop.example/a", 200, "", "dns:pass own_address:pass blacklist:pass registered_service:pass private_address:pass whitelist:pass"},
		{"denied by name", "", "http://x.evil.example/", 403, answer.Reason(policy.ReasonBlacklist), "blacklist:deny"},
		{"denied by address", "", "http://hidden.example/", 403, answer.Reason(policy.ReasonBlacklist), "dns:pass own_address:pass blacklist:deny"},
		{"private", "", "http://10.0.0.1/", 403, privateAddress, "own_address:pass blacklist:pass registered_service:pass private_address:deny"},
		{"our own", "", "http://" + b.addr + "/", 403, ownAddress, "own_address:deny"},
		{"no such name", "", "http://nothing.example/", 502, dnsFailed, "dns:deny"},
		{"an odd spelling", "", "http://127.1/", 400, badTarget, "target:deny"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := b.proxy.Explain(t.Context(), &answer.Question{Method: tt.method, URL: tt.url})
			if err != nil {
				t.Fatal(err)
			}
			var steps []string
			for _, s := range e.Steps {
				steps = append(steps, s.Step+":"+s.Verdict)
			}
			if got := strings.Join(steps, " "); e.Status != tt.status || e.Reason != string(tt.reason) || got != tt.steps || e.Allowed != (tt.status == 200) {
				t.Errorf("got %v %d %q %s, want %d %q %s", e.Allowed, e.Status, e.Reason, got, tt.status, tt.reason, tt.steps)
			}
			if e.Allowed && (e.Dispatch == nil || len(e.Dispatch.Instances) != 1 || !e.Dispatch.Instances[0].Chosen) {
				t.Errorf("dispatch is %+v", e.Dispatch)
			}
		})
	}
	if n := b.origin.count(); n != 0 || len(b.dials()) != 0 {
		t.Errorf("to explain sent %d requests", n)
	}
	if _, err := b.proxy.Explain(t.Context(), &answer.Question{URL: "not a url"}); err == nil {
		t.Error("nonsense is explained")
	}
}

// source is a resolver whose catalog a test sets.
type source struct {
	catalog *resolver.Catalog
	ready   bool
	partial string
	wanted  []string
}

func (s *source) Kind() string               { return "test" }
func (s *source) Catalog() *resolver.Catalog { return s.catalog }
func (s *source) Status() resolver.Status    { return resolver.Status{Ready: s.ready, Partial: s.partial} }
func (s *source) Want(name string) <-chan struct{} {
	s.wanted = append(s.wanted, name)
	return nil
}

func TestCatalogs(t *testing.T) { // A15
	now := time.Now()
	s := &source{catalog: resolver.NewCatalog(&resolver.Service{Name: "db"})}
	c := NewCatalogs([]resolver.Source{s})
	if c.Missing() == "" {
		t.Error("ready before the registry answered")
	}
	s.ready = true
	c.follow(now)
	if c.Missing() == "" || fmt.Sprint(s.wanted) != "[db]" {
		t.Errorf("missing is %q before db is loaded, wanted %v", c.Missing(), s.wanted)
	}
	s.catalog = resolver.NewCatalog(
		&resolver.Service{Name: "db", Loaded: true, Instances: []*resolver.Instance{
			{Address: "192.0.2.1:5432"}, {Address: "[2001:db8::1]:5432", State: resolver.Critical}, {Address: "DB.internal:5432"}, {Address: "rubbish"},
		}},
		&resolver.Service{Name: "same", Loaded: true, Instances: []*resolver.Instance{{Address: "192.0.2.1:5432"}}},
	)
	c.follow(now)
	if c.Missing() != "" {
		t.Error("not ready when all is loaded")
	}
	at := func(s string) int { return len(c.ServicesAt(netip.MustParseAddrPort(s))) }
	if at("192.0.2.1:5432") != 2 || at("[2001:db8::1]:5432") != 1 || at("192.0.2.1:5433") != 0 || len(c.ServicesNamed("db.internal", 5432)) != 1 {
		t.Error("an address or a name is missing")
	}
	s.catalog = resolver.NewCatalog(&resolver.Service{Name: "new"})
	c.follow(now)
	if at("192.0.2.1:5432") != 0 || c.Missing() != "" {
		t.Error("what is gone is still there, or a new service makes it unready")
	}
}

// TestTheRegistryIsClosedWhileItLacksSomething: for ever, if need be, and it
// says what it lacks.
func TestTheRegistryIsClosedWhileItLacksSomething(t *testing.T) {
	now := time.Now()
	whole := resolver.NewCatalog(&resolver.Service{Name: "db", Loaded: true})
	tests := []struct {
		name   string
		source source
		lacks  string
	}{
		{"a resolver has not answered", source{catalog: whole}, "has not answered"},
		{"a service is known by name only", source{ready: true, catalog: resolver.NewCatalog(&resolver.Service{Name: "never"})}, "never"},
		{"ACLs hide services", source{ready: true, catalog: whole, partial: "hidden by ACLs"}, "hidden by ACLs"},
		{"nothing is lacking", source{ready: true, catalog: whole}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCatalogs([]resolver.Source{&tt.source})
			for _, later := range []time.Duration{0, loadPatience / 2, 2 * loadPatience, time.Hour} {
				c.follow(now.Add(later))
				if got := c.Missing(); (got == "") != (tt.lacks == "") || !strings.Contains(got, tt.lacks) {
					t.Errorf("after %v it lacks %q, want %q", later, got, tt.lacks)
				}
			}
		})
	}
}

// TestANewServiceHasSomeTimeToBeKnown before the rest is closed for its sake.
func TestANewServiceHasSomeTimeToBeKnown(t *testing.T) {
	now := time.Now()
	s := &source{ready: true, catalog: resolver.NewCatalog()}
	c := NewCatalogs([]resolver.Source{s})
	s.catalog = resolver.NewCatalog(&resolver.Service{Name: "new"})
	for _, step := range []struct {
		after time.Duration
		open  bool
	}{{0, true}, {loadPatience / 2, true}, {loadPatience, false}, {time.Hour, false}} {
		if c.follow(now.Add(step.after)); (c.Missing() == "") != step.open {
			t.Errorf("after %v it lacks %q", step.after, c.Missing())
		}
	}
	s.catalog = resolver.NewCatalog(&resolver.Service{Name: "new", Loaded: true})
	if c.follow(now.Add(2 * time.Hour)); c.Missing() != "" {
		t.Errorf("it is known, and it lacks %q", c.Missing())
	}
}

// TestServicesThatKeepTurningUpCloseNothing, from the start on, as each of them is known
// in time; the one that never is does.
func TestServicesThatKeepTurningUpCloseNothing(t *testing.T) {
	now := time.Now()
	s := &source{ready: true, catalog: resolver.NewCatalog(&resolver.Service{Name: "first"})}
	c := NewCatalogs([]resolver.Source{s})
	for i := range 300 {
		now = now.Add(followEvery)
		s.catalog = resolver.NewCatalog(&resolver.Service{Name: "first", Loaded: i > 0}, &resolver.Service{Name: fmt.Sprint("new", i)}, &resolver.Service{Name: fmt.Sprint("new", i-1), Loaded: true})
		if c.follow(now); (c.Missing() == "") != (i > 0) {
			t.Fatalf("after %v it lacks %q", time.Duration(i)*followEvery, c.Missing())
		}
	}
	for i := range 100 {
		now = now.Add(followEvery)
		s.catalog = resolver.NewCatalog(&resolver.Service{Name: "never"}, &resolver.Service{Name: fmt.Sprint("new", i)})
		if c.follow(now); (c.Missing() == "") != (i < 50) {
			t.Fatalf("after %v it lacks %q", time.Duration(i)*followEvery, c.Missing())
		}
	}
}

// TestEveryRegisteredAddressIsOutOfReach, not only the one that requests go to.
func TestEveryRegisteredAddressIsOutOfReach(t *testing.T) {
	c := NewCatalogs([]resolver.Source{&source{ready: true, catalog: resolver.NewCatalog(&resolver.Service{Name: "multi", Loaded: true,
		Instances:  []*resolver.Instance{{Address: "192.0.2.1:81"}},
		Registered: []string{"192.0.2.1:81", "192.0.2.1:82", "[2001:db8::1]:443", "wan.example:82"},
	})}})
	for _, at := range []string{"192.0.2.1:81", "192.0.2.1:82", "[2001:db8::1]:443"} {
		if got := c.ServicesAt(netip.MustParseAddrPort(at)); fmt.Sprint(got) != "[multi]" {
			t.Errorf("at %s there is %v", at, got)
		}
	}
	if got := c.ServicesNamed("wan.example", 82); fmt.Sprint(got) != "[multi]" {
		t.Errorf("at wan.example:82 there is %v", got)
	}
}

// TestUnreadyRegistry: as long as nobody knows what is registered, nothing
// passes but what a whitelist admits by its name (X6).
func TestUnreadyRegistry(t *testing.T) {
	const name, other = "good.test", "other.test"
	open := quick()
	open.ReachRegistered = true
	tests := []struct {
		name     string
		settings Settings
		lists    lists
		host     string
		want     int
	}{
		{"an address", quick(), nil, "127.0.0.2", 503},
		{"a name", quick(), nil, name, 503},
		{"a name that a whitelist admits", quick(), lists{whiteKey: white(name)}, name, 200},
		{"another name", quick(), lists{whiteKey: white(name)}, other, 503},
		{"a name whose address a whitelist admits", quick(), lists{whiteKey: white("127.0.0.0/8")}, name, 503},
		{"an address that a whitelist admits", quick(), lists{whiteKey: white("127.0.0.2")}, "127.0.0.2", 503},
		{"a name in a whitelist that only reports", quick(), lists{whiteKey: &policy.List{Allow: true, Direction: policy.Egress, Mode: policy.Report, Entries: []string{name}}}, name, 503},
		{"services may be reached", open, nil, "127.0.0.2", 200},
		{"services may be reached, but a blacklist names one", open, lists{blackKey: black("service:db")}, "127.0.0.2", 503},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.dns.Set(name, dnstest.Name{Addrs: []string{"127.0.0.2"}})
			b.dns.Set(other, dnstest.Name{Addrs: []string{"127.0.0.2"}})
			b.policy(tt.lists)
			b.run(tt.settings, func(c *Config) { c.Registry = NewCatalogs([]resolver.Source{&source{catalog: resolver.NewCatalog()}}) })
			if got := b.get(b.url(tt.host, "/")).StatusCode; got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestAnEntryOfARegistryWithoutCaseHoldsAsTheRegistryShowsTheName: Eureka shows
// its applications in upper case, its catalog has them in lower case (E7).
func TestAnEntryOfARegistryWithoutCaseHoldsAsTheRegistryShowsTheName(t *testing.T) {
	db := &resolver.Service{Name: "db", Loaded: true, Instances: []*resolver.Instance{{Address: "192.0.2.1:5432"}, {Address: "db.internal:5432"}}}
	tests := []struct {
		name    string
		catalog *resolver.Catalog
		want    string
	}{
		{"Eureka: both", resolver.NewFoldedCatalog(db), "[db DB]"},
		{"Consul: the exact name only", resolver.NewCatalog(db), "[db]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCatalogs([]resolver.Source{&source{ready: true, catalog: tt.catalog}})
			at, named := c.ServicesAt(netip.MustParseAddrPort("192.0.2.1:5432")), c.ServicesNamed("db.internal", 5432)
			if fmt.Sprint(at) != tt.want || fmt.Sprint(named) != tt.want {
				t.Errorf("registered are %v and %v, want %s", at, named, tt.want)
			}
		})
	}
}
