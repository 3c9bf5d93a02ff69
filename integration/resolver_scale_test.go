//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	consulapi "lictor/internal/consul"
	"lictor/resolver"
	"lictor/resolver/consul"
)

// startResolver runs a consul resolver until the test ends. edit may change its configuration.
func startResolver(t *testing.T, c *consulAgent, edit func(*consul.Config)) *consul.Resolver {
	t.Helper()
	client, err := consulapi.New(consulapi.Config{API: &api.Config{Address: c.Addr, Token: c.Token}})
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
	eventually(t, 10*time.Second, name+" is loaded", func() error {
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
	for node := range 4 {
		_, err := c.Client.Catalog().Register(&api.CatalogRegistration{Node: fmt.Sprintf("n%d", node), Address: "127.0.0.1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	var ops api.TxnOps
	for i := range n {
		for k := range 2 {
			node, id := fmt.Sprintf("n%d", (i+k)%4), fmt.Sprintf("svc-%04d-%d", i, k)
			ops = append(ops,
				&api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: node,
					Service: api.AgentService{ID: id, Service: id[:8], Address: "127.0.0.1", Port: 9000 + k, Tags: []string{"v1", "http"}}}},
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

// cpu is the processor time that this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spin waits for ok, and notices it within a fraction of a millisecond.
func spin(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10s: %s", what)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// quantile sorts d and returns its given percentile.
func quantile(d []time.Duration, percent int) time.Duration {
	slices.Sort(d)
	return d[(len(d)-1)*percent/100]
}

// TestScale is the scale of the issue: 1,000 services of 2 instances, with few,
// many and all of them wanted. Processor time is this process's; what the
// test's own writes cost is measured before the resolver runs, and left out.
// The race detector makes everything several times as dear, the limits too.
func TestScale(t *testing.T) {
	for _, wanted := range []int{10, 100, 1000} {
		t.Run(fmt.Sprintf("wanted=%d", wanted), func(t *testing.T) { scale(t, wanted) })
	}
}

func scale(t *testing.T, wanted int) {
	slack := time.Duration(1)
	if raceEnabled {
		slack = 8
	}
	c := startConsul(t)
	fill(t, c, 1000)
	for i := range 200 {
		setInstance(t, c, fmt.Sprintf("other-%d", i), fmt.Sprintf("other-%d", i), 80)
	}
	churnAlone := timed(t, func() { churn(t, c, 81) })
	turnAlone := timed(t, func() { turns(t, c) })

	goroutines := runtime.NumGoroutine()
	r := startResolver(t, c, nil)
	loading := timed(t, func() { loadServices(t, r, wanted) })
	conns := c.HTTPConns(t)
	t.Logf("loading: %v CPU; %d goroutines, %d connections at the agent", loading, runtime.NumGoroutine()-goroutines, conns)
	if conns > 160 {
		t.Errorf("%d connections at the agent, which accepts 200", conns)
	}
	time.Sleep(time.Second)
	idle := timed(t, func() { time.Sleep(5 * time.Second) })
	t.Logf("idle: %v CPU in 5 s", idle)
	// The heartbeat asks for the index on a new connection every few seconds.
	if idle > slack*20*time.Millisecond {
		t.Error("want less than half a hundredth of a core")
	}
	each := (timed(t, func() { turns(t, c) }) - turnAlone) / turnChanges
	t.Logf("a service that appears or goes: %v CPU", each)
	if each > slack*5*time.Millisecond {
		t.Error("want under 5 ms")
	}
	others := timed(t, func() { churn(t, c, 82) }) - churnAlone
	t.Logf("200 changes to services that nobody asks for: %v CPU", others)
	if others > slack*100*time.Millisecond {
		t.Error("want under 0.1 s")
	}
	prompt(t, c, r, slack*slack*20*time.Millisecond) // wall time is also what else the machine does
}

// timed returns the processor time of f.
func timed(t *testing.T, f func()) time.Duration {
	t.Helper()
	began := cpu(t)
	f()
	return cpu(t) - began
}

// loadServices wants the first n services and waits until they are loaded.
func loadServices(t *testing.T, r *consul.Resolver, n int) {
	t.Helper()
	eventually(t, 10*time.Second, "all services are known", func() error {
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

// churn changes 200 services that exist, and waits for what follows.
func churn(t *testing.T, c *consulAgent, port int) {
	t.Helper()
	for i := range 200 {
		setInstance(t, c, fmt.Sprintf("other-%d", i), fmt.Sprintf("other-%d", i), port)
	}
	time.Sleep(5 * time.Second)
}

const turnChanges = 40

// turns lets services appear and go, one after the other.
func turns(t *testing.T, c *consulAgent) {
	t.Helper()
	for i := range turnChanges {
		setInstance(t, c, "turn", "turn", 80*(1-i%2))
		time.Sleep(50 * time.Millisecond)
	}
}

// prompt measures how long it takes until a service that appears is served and
// one that goes is refused, from when Consul has acknowledged it. How long
// Consul takes to answer a bare list tells how busy the machine is.
func prompt(t *testing.T, c *consulAgent, r *consul.Resolver, limit time.Duration) {
	t.Helper()
	var appear, vanish, bare []time.Duration
	for i := range 200 {
		name := fmt.Sprintf("new-%d", i)
		setInstance(t, c, name, name, 80)
		began := time.Now()
		spin(t, "it is served", func() bool {
			r.Want(name)
			s := r.Catalog().Lookup(name)
			return s != nil && s.Usable()
		})
		appear = append(appear, time.Since(began))
		setInstance(t, c, name, name, 0)
		began = time.Now()
		spin(t, "it is refused", func() bool { return r.Catalog().Lookup(name) == nil })
		vanish = append(vanish, time.Since(began))
		began = time.Now()
		if _, _, err := c.Client.Catalog().Services(nil); err != nil {
			t.Fatal(err)
		}
		bare = append(bare, time.Since(began))
	}
	limit = max(limit, 4*quantile(bare, 99))
	t.Logf("appears p50 %v p99 %v, goes p50 %v p99 %v; a bare list p50 %v p99 %v", quantile(appear, 50), quantile(appear, 99),
		quantile(vanish, 50), quantile(vanish, 99), quantile(bare, 50), quantile(bare, 99))
	if quantile(appear, 99) > limit || quantile(vanish, 99) > limit {
		t.Errorf("want at most %v at p99", limit)
	}
}
