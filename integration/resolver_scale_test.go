//go:build integration

package integration_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	consulapi "lictor/internal/consul"
	"lictor/resolver"
	"lictor/resolver/consul"
)

// streamConns is how many of its connections lictor has of HTTP/2.
const streamConns = 29

// startResolver runs a consul resolver until the test ends. edit may change its configuration.
func startResolver(t *testing.T, c *consulAgent, edit func(*consul.Config)) *consul.Resolver {
	t.Helper()
	client, err := consulapi.New(consulapi.Config{Streams: streamConns,
		API: &api.Config{Address: c.Addr, Token: c.Token, TLSConfig: api.TLSConfig{CAFile: c.CA}}})
	if err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	cfg := consul.Config{
		Client:      client,
		Log:         hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info}),
		PassingOnly: true,
		EmptyHold:   30 * time.Second,
	}
	if edit != nil {
		edit(&cfg)
	}
	r, err := consul.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Logf("the resolver said:\n%s", log)
		}
	})
	return r
}

// loaded wants a service and returns it once its instances are known.
func loaded(t *testing.T, r *consul.Resolver, name string) *resolver.Service {
	t.Helper()
	var s *resolver.Service
	eventually(t, soon, name+" is loaded", func() error {
		r.Want(name)
		if s = r.Catalog().Lookup(name); s == nil || !s.Loaded {
			return fmt.Errorf("got %+v", s)
		}
		return nil
	})
	return s
}

// fill registers services 0..n-1 of two instances each on four nodes, past the agent.
func fill(t *testing.T, c *consulAgent, n int) {
	t.Helper()
	fillAt(t, c, n, 9000, 9001)
}

// fillAt is fill with the ports of the instances.
func fillAt(t *testing.T, c *consulAgent, n int, ports ...int) {
	t.Helper()
	for node := range 4 {
		_, err := c.Client.Catalog().Register(&api.CatalogRegistration{Node: fmt.Sprintf("n%d", node), Address: "127.0.0.1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	var ops api.TxnOps
	for i := range n {
		for k, port := range ports {
			node, id := fmt.Sprintf("n%d", (i+k)%4), fmt.Sprintf("svc-%04d-%d", i, k)
			ops = append(ops,
				&api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: node,
					Service: api.AgentService{ID: id, Service: id[:8], Address: "127.0.0.1", Port: port, Tags: []string{"v1", "http"}}}},
				&api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckSet,
					Check: api.HealthCheck{Node: node, CheckID: "c-" + id, Name: "c", Status: "passing", ServiceID: id, ServiceName: id[:8]}}})
		}
	}
	for part := range slices.Chunk(ops, 64) {
		if ok, _, _, err := c.Client.Txn().Txn(part, nil); err != nil || !ok {
			t.Fatalf("txn: %v %v", ok, err)
		}
	}
}

// setInstance registers, or with port 0 removes, an instance past the agent.
func setInstance(t *testing.T, c *consulAgent, name, id string, port int) {
	t.Helper()
	var err error
	if port == 0 {
		_, err = c.Client.Catalog().Deregister(&api.CatalogDeregistration{Node: "n0", ServiceID: id}, nil)
	} else {
		_, err = c.Client.Catalog().Register(&api.CatalogRegistration{Node: "n0", SkipNodeUpdate: true, Address: "127.0.0.1",
			Service: &api.AgentService{ID: id, Service: name, Address: "127.0.0.1", Port: port}}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	eventually(t, soon, what, func() error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
}

// quantile sorts d and returns its given percentile.
func quantile(d []time.Duration, percent int) time.Duration {
	slices.Sort(d)
	return d[(len(d)-1)*percent/100]
}

var prompts = flag.Int("prompts", 4, "how many services appear and go while TestScale tells how long that takes")

// TestScale is the scale of the issue: 1,000 services of 2 instances, with few,
// many and all of them wanted. What it costs is counted in connections to Consul
// and in requests, which a busy machine does not change.
func TestScale(t *testing.T) {
	together(t)
	c := startConsul(t)
	fill(t, c, 1000)
	for _, wanted := range []int{10, 100, 1000} {
		t.Run(fmt.Sprintf("wanted=%d", wanted), func(t *testing.T) {
			scale(t, c, wanted)
		})
	}
}

// closing is how many connections the kernel may still show that the client has
// given up: on a machine with other work six were seen.
const closing = 16

func scale(t *testing.T, c *consulAgent, wanted int) {
	setOthers(t, c, 80)
	p := startConsulProxy(t, c)
	var client *consulapi.Client
	r := startResolver(t, &consulAgent{Addr: p.Addr}, func(cfg *consul.Config) { client = cfg.Client })
	count := func(what string, most int64, f func()) {
		t.Helper()
		before := p.requests.Load()
		f()
		got := p.requests.Load() - before
		t.Logf("%s: %d requests", what, got)
		if got > most {
			t.Errorf("%s: %d requests, want at most %d", what, got, most)
		}
		conns, err := established(p.Addr)
		if err != nil || conns > client.MostConns()+closing {
			t.Errorf("%s: %d connections, %v, want at most %d and %d that are being closed", what, conns, err, client.MostConns(), closing)
		}
	}
	all := int64(wanted) // may be read once more, where that takes long enough for a sweep
	count("loading", 2*all+50, func() { loadServices(t, r, wanted) })
	eventually(t, soon, "every watch waits", func() error {
		if waiting, want := p.waiting.Load(), int64(r.Status().Watches); waiting < want {
			return fmt.Errorf("%d of %d", waiting, want)
		}
		return nil
	})
	count("5 s without a change", 20, func() { served(t, r, 5*time.Second, "svc-0000") })
	count("40 services that appear or go", all+200, func() { turns(t, c, r) })
	count("200 changes to services that nobody asks for", all+450, func() { churn(t, c, r) })
	prompt(t, c, r)
}

// consulProxy stands before an agent and counts requests.
type consulProxy struct {
	Addr     string
	requests atomic.Int64
	waiting  atomic.Int64 // of them, those that have no answer yet
}

func startConsulProxy(t *testing.T, c *consulAgent) *consulProxy {
	t.Helper()
	p := new(consulProxy)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: c.Addr})
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 200}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		p.waiting.Add(1)
		defer p.waiting.Add(-1)
		proxy.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of queries that are given up
	proxy.ErrorLog = s.Config.ErrorLog
	p.Addr = s.Listener.Addr().String()
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return p
}

// loadServices wants the first n services and waits until they are loaded.
func loadServices(t *testing.T, r *consul.Resolver, n int) {
	t.Helper()
	eventually(t, soon, "all services are known", func() error {
		if n := r.Catalog().Len(); n != 1200 {
			return fmt.Errorf("got %d", n)
		}
		return nil
	})
	for i := range n {
		r.Want(fmt.Sprintf("svc-%04d", i))
	}
	for i := range n {
		<-r.Want(fmt.Sprintf("svc-%04d", i))
	}
}

// churn changes 200 services that exist, and leaves time for what follows, which
// is counted and ends in nothing to wait for.
func churn(t *testing.T, c *consulAgent, r *consul.Resolver) {
	t.Helper()
	setOthers(t, c, 81)
	served(t, r, 5*time.Second, "svc-0000")
}

// setOthers sets the port of 200 services that nobody asks for.
func setOthers(t *testing.T, c *consulAgent, port int) {
	t.Helper()
	for i := range 200 {
		setInstance(t, c, fmt.Sprintf("other-%d", i), fmt.Sprintf("other-%d", i), port)
	}
}

// turns lets a service appear and go, twenty times.
func turns(t *testing.T, c *consulAgent, r *consul.Resolver) {
	t.Helper()
	for range 20 {
		setInstance(t, c, "turn", "turn", 80)
		until(t, "it is known", func() bool { return r.Catalog().Lookup("turn") != nil })
		setInstance(t, c, "turn", "turn", 0)
		until(t, "it is gone", func() bool { return r.Catalog().Lookup("turn") == nil })
	}
}

// prompt lets services appear until they are served, and go until they are
// refused. How long that takes, from when Consul has acknowledged it, is told:
// it depends on what else the machine does, and a bare list tells how much.
func prompt(t *testing.T, c *consulAgent, r *consul.Resolver) {
	t.Helper()
	var appear, vanish, bare []time.Duration
	for i := range *prompts {
		name := fmt.Sprintf("new-%d", i)
		setInstance(t, c, name, name, 80)
		began := time.Now()
		until(t, "it is served", func() bool {
			r.Want(name)
			s := r.Catalog().Lookup(name)
			return s != nil && s.Usable()
		})
		appear = append(appear, time.Since(began))
		setInstance(t, c, name, name, 0)
		began = time.Now()
		until(t, "it is refused", func() bool { return r.Catalog().Lookup(name) == nil })
		vanish = append(vanish, time.Since(began))
		began = time.Now()
		if _, _, err := c.Client.Catalog().Services(nil); err != nil {
			t.Fatal(err)
		}
		bare = append(bare, time.Since(began))
	}
	t.Logf("appears p50 %v p99 %v, goes p50 %v p99 %v; a bare list p50 %v p99 %v", quantile(appear, 50), quantile(appear, 99),
		quantile(vanish, 50), quantile(vanish, 99), quantile(bare, 50), quantile(bare, 99))
}
