//go:build integration

package integration_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/resolver"
)

var services = flag.Int("services", 300, "among how many services TestAChangeAmongManyServices changes one; the aims are for 10,000")

// TestAChangeAmongManyServices measures when a change of a service is seen, of which half are
// asked for: over HTTP/1.1 far more than have a watch of their own, over HTTP/2 each has one.
func TestAChangeAmongManyServices(t *testing.T) {
	together(t)
	for _, over := range []string{"https", "http"} {
		t.Run("over="+over, func(t *testing.T) {
			agent := startConsul(t, withTLS(t))
			fillServices(t, agent, *services)
			debug.FreeOSMemory()
			changeAmongMany(t, agent, over == "https")
		})
	}
}

func changeAmongMany(t *testing.T, agent *consulAgent, secured bool) {
	before, reached := held(), agent
	if secured {
		reached = agent.Secured()
	}
	r := startResolver(t, reached, nil)
	wanted := *services / 2
	ours, theirs, began := ownCPU(), cpuOf(t, agent.cmd.Process.Pid), time.Now()
	eventually(t, soon, "all services are known", func() error {
		if n := r.Catalog().Len(); n < *services {
			return fmt.Errorf("got %d", n)
		}
		return nil
	})
	for i := range wanted {
		r.Want(many(i))
	}
	for i := range wanted {
		loaded(t, r, many(i))
	}
	t.Logf("%d of %d services are loaded after %v, for %v of CPU here and %v in consul; they hold %d MiB", wanted, *services, time.Since(began).Round(time.Millisecond),
		ownCPU()-ours, cpuOf(t, agent.cmd.Process.Pid)-theirs, (held()-before)>>20)
	while := time.Duration(1+*services/1000) * time.Second
	time.Sleep(while / 2)
	ours, theirs, began = ownCPU(), cpuOf(t, agent.cmd.Process.Pid), time.Now()
	time.Sleep(while)
	t.Logf("idle: %.2f %% of a core here, %.2f %% in consul; %d connections, %d watches; %d MiB are held", percent(ownCPU()-ours, began),
		percent(cpuOf(t, agent.cmd.Process.Pid)-theirs, began), connsTo(t, reached), r.Status().Watches, (held()-before)>>20)
	for _, c := range catalogChanges {
		var seen []time.Duration
		ours, theirs := ownCPU(), cpuOf(t, agent.cmd.Process.Pid)
		times := 2 + *services/1000
		for i := range times {
			name := many(rand.IntN(wanted))
			was := r.Catalog().Lookup(name)
			c.do(t, agent, name, i)
			began := time.Now()
			until := began.Add(soon)
			for !c.seen(was, r.Catalog().Lookup(name)) {
				if time.Now().After(until) {
					t.Fatalf("%s: not seen of %s", c.name, name)
				}
				time.Sleep(time.Millisecond)
			}
			seen = append(seen, time.Since(began))
			time.Sleep(700 * time.Millisecond)
			c.undo(t, agent, name, i)
			time.Sleep(1500 * time.Millisecond)
		}
		t.Logf("%s: seen after p50 %v p90 %v p99 %v, with its undoing for %v of CPU here and %v in consul", c.name, quantile(seen, 50).Round(time.Millisecond),
			quantile(seen, 90).Round(time.Millisecond), quantile(seen, 99).Round(time.Millisecond), (ownCPU()-ours)/time.Duration(times), (cpuOf(t, agent.cmd.Process.Pid)-theirs)/time.Duration(times))
	}
}

// connsTo is how many connections there are to an agent from this process, and those of its tests.
func connsTo(t *testing.T, agent *consulAgent) int {
	t.Helper()
	n, err := established(strings.TrimPrefix(agent.Addr, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func many(i int) string { return fmt.Sprintf("svc-%05d", i) }

func percent(used time.Duration, since time.Time) float64 {
	return 100 * float64(used) / float64(time.Since(since))
}

// held is the memory that this process holds, in bytes.
func held() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// catalogChange is a change of a service of three instances.
type catalogChange struct {
	name     string
	do, undo func(t *testing.T, agent *consulAgent, service string, turn int)
	seen     func(was, is *resolver.Service) bool
}

var catalogChanges = []catalogChange{
	{"an instance appears", addInstance, dropInstance, func(was, is *resolver.Service) bool { return len(is.Instances) == len(was.Instances)+1 }},
	{"an instance goes", func(t *testing.T, agent *consulAgent, service string, _ int) {
		dropAt(t, agent, service, 0)
	}, func(t *testing.T, agent *consulAgent, service string, _ int) {
		putInstances(t, agent, service, 0, 1, "passing", 9000)
	},
		func(was, is *resolver.Service) bool { return len(is.Instances) == len(was.Instances)-1 }},
	{"a check fails", func(t *testing.T, agent *consulAgent, service string, _ int) {
		putInstances(t, agent, service, 1, 2, "critical", 9000)
	}, func(t *testing.T, agent *consulAgent, service string, _ int) {
		putInstances(t, agent, service, 1, 2, "passing", 9000)
	},
		func(was, is *resolver.Service) bool { return usable(is) == usable(was)-1 }},
}

func usable(s *resolver.Service) (n int) {
	for _, i := range s.Instances {
		if i.Usable() {
			n++
		}
	}
	return n
}

func addInstance(t *testing.T, agent *consulAgent, service string, turn int) {
	putInstances(t, agent, service, 3, 4, "passing", 9000+turn)
}

func dropInstance(t *testing.T, agent *consulAgent, service string, _ int) {
	dropAt(t, agent, service, 3)
}

func dropAt(t *testing.T, agent *consulAgent, service string, k int) {
	t.Helper()
	_, err := agent.Client.Catalog().Deregister(&api.CatalogDeregistration{Node: nodeOf(service, k), ServiceID: fmt.Sprint(service, "-", k)}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func nodeOf(service string, k int) string {
	return fmt.Sprintf("n%d", (int(service[len(service)-1]-'0')+k)%10)
}

// instanceOps are what a transaction does for instances from k to below n of a service.
func instanceOps(service string, k, n int, status string, port int) (ops api.TxnOps) {
	for ; k < n; k++ {
		id, node := fmt.Sprint(service, "-", k), nodeOf(service, k)
		ops = append(ops,
			&api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: node,
				Service: api.AgentService{ID: id, Service: service, Address: fmt.Sprintf("127.0.1.%d", k), Port: port, Tags: []string{"v1", "http"}}}},
			&api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckSet,
				Check: api.HealthCheck{Node: node, CheckID: "c-" + id, Name: "c", Status: status, ServiceID: id, ServiceName: service}}})
	}
	return ops
}

func putInstances(t *testing.T, agent *consulAgent, service string, k, n int, status string, port int) {
	t.Helper()
	commit(t, agent, instanceOps(service, k, n, status, port))
}

func commit(t *testing.T, agent *consulAgent, ops api.TxnOps) {
	t.Helper()
	if ok, said, _, err := agent.Client.Txn().Txn(ops, nil); err != nil || !ok {
		t.Fatalf("txn: %v %v", said, err)
	}
}

func putNode(t *testing.T, agent *consulAgent, node int) {
	t.Helper()
	if _, err := agent.Client.Catalog().Register(&api.CatalogRegistration{Node: fmt.Sprintf("n%d", node), Address: "127.0.0.1"}, nil); err != nil {
		t.Fatal(err)
	}
}

// fillServices registers services of three instances on ten nodes, past the agent.
func fillServices(t *testing.T, agent *consulAgent, n int) {
	t.Helper()
	fillServicesAt(t, agent, n, 9000)
}

// fillServicesAt is fillServices with the port of all instances.
func fillServicesAt(t *testing.T, agent *consulAgent, n, port int) {
	t.Helper()
	for node := range 10 {
		putNode(t, agent, node)
	}
	var ops api.TxnOps
	for i := range n {
		ops = append(ops, instanceOps(many(i), 0, 3, "passing", port)...)
	}
	for part := range slices.Chunk(ops, 126) {
		commit(t, agent, part)
	}
}
