package answer

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/trace"
)

// Rows are a metric of which there is a row for each set of values of its labels, as for
// each of thousands of services. A row is numbers alone and becomes series when somebody
// asks for them: a counter of client_golang holds some 400 bytes, a histogram 2 KiB.
type Rows[R any] struct {
	desc   *prometheus.Desc
	labels int
	tell   func(*R, telling)

	mu  sync.Mutex // guards all
	all map[labelled]*row[R]
}

// labelled are the values of a row's labels, "" where there are fewer.
type labelled [2]string

type row[R any] struct {
	since time.Time
	of    R
}

// NewClasses returns counters by status class, which is the last label.
func NewClasses(name, help string, labels ...string) *Rows[Classes] {
	return newRows(name, help, labels, []string{"code"}, func(c *Classes, t telling) {
		for i, class := range classNames {
			t.counter(float64(c[i].Load()), class)
		}
	})
}

// NewNumbers returns counters.
func NewNumbers(name, help string, labels ...string) *Rows[atomic.Uint64] {
	return newRows(name, help, labels, nil, func(n *atomic.Uint64, t telling) { t.counter(float64(n.Load())) })
}

// NewDurations returns histograms of durations, in [Buckets].
func NewDurations(name, help string, labels ...string) *Rows[Durations] {
	return newRows(name, help, labels, nil, func(d *Durations, t telling) { d.tell(t) })
}

func newRows[R any](name, help string, labels, own []string, tell func(*R, telling)) *Rows[R] {
	return &Rows[R]{desc: prometheus.NewDesc(name, help, slices.Concat(labels, own), nil), labels: len(labels), tell: tell, all: make(map[labelled]*row[R])}
}

// Of returns the row of such values, making it if it is not there.
func (r *Rows[R]) Of(labels ...string) *R {
	var of labelled
	for i, value := range labels {
		of[i] = asTold(value)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[of] == nil {
		r.all[of] = &row[R]{since: time.Now()}
	}
	return &r.all[of].of
}

// Forget drops the rows whose last label has the value.
func (r *Rows[R]) Forget(value string) {
	value = asTold(value)
	r.mu.Lock()
	defer r.mu.Unlock()
	for of := range r.all {
		if of[r.labels-1] == value {
			delete(r.all, of)
		}
	}
}

// asTold is a label's value as it is told: in UTF-8, for no other can be. No registry and
// no policy has names that are not; values that differ in such bytes alone share a row.
func asTold(value string) string { return strings.ToValidUTF8(value, "?") }

// Describe implements [prometheus.Collector].
func (r *Rows[R]) Describe(to chan<- *prometheus.Desc) { to <- r.desc }

// Collect implements [prometheus.Collector]. Nobody who counts waits for the reader.
func (r *Rows[R]) Collect(to chan<- prometheus.Metric) {
	for of, one := range r.snapshot() {
		r.tell(&one.of, telling{to, r.desc, one.since, of[:r.labels]})
	}
}

func (r *Rows[R]) snapshot() map[labelled]*row[R] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.all)
}

// telling is how a row tells its series.
type telling struct {
	to     chan<- prometheus.Metric
	desc   *prometheus.Desc
	since  time.Time
	labels []string
}

// send hands a series on. What cannot be told is an error of the scrape.
func (t telling) send(series prometheus.Metric, err error) {
	if err != nil {
		series = prometheus.NewInvalidMetric(t.desc, err)
	}
	t.to <- series
}

func (t telling) counter(value float64, own ...string) {
	t.send(prometheus.NewConstMetricWithCreatedTimestamp(t.desc, prometheus.CounterValue, value, t.since, slices.Concat(t.labels, own)...))
}

// Durations count what took how long. The zero value is ready to use, by any goroutine.
type Durations struct {
	counts    [len(Buckets) + 1]atomic.Uint64
	sum       atomic.Uint64 // the bits of a float64, in seconds
	exemplars atomic.Pointer[[len(Buckets) + 1]atomic.Pointer[exemplar]]
}

// exemplar is a request that took so long.
type exemplar struct {
	took float64
	id   trace.ID
	at   time.Time
}

// Observe counts a duration.
func (d *Durations) Observe(took time.Duration) { d.observe(took.Seconds()) }

// ObserveTraced counts a duration, of which its trace is an example from now on.
func (d *Durations) ObserveTraced(took time.Duration, id trace.ID) {
	if d.exemplars.Load() == nil {
		d.exemplars.CompareAndSwap(nil, new([len(Buckets) + 1]atomic.Pointer[exemplar]))
	}
	d.exemplars.Load()[d.observe(took.Seconds())].Store(&exemplar{took.Seconds(), id, time.Now()})
}

func (d *Durations) observe(seconds float64) (bucket int) {
	for bucket < len(Buckets) && seconds > Buckets[bucket] {
		bucket++
	}
	for {
		was := d.sum.Load()
		if d.sum.CompareAndSwap(was, math.Float64bits(math.Float64frombits(was)+seconds)) {
			break
		}
	}
	d.counts[bucket].Add(1)
	return bucket
}

func (d *Durations) tell(t telling) {
	count, below := uint64(0), make(map[float64]uint64, len(Buckets))
	for i := range d.counts {
		count += d.counts[i].Load()
		if i < len(Buckets) {
			below[Buckets[i]] = count
		}
	}
	series, err := prometheus.NewConstHistogramWithCreatedTimestamp(t.desc, count, math.Float64frombits(d.sum.Load()), below, t.since, t.labels...)
	if all := d.examples(); err == nil && len(all) > 0 {
		series, err = prometheus.NewMetricWithExemplars(series, all...)
	}
	t.send(series, err)
}

func (d *Durations) examples() (all []prometheus.Exemplar) {
	kept := d.exemplars.Load()
	if kept == nil {
		return nil
	}
	for i := range kept {
		if e := kept[i].Load(); e != nil {
			all = append(all, prometheus.Exemplar{Value: e.took, Labels: prometheus.Labels{"trace_id": e.id.String()}, Timestamp: e.at})
		}
	}
	return all
}
