package eureka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/eventually"
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
