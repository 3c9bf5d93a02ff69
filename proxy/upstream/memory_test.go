package upstream

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"lictor/internal/monotonic"
	"lictor/resolver"
)

// There are thousands of services, of most of which little is asked.
func TestAServiceThatWasAskedHoldsLittle(t *testing.T) {
	const services, most = 500, 5 << 10
	m, _ := testMetrics(t)
	s := &Sender{metrics: m, mesh: noMesh{}}
	s.groups.Store(&map[string]*group{})
	all := make([]*resolver.Service, services)
	for i := range all {
		all[i] = &resolver.Service{Name: fmt.Sprint("svc-", i), Loaded: true}
		for k := range 3 {
			all[i].Instances = append(all[i].Instances, &resolver.Instance{ID: fmt.Sprint(k), Address: fmt.Sprintf("10.0.0.%d:80", k), Weight: 1, State: resolver.Passing})
		}
	}
	before := heapInUse()
	for _, svc := range all {
		g := s.group(svc.Name)
		r := g.adopt(svc, new(Settings))
		r.members[0].latencies.note(time.Millisecond, monotonic.Now())
		g.metrics.classes[0].Count(200, "")
		g.metrics.upstream.Observe(time.Millisecond)
	}
	each := (int(heapInUse()) - int(before)) / services
	runtime.KeepAlive(s)
	t.Logf("each holds %d bytes", each)
	if each > most {
		t.Errorf("a service of 3 instances holds %d bytes, want %d at most", each, most)
	}
}

// heapInUse is what is live once nothing is left to collect.
func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
