package eureka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/eventually"
	"lictor/resolver"
	"lictor/resolver/eureka/eurekatest"
)

func startServer(t *testing.T, opts eurekatest.Options) *eurekatest.Server {
	t.Helper()
	s := eurekatest.New(opts)
	t.Cleanup(s.Close)
	return s
}

func newResolver(t *testing.T, cfg Config) *Resolver {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.CloseIdleConnections)
	return r
}

// refresh is one turn of Run.
func refresh(t *testing.T, r *Resolver) {
	t.Helper()
	if err := r.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func member(app, id string, port int) eurekatest.Instance {
	return eurekatest.Instance{App: app, ID: id, HostName: "localhost", IP: "127.0.0.1", Port: port}
}

// addresses spells the usable instances of a service.
func addresses(r *Resolver, name string) string {
	s := r.Catalog().Lookup(name)
	if s == nil {
		return "unknown"
	}
	var all []string
	for _, i := range s.Instances {
		if i.Usable() {
			all = append(all, i.Address)
		}
	}
	return strings.Join(all, " ")
}

func want(t *testing.T, r *Resolver, name, addr string) {
	t.Helper()
	if got := addresses(r, name); got != addr {
		t.Errorf("%s: got %q, want %q", name, got, addr)
	}
}

func TestDialects(t *testing.T) { // E1, E2, E6, E7, E12
	tests := []struct {
		name string
		opts eurekatest.Options
	}{
		{"Netflix", eurekatest.Options{}},
		{"Netflix without gzip, lists of one without brackets", eurekatest.Options{Plain: true, Single: true}},
		{"Spring Cloud, with a password", eurekatest.Options{Base: "/eureka", User: "gate", Password: "p@ss/word"}},
		{"Polaris", eurekatest.Options{Dialect: eurekatest.Polaris, Base: "/eureka"}},
		{"Amalgam8, with a token in the base", eurekatest.Options{Dialect: eurekatest.Amalgam8, Base: "/api/eureka/t0ken/v2"}},
	}
	for _, tt := range tests {
		for _, delta := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, delta %v", tt.name, delta), func(t *testing.T) {
				s := startServer(t, tt.opts)
				url := strings.Replace(s.URL(), "p@ss/word", "p%40ss%2Fword", 1)
				r := newResolver(t, Config{URLs: []string{url + "/"}, Delta: delta})
				refresh(t, r)
				if n := r.Catalog().Len(); n != 0 {
					t.Errorf("an empty registry has %d services", n)
				}
				s.Register(member("Orders", "a", 8001))
				s.Register(member("Orders", "b", 8002))
				s.Register(eurekatest.Instance{App: "secure", ID: "c", HostName: "localhost", IP: "127.0.0.1", SecurePort: 8443})
				refresh(t, r)
				want(t, r, "orders", "127.0.0.1:8001 127.0.0.1:8002")
				want(t, r, "ORDERS", "127.0.0.1:8001 127.0.0.1:8002")
				want(t, r, "other", "unknown")
				if i := r.Catalog().Lookup("secure").Instances[0]; !i.TLS || i.Address != "127.0.0.1:8443" {
					t.Errorf("got %+v, want https", i)
				}
				s.SetStatus("Orders", "a", "OUT_OF_SERVICE")
				s.SetStatus("Orders", "b", "DOWN")
				refresh(t, r)
				want(t, r, "orders", "")
				s.SetStatus("Orders", "b", "UP")
				s.Cancel("Orders", "a")
				refresh(t, r)
				want(t, r, "orders", "127.0.0.1:8002")
			})
		}
	}
}

func TestPreferHostname(t *testing.T) { // E8
	s := startServer(t, eurekatest.Options{})
	s.Register(member("orders", "a", 8001))
	r := newResolver(t, Config{URLs: []string{s.URL()}, PreferHostname: true})
	refresh(t, r)
	want(t, r, "orders", "localhost:8001")
}

func TestDelta(t *testing.T) { // E5
	s := startServer(t, eurekatest.Options{})
	s.Register(member("orders", "a", 8001))
	r := newResolver(t, Config{URLs: []string{s.URL()}, Delta: true})
	steps := []struct {
		name string
		do   func()
		asks string
		addr string
	}{
		{"the first is full", func() {}, "GET /apps", "127.0.0.1:8001"},
		{"then changes, sent again, are applied again", func() {}, "GET /apps/delta", "127.0.0.1:8001"},
		{"an instance more", func() { s.Register(member("orders", "b", 8002)) }, "GET /apps/delta", "127.0.0.1:8001 127.0.0.1:8002"},
		{"one less", func() { s.Cancel("orders", "a") }, "GET /apps/delta", "127.0.0.1:8002"},
		{"the hash differs", func() { s.BreakHash(true) }, "GET /apps/delta, GET /apps", "127.0.0.1:8002"},
		{"switched off", func() { s.BreakHash(false); s.FailDelta(403) }, "GET /apps/delta, GET /apps", "127.0.0.1:8002"},
		{"an error", func() { s.FailDelta(500) }, "GET /apps/delta, GET /apps", "127.0.0.1:8002"},
		{"no content", func() { s.FailDelta(204) }, "GET /apps/delta, GET /apps", "127.0.0.1:8002"},
		{"it works again", func() { s.FailDelta(0); s.SetStatus("orders", "b", "DOWN") }, "GET /apps/delta", ""},
	}
	for _, step := range steps {
		before := len(s.Requests())
		step.do()
		refresh(t, r)
		if got := strings.Join(s.Requests()[before:], ", "); got != step.asks {
			t.Errorf("%s: asked %q, want %q", step.name, got, step.asks)
		}
		if got := addresses(r, "orders"); got != step.addr {
			t.Errorf("%s: got %q, want %q", step.name, got, step.addr)
		}
	}
}

func TestFailOver(t *testing.T) { // E1, E9
	first, second := startServer(t, eurekatest.Options{}), startServer(t, eurekatest.Options{})
	first.Register(member("orders", "a", 8001))
	second.Register(member("orders", "b", 8002))
	dead := eurekatest.New(eurekatest.Options{})
	dead.Close()
	r := newResolver(t, Config{URLs: []string{dead.URL(), first.URL(), second.URL()}, Delta: true})
	refresh(t, r)
	want(t, r, "orders", "127.0.0.1:8001")
	first.Fail(500)
	refresh(t, r)
	want(t, r, "orders", "127.0.0.1:8002")
	second.Answer("<html>")
	second.FailDelta(500)
	if err := r.refresh(t.Context()); err == nil {
		t.Error("no server answers, want an error")
	}
	want(t, r, "orders", "127.0.0.1:8002")
	first.Fail(0)
	refresh(t, r)
	want(t, r, "orders", "127.0.0.1:8001")
	if asked := first.Requests(); asked[len(asked)-1] != "GET /apps" {
		t.Errorf("a delta on top of another server's registry makes no sense: %v", asked)
	}
}

func TestUnchangedKeepsPointers(t *testing.T) {
	s := startServer(t, eurekatest.Options{})
	s.Register(member("orders", "a", 8001))
	s.Register(member("shop", "b", 8002))
	r := newResolver(t, Config{URLs: []string{s.URL()}})
	refresh(t, r)
	before := r.Catalog()
	refresh(t, r)
	if r.Catalog() != before {
		t.Error("nothing changed, but the catalog did")
	}
	s.Register(member("shop", "c", 8003))
	refresh(t, r)
	after := r.Catalog()
	if after.Lookup("orders") != before.Lookup("orders") || after.Lookup("shop").Instances[0] != before.Lookup("shop").Instances[0] {
		t.Error("what did not change got new pointers")
	}
}

// TestCredentialsStay: the password goes to the configured server only, and
// into no log or status.
func TestCredentialsStay(t *testing.T) {
	var log bytes.Buffer
	s := startServer(t, eurekatest.Options{User: "gate", Password: "geheim"})
	r := newResolver(t, Config{
		URLs: []string{s.URL(), strings.Replace(s.URL(), "geheim", "falsch", 1)},
		Log:  hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace}),
	})
	s.Fail(302)
	err := r.refresh(t.Context())
	if err == nil || !slices.Equal(s.Requests(), []string{"GET /apps", "GET /apps"}) {
		t.Errorf("got %v, asked %v, want a redirect not followed", err, s.Requests())
	}
	r.fail(err, time.Second)
	s.Close()
	err = r.refresh(t.Context())
	r.fail(err, time.Second)
	if all := log.String() + r.Status().Error; strings.Contains(all, "geheim") || strings.Contains(all, "falsch") || !strings.Contains(all, s.Addr()) {
		t.Errorf("got %s", all)
	}
	if _, err := New(Config{URLs: []string{"http://gate:geheim@host:port/"}, Log: r.log}); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("got %v", err)
	}
}

func TestWrongPasswordIsAnError(t *testing.T) {
	s := startServer(t, eurekatest.Options{User: "gate", Password: "geheim"})
	r := newResolver(t, Config{URLs: []string{"http://gate:x@" + s.Addr() + "/eureka/v2"}})
	if err := r.refresh(t.Context()); !refused(err) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestAnswerIsBounded(t *testing.T) {
	s := startServer(t, eurekatest.Options{})
	r := newResolver(t, Config{URLs: []string{s.URL()}})
	r.maxAnswer = 100
	s.Answer(`{"applications":{}}` + strings.Repeat(" ", 1000)) // packed, it is far smaller
	if err := r.refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 100 bytes") {
		t.Errorf("got %v, want a limit", err)
	}
}

// TestEmptyService: one service that vanishes is believed after a second look.
func TestEmptyService(t *testing.T) { // D8
	s := startServer(t, eurekatest.Options{})
	for _, app := range []string{"a", "b", "c"} {
		s.Register(member(app, "1", 8001))
	}
	r := newResolver(t, Config{URLs: []string{s.URL()}, EmptyHold: time.Hour})
	refresh(t, r)
	s.Cancel("a", "1")
	refresh(t, r)
	want(t, r, "a", "unknown")
	want(t, r, "b", "127.0.0.1:8001")
	if n := len(s.Requests()); n != 3 {
		t.Errorf("asked %d times, want a second look", n)
	}
}

func TestFreshServer(t *testing.T) { // E9
	s := startServer(t, eurekatest.Options{})
	for _, app := range []string{"a", "b", "c", "d"} {
		s.Register(member(app, "1", 8001))
		s.Register(member(app, "2", 8002))
	}
	r := newResolver(t, Config{URLs: []string{s.URL()}, EmptyHold: time.Hour})
	refresh(t, r)
	s.Forget()
	refresh(t, r)
	want(t, r, "a", "127.0.0.1:8001 127.0.0.1:8002")
	if st := r.Status(); st.Held == "" || r.Catalog().Lookup("a").Held == "" {
		t.Errorf("got %+v, want it said", st)
	}
	s.Register(member("a", "1", 9001)) // came back at another port
	s.Register(member("b", "1", 8001))
	s.SetStatus("b", "1", "DOWN")
	s.Register(member("e", "1", 8001))
	refresh(t, r)
	want(t, r, "a", "127.0.0.1:9001 127.0.0.1:8002")
	want(t, r, "b", "127.0.0.1:8002")
	want(t, r, "e", "127.0.0.1:8001")
	r.belief.since = r.belief.since.Add(-time.Hour)
	refresh(t, r)
	want(t, r, "a", "127.0.0.1:9001")
	want(t, r, "b", "")
	want(t, r, "c", "unknown")
	if st := r.Status(); st.Held != "" || r.Catalog().Lookup("a").Held != "" {
		t.Errorf("got %+v, want it over", st)
	}
}

// TestBelief is the rule of E9 and D8 as a conversation.
func TestBelief(t *testing.T) {
	services := func(names string) map[string]*resolver.Service {
		told := make(map[string]*resolver.Service)
		for name := range strings.FieldsSeq(names) {
			told[name] = &resolver.Service{Name: name, Loaded: true, Instances: []*resolver.Instance{{ID: name, Weight: 1, State: resolver.Passing}}}
		}
		return told
	}
	steps := []struct {
		name string
		at   int // seconds
		told string
		want string
		fail bool // no answer
	}{
		{"the first answer", 0, "a b c d e f", "a b c d e f", false},
		{"one less is believed", 10, "a b c d e", "a b c d e", false},
		{"two less of five too", 20, "c d e", "c d e", false},
		{"more", 30, "a b c d e f", "a b c d e f", false},
		{"four of six are not believed", 40, "a b", "a b c d e f", false},
		{"some are back, one is new", 50, "a b c g", "a b c d e f g", false},
		{"an answer is missing", 60, "", "a b c d e f g", true},
		{"so the time starts again", 140, "a b c g", "a b c d e f g", false},
		{"and is over", 150, "a b c g", "a b c g", false},
		{"all but one", 160, "a", "a b c g", false},
		{"all back: nothing is held", 170, "a b c g", "a b c g", false},
		{"nothing", 180, "", "a b c g", false},
		{"nothing for long", 270, "", "", false},
		{"one service only", 280, "a", "a", false},
		{"that is all there is", 290, "", "a", false},
		{"for long", 380, "", "", false},
	}
	b := belief{hold: 90 * time.Second}
	known := resolver.NewFoldedCatalog()
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, step := range steps {
		now := start.Add(time.Duration(step.at) * time.Second)
		if step.fail {
			b.broken(now)
			continue
		}
		got, held := b.judge(known, services(step.told), now)
		var names []string
		known = resolver.NewFoldedCatalog()
		for name, s := range got {
			names = append(names, name)
			known = known.With([]*resolver.Service{s}, nil)
		}
		slices.Sort(names)
		if text := strings.Join(names, " "); text != step.want {
			t.Errorf("%s: got %q, want %q", step.name, text, step.want)
		}
		if (held != "") != (len(services(step.told)) != len(got)) {
			t.Errorf("%s: held is %q", step.name, held)
		}
	}
}

func TestColdStart(t *testing.T) { // X6
	file := filepath.Join(t.TempDir(), "eureka.json")
	s := startServer(t, eurekatest.Options{})
	s.Register(member("Orders", "a", 8001))
	r := newResolver(t, Config{URLs: []string{s.URL()}, SnapshotFile: file})
	refresh(t, r)
	s.Fail(503)

	r = newResolver(t, Config{URLs: []string{s.URL()}, SnapshotFile: file, EmptyHold: time.Hour})
	r.load()
	want(t, r, "ORDERS", "127.0.0.1:8001")
	if st := r.Status(); !st.Ready || !st.Snapshot || st.Since.IsZero() || !st.Contact.IsZero() {
		t.Errorf("got %+v", st)
	}
	s.Fail(0)
	s.Forget()
	refresh(t, r) // both were restarted: the snapshot is not given up either
	want(t, r, "orders", "127.0.0.1:8001")
	if st := r.Status(); st.Snapshot || st.Contact.IsZero() || st.Held == "" {
		t.Errorf("got %+v", st)
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBadSnapshotIsIgnored(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":           "{",
		"another version":   `{"Version":99}`,
		"no name":           `{"Version":1,"Services":[{}]}`,
		"null":              `{"Version":1,"Services":[null]}`,
		"an odd instance":   `{"Version":1,"Services":[{"Name":"a","Instances":[{"State":200}]}]}`,
		"a null instance":   `{"Version":1,"Services":[{"Name":"a","Instances":[null]}]}`,
		"an unusable name":  `{"Version":1,"Services":[{"Name":"A"}]}`,
		"negative weighing": `{"Version":1,"Services":[{"Name":"a","Instances":[{"Weight":-1}]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "eureka.json")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := newResolver(t, Config{URLs: []string{"http://127.0.0.1:1/"}, SnapshotFile: file})
			r.load()
			if r.Catalog().Len() != 0 || r.Status().Ready {
				t.Errorf("got %d services", r.Catalog().Len())
			}
		})
	}
}

func TestRun(t *testing.T) {
	s := startServer(t, eurekatest.Options{})
	s.Fail(500)
	r := newResolver(t, Config{URLs: []string{s.URL()}, Refresh: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	eventually.True(t, "the failure is told", func() bool { return r.Status().Error != "" })
	if r.Status().Ready {
		t.Error("it cannot be ready")
	}
	s.Register(member("orders", "a", 8001))
	s.Fail(0)
	eventually.True(t, "the service is there", func() bool { return addresses(r, "orders") == "127.0.0.1:8001" })
	if st := r.Status(); !st.Ready || st.Error != "" {
		t.Errorf("got %+v", st)
	}
	<-r.Want("orders")
	<-r.Want("nosuch")
	cancel()
	wg.Wait()
}

func TestNewChecksItsConfig(t *testing.T) {
	log := hclog.NewNullLogger()
	for name, cfg := range map[string]Config{
		"no log":            {URLs: []string{"http://h/"}},
		"no URL":            {Log: log},
		"another scheme":    {Log: log, URLs: []string{"ftp://h/"}},
		"no host":           {Log: log, URLs: []string{"http:///eureka"}},
		"a query":           {Log: log, URLs: []string{"http://h/eureka?a=b"}},
		"a negative time":   {Log: log, URLs: []string{"http://h/"}, Refresh: -1},
		"one of two is bad": {Log: log, URLs: []string{"http://h/", "h:8761"}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}
