package answer

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"lictor/internal/trace"
)

// toldBy returns what a metric tells, without the times at which it does.
func toldBy(t *testing.T, c prometheus.Collector) *dto.MetricFamily {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	for _, m := range families[0].Metric {
		if m.Counter != nil {
			m.Counter.CreatedTimestamp = nil
			continue
		}
		m.Histogram.CreatedTimestamp = nil
		for _, b := range m.Histogram.Bucket {
			if b.Exemplar != nil {
				b.Exemplar.Timestamp = nil
			}
		}
	}
	return families[0]
}

// The series of rows are those that a vector of client_golang has.
func TestDurationsAreToldAsAHistogramTellsThem(t *testing.T) {
	ours := NewDurations("took_seconds", "For a test.", "service")
	theirs := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "took_seconds", Help: "For a test.", Buckets: Buckets[:]}, []string{"service"})
	var all []time.Duration
	for _, bound := range Buckets {
		exact := time.Duration(bound * float64(time.Second))
		all = append(all, exact-1, exact, exact+1)
	}
	for range 500 {
		all = append(all, time.Duration(rand.ExpFloat64()*float64(10*time.Second)))
	}
	for i, took := range append(all, 0, -1, time.Hour) {
		service := []string{"shop", "pay", "idle"}[i%2]
		if i%7 > 0 {
			ours.Of(service).Observe(took)
			theirs.WithLabelValues(service).Observe(took.Seconds())
			continue
		}
		id := trace.ID{1, byte(i)}
		ours.Of(service).ObserveTraced(took, id)
		theirs.WithLabelValues(service).(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": id.String()})
	}
	ours.Of("idle")
	theirs.WithLabelValues("idle")
	if got, want := toldBy(t, ours), toldBy(t, theirs); !proto.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

func TestClassesAreToldAsCountersTellThem(t *testing.T) {
	ours := NewClasses("requests_total", "For a test.", "listener", "service")
	theirs := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total", Help: "For a test."}, []string{"listener", "service", "code"})
	for _, service := range []string{"shop", "pay", "gone", ""} {
		for _, class := range classNames {
			theirs.WithLabelValues("gateway", service, class)
		}
		ours.Of("gateway", service).Count(404, ReasonNone)
		theirs.WithLabelValues("gateway", service, "4xx").Inc()
	}
	ours.Forget("gone")
	theirs.DeletePartialMatch(prometheus.Labels{"service": "gone"})
	if got, want := toldBy(t, ours), toldBy(t, theirs); !proto.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

// What is forgotten is found as it was told, whatever its bytes are.
func TestRowsAreForgottenByTheValueThatTheyWereMadeBy(t *testing.T) {
	for _, value := range []string{"shop", "", "sh\xffop", "\xff\xfe"} {
		rows := NewNumbers("requests_total", "For a test.", "service")
		rows.Of(value)
		if rows.Forget(value); len(rows.all) != 0 {
			t.Errorf("%q is still there", value)
		}
	}
}

// Many count at once, and somebody reads.
func TestRowsCountWhatManyNote(t *testing.T) {
	rows := NewDurations("took_seconds", "For a test.", "service")
	rows.Of("shop") // there is a row, whoever runs first
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				rows.Of("shop").ObserveTraced(time.Second/4, trace.ID{1})
			}
		})
	}
	toldBy(t, rows)
	all.Wait()
	h := toldBy(t, rows).Metric[0].Histogram
	if h.GetSampleCount() != 2000 || h.GetSampleSum() != 500 {
		t.Errorf("%d took %v s, want 2000 and 500", h.GetSampleCount(), h.GetSampleSum())
	}
}
