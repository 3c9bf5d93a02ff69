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

	"lictor/resolver"
	"lictor/resolver/consul"
)

// startResolver runs a consul resolver until the test ends. edit may change its configuration.
func startResolver(t *testing.T, c *consulAgent, edit func(*consul.Config)) *consul.Resolver {
	t.Helper()
	client, err := consul.NewClient(&api.Config{Address: c.Addr, Token: c.Token})
	if err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	cfg := consul.Config{
		Client:      client,
		Log:         hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug}),
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

// spin waits for ok by yielding, so that a wait is measured to the microsecond;
// its own processor time is what the caller must leave out.
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

// TestScale is the scale of the issue: 1,000 services of 2 instances.
func TestScale(t *testing.T) {
	for _, wanted := range []int{10, 100, 1000} {
		t.Run(fmt.Sprintf("wanted=%d", wanted), func(t *testing.T) { scale(t, wanted) })
	}
}

func scale(t *testing.T, wanted int) {
	c := startConsul(t)
	fill(t, c, 1000)
	r := startResolver(t, c, nil)
	eventually(t, 10*time.Second, "all services are known", func() error {
		if n := r.Catalog().Len(); n != 1000 {
			return fmt.Errorf("got %d", n)
		}
		return nil
	})
	began, used := time.Now(), cpu(t)
	for i := range wanted {
		r.Want(fmt.Sprintf("svc-%04d", i))
	}
	eventually(t, 30*time.Second, "all wanted services are loaded", func() error {
		n := 0
		for s := range r.Catalog().All() {
			if s.Loaded {
				n++
			}
		}
		if n != wanted {
			return fmt.Errorf("got %d", n)
		}
		return nil
	})
	t.Logf("loading %d: %v wall, %v CPU; %d connections at the agent", wanted, time.Since(began), cpu(t)-used, c.HTTPConns(t))
	time.Sleep(time.Second)

	used = cpu(t)
	time.Sleep(5 * time.Second)
	t.Logf("idle: %v CPU in 5 s", cpu(t)-used)

	var appear, vanish []time.Duration
	used = cpu(t)
	for i := range 100 {
		name := fmt.Sprintf("new-%d", i)
		began := time.Now()
		setInstance(t, c, name, name, 80)
		spin(t, "it is served", func() bool {
			r.Want(name)
			s := r.Catalog().Lookup(name)
			return s != nil && s.Usable()
		})
		appear = append(appear, time.Since(began))
		began = time.Now()
		setInstance(t, c, name, name, 0)
		spin(t, "it is refused", func() bool { return r.Catalog().Lookup(name) == nil })
		vanish = append(vanish, time.Since(began))
	}
	each := (cpu(t) - used) / 200
	t.Logf("appear p50 %v p99 %v, vanish p50 %v p99 %v, %v CPU per change, test included",
		quantile(appear, 50), quantile(appear, 99), quantile(vanish, 50), quantile(vanish, 99), each)
	time.Sleep(3 * time.Second)

	for i := range 200 {
		setInstance(t, c, fmt.Sprintf("other-%d", i), fmt.Sprintf("other-%d", i), 80)
	}
	time.Sleep(6 * time.Second)
	// The same again as changes of services that exist.
	test := cpu(t)
	for i := range 200 {
		setInstance(t, c, fmt.Sprintf("other-%d", i), fmt.Sprintf("other-%d", i), 81)
	}
	time.Sleep(5 * time.Second)
	t.Logf("200 changes nobody asks for: %v CPU, the test's 200 writes included", cpu(t)-test)
	runtime.GC()
}
