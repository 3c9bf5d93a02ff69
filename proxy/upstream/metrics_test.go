package upstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/monotonic"
	"lictor/internal/trace"
	"lictor/proxy/answer"
)

// services returns the services that have a series in requests_total.
func services(t *testing.T, reg *prometheus.Registry) map[string]bool {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == "service" && l.GetValue() != "" {
					names[l.GetValue()] = true
				}
			}
		}
	}
	return names
}

func testMetrics(t *testing.T) (*metrics, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	counts, err := answer.NewCounts(reg, "gateway", answer.Detail{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Sender{}
	s.groups.Store(&map[string]*group{})
	return newMetrics(s, []*answer.Counts{counts}, reg), reg
}

func TestCountersOfAServiceThatIsGoneStayForADay(t *testing.T) {
	m, reg := testMetrics(t)
	const gone = int64(5 * time.Minute)
	m.serviceLocked("shop")
	m.serviceLocked("pay")
	m.retireLocked("shop", gone)
	m.retireLocked("pay", gone)
	if m.expireLocked(gone + keepRetired); len(services(t, reg)) != 2 {
		t.Errorf("after a day there are %v, want both", services(t, reg))
	}
	m.serviceLocked("pay") // it is back
	m.expireLocked(gone + keepRetired + 1)
	if got := services(t, reg); len(got) != 1 || !got["pay"] || len(m.retired) != 0 {
		t.Errorf("later there are %v, want the one that is back", got)
	}
}

func TestOfManyServicesThatAreGoneTheOldestIsForgotten(t *testing.T) {
	m, reg := testMetrics(t)
	for i := range maxRetired + 1 {
		name := fmt.Sprint("svc", i)
		m.serviceLocked(name)
		m.retireLocked(name, int64(i))
	}
	if got := services(t, reg); len(got) != maxRetired || got["svc0"] || !got["svc1"] {
		t.Errorf("%d are kept, want %d without the oldest", len(got), maxRetired)
	}
}

// A trace becomes an exemplar where none did within a second, and only then.
func TestExemplarsArePaced(t *testing.T) {
	m, reg := testMetrics(t)
	of := m.serviceLocked("shop")
	exemplars := func() (n int) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, one := range f.Metric {
				for _, b := range one.GetHistogram().GetBucket() {
					if b.GetExemplar() != nil {
						n++
					}
				}
			}
		}
		return n
	}
	traced := &trace.ID{0x0a, 0xf7, 0x65}
	of.exemplar.Store(monotonic.Now() + int64(time.Hour))
	if of.observe(time.Millisecond, traced); exemplars() != 0 {
		t.Error("a second exemplar within a second")
	}
	of.exemplar.Store(monotonic.Now() - 2*exemplarEvery)
	if of.observe(time.Second, new(trace.ID)); exemplars() != 0 {
		t.Error("an exemplar without a trace")
	}
	if of.observe(2*time.Second, traced); exemplars() != 1 || monotonic.Now()-of.exemplar.Load() > int64(time.Minute) {
		t.Errorf("got %d exemplars, want one, and its time", exemplars())
	}
}
