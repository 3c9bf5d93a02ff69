package consul

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
	"lictor/resolver"
)

// bench is a Resolver that runs against a fake, in fake time.
type bench struct {
	*Resolver
	t    *testing.T
	fake *fakeConsul
	log  *bytes.Buffer // read it after settle only
	stop func()
}

// settle lets everything happen that happens without time passing.
func (b *bench) settle() { b.t.Helper(); synctest.Wait() }

// pass lets time pass.
func (b *bench) pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// state describes a service in one word or list.
func (b *bench) state(name string) string {
	s := b.Catalog().Lookup(name)
	switch {
	case s == nil:
		return "unknown"
	case !s.Loaded:
		return "not loaded"
	}
	var parts []string
	for _, i := range s.Instances {
		parts = append(parts, fmt.Sprintf("%s %v", i.ID[2:], i.State))
	}
	return strings.Join(parts, ", ")
}

// want asks for services and waits for their first answers.
func (b *bench) want(names ...string) {
	b.t.Helper()
	b.settle()
	for _, name := range names {
		<-b.Want(name)
	}
	b.settle()
}

// expect fails the test unless the service is in the given state.
func (b *bench) expect(name, want, when string) {
	b.t.Helper()
	if got := b.state(name); got != want {
		b.t.Errorf("%s: %s is %q, want %q", when, name, got, want)
	}
}

// during checks every 50 ms for d.
func (b *bench) during(d time.Duration, name, want, when string) {
	b.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end) && !b.t.Failed(); b.pass(50 * time.Millisecond) {
		b.expect(name, want, when)
	}
}

// newTestClient returns a client whose requests go to rt.
func newTestClient(t *testing.T, rt http.RoundTripper) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{API: &api.Config{Address: "consul.test", HttpClient: &http.Client{Transport: rt}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// onBench runs test in a bubble of fake time with a Resolver for fake.
func onBench(t *testing.T, fake *fakeConsul, edit func(*Config), test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake.changed = make(chan struct{}) // channels belong to their bubble
		b := startBench(t, fake, edit)
		test(b)
		b.stop()
		fake.changed = nil
	})
}

// startBench starts a Resolver; its stop must be called in the same bubble.
func startBench(t *testing.T, fake *fakeConsul, edit func(*Config)) *bench {
	t.Helper()
	log := &bytes.Buffer{}
	cfg := Config{Client: newTestClient(t, fake), PassingOnly: true, EmptyHold: 30 * time.Second,
		Log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info, DisableTime: true})}
	if edit != nil {
		edit(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b := &bench{Resolver: r, t: t, fake: fake, log: log}
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Logf("the resolver said:\n%s", log)
		}
	}
	b.settle()
	return b
}

// one returns the only instance of a service.
func (b *bench) one(name string) *resolver.Instance {
	b.t.Helper()
	s := b.Catalog().Lookup(name)
	if s == nil || len(s.Instances) != 1 {
		b.t.Fatalf("%s is %+v, want one instance", name, s)
	}
	return s.Instances[0]
}
