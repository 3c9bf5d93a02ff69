package answer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/trace"
)

// Bounds of what waits for its spans to be made and sent.
const (
	maxTraced      = 2048    // requests
	maxTracedBytes = 8 << 20 // of all of them
	tracedRate     = 100     // requests in a second that are kept though they were not sampled
)

// TracedBatch is how many requests are sent at once.
const TracedBatch = 256

// TraceSettings say which requests are kept. They are immutable.
type TraceSettings struct {
	Share trace.Share   // of the traces that begin here
	Slow  time.Duration // to the head of an answer, from which on a request is kept; 0 = none is for that
}

// Reasons for which a request that was to be kept is not sent.
const (
	droppedRate     = iota // more than tracedRate
	droppedFull            // as much waits as may
	droppedUnsent          // the collector did not take it
	droppedShutdown        // it was not sent before the end
)

var droppedNames = [...]string{droppedRate: "rate", droppedFull: "queue_full", droppedUnsent: "not_taken", droppedShutdown: "shutdown"}

// Traces are the requests that are over whose spans are to be sent. No request waits
// for that: past a bound they are dropped and counted. Any goroutine may call its
// methods. nil keeps none.
type Traces struct {
	set     atomic.Pointer[TraceSettings]
	unasked perSecond // that are kept though they were not sampled

	kept    [len(whys)]atomic.Uint64
	dropped [len(droppedNames)]atomic.Uint64
	sent    atomic.Uint64

	mu    sync.Mutex // guards what follows
	queue []queued
	bytes int
	full  chan struct{} // a batch is there
}

type queued struct {
	request *Traced
	size    int
}

// NewTraces returns one that is empty.
func NewTraces(s TraceSettings) *Traces {
	t := &Traces{full: make(chan struct{}, 1)}
	t.Update(s)
	return t
}

// Update replaces the settings.
func (t *Traces) Update(s TraceSettings) { t.set.Store(&s) }

// Wants says why a request that is over is to be kept, if it is. answered is from its
// head to that of the answer, 0 if there was none.
func (t *Traces) Wants(sampled bool, status int, reason Reason, tries int, answered time.Duration, now time.Time) Why {
	if t == nil {
		return NotKept
	}
	why := NotKept
	switch slow := t.set.Load().Slow; {
	case sampled:
		return Sampled
	case reason != ReasonNone && reason != ClientLeft:
		why = Refused
	case status >= 500:
		why = Failed
	case tries > 1:
		why = Retried
	case slow > 0 && answered >= slow:
		why = Slow
	default:
		return NotKept
	}
	if !t.unasked.take(tracedRate, now) {
		t.dropped[droppedRate].Add(1)
		return NotKept
	}
	return why
}

// Keep keeps a request, in memory of its own.
func (t *Traces) Keep(r *Traced) {
	t.kept[r.Why].Add(1)
	own, size := r.kept()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == maxTraced || t.bytes+size > maxTracedBytes {
		t.dropped[droppedFull].Add(1)
		return
	}
	t.queue = append(t.queue, queued{own, size})
	if t.bytes += size; len(t.queue) >= TracedBatch {
		select {
		case t.full <- struct{}{}:
		default:
		}
	}
}

// Full tells when a batch may be there.
func (t *Traces) Full() <-chan struct{} { return t.full }

// Take takes out what waits longest, a batch at most. It is the caller's, who says
// by [Traces.Taken] what became of it.
func (t *Traces) Take() []*Traced {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.queue), TracedBatch)
	batch := make([]*Traced, n)
	for i, q := range t.queue[:n] {
		batch[i] = q.request
		t.bytes -= q.size
	}
	t.queue = append(t.queue[:0:0], t.queue[n:]...) // what was taken is not held on to
	return batch
}

// Taken counts n requests that were sent, or lost if the collector did not take them.
func (t *Traces) Taken(n int, ok bool) {
	if ok {
		t.sent.Add(uint64(n))
		return
	}
	t.dropped[droppedUnsent].Add(uint64(n))
}

// Forget drops what is left at the end, and returns how many requests it was.
func (t *Traces) Forget() (n int) {
	for batch := t.Take(); len(batch) > 0; batch = t.Take() {
		n += len(batch)
	}
	t.dropped[droppedShutdown].Add(uint64(n))
	return n
}

// Lost is how many requests the collector did not take.
func (t *Traces) Lost() uint64 { return t.dropped[droppedUnsent].Load() }

// waiting returns how much is not taken yet.
func (t *Traces) waiting() (requests, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue), t.bytes
}

var (
	descTracesKept    = prometheus.NewDesc("lictor_traces_kept_total", "Requests whose spans were to be sent, by why they were kept.", []string{"why"}, nil)
	descTracesSent    = prometheus.NewDesc("lictor_traces_sent_total", "Requests whose spans the collector has taken.", nil, nil)
	descTracesDropped = prometheus.NewDesc("lictor_traces_dropped_total", "Requests that were to be kept, but whose spans were not sent, by why.", []string{"reason"}, nil)
	descTracesWaiting = prometheus.NewDesc("lictor_traces_waiting", "Requests whose spans wait to be sent.", nil, nil)
	descTracesBytes   = prometheus.NewDesc("lictor_traces_waiting_bytes", "Memory of the requests whose spans wait to be sent.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (t *Traces) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descTracesKept, descTracesSent, descTracesDropped, descTracesWaiting, descTracesBytes} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (t *Traces) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for w := Sampled; int(w) < len(whys); w++ {
		counter(descTracesKept, t.kept[w].Load(), w.String())
	}
	for i, name := range droppedNames {
		counter(descTracesDropped, t.dropped[i].Load(), name)
	}
	counter(descTracesSent, t.sent.Load())
	requests, bytes := t.waiting()
	ch <- prometheus.MustNewConstMetric(descTracesWaiting, prometheus.GaugeValue, float64(requests))
	ch <- prometheus.MustNewConstMetric(descTracesBytes, prometheus.GaugeValue, float64(bytes))
}

// perSecond bounds how much is done in a second. The zero value is ready to use. It
// costs two loads where there is no more to be had.
type perSecond struct{ second, left atomic.Int64 }

// take reports whether there is one more of the rate at a time.
func (p *perSecond) take(rate int64, now time.Time) bool {
	if s := now.Unix(); p.second.Swap(s) != s {
		p.left.Store(rate)
	}
	return p.left.Load() > 0 && p.left.Add(-1) >= 0
}
