package answer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/lines"
	"lictor/internal/ring"
)

const (
	decisionBytes = 8 << 20  // that may wait to be written
	maxDecision   = 16 << 10 // bytes of one; what is longer is dropped
)

// DecisionSettings say what of the decisions is kept. They are immutable once given to
// the log.
type DecisionSettings struct {
	Sample  float64 // share of the requests that pass, from 0 to 1
	Refused float64 // share of those that are refused
	Mask    Mask
}

// DecisionLog keeps a line for each decision in a ring of files, for a replay (R1). No
// request waits for it: what cannot be kept is dropped and counted. A nil DecisionLog
// keeps nothing.
type DecisionLog struct {
	settings atomic.Pointer[DecisionSettings]
	ring     *ring.Ring
	lines    *lines.Writer

	written, unmasked, long atomic.Uint64
}

// NewDecisionLog opens the ring of files at path, of size bytes in all. told, if not
// nil, hears when writing begins to fail and when it works again.
func NewDecisionLog(path string, size int64, s DecisionSettings, told func(error)) (*DecisionLog, error) {
	r, err := ring.Open(path, size, told)
	if err != nil {
		return nil, err
	}
	l := &DecisionLog{ring: r, lines: lines.New(r, decisionBytes, flushEvery)}
	l.settings.Store(&s)
	return l, nil
}

// Update replaces the settings, and the line that tells of them and of what else the
// decisions rest on. It may wait for the disk.
func (l *DecisionLog) Update(size int64, s DecisionSettings, head []byte) {
	l.settings.Store(&s)
	_ = l.lines.Flush(accessReopen) // what was decided before stands before the line, if the disk is not too slow for that
	l.ring.SetSize(size)
	l.ring.SetHead(head)
}

// Reopen opens the newest file anew, after it was moved away.
func (l *DecisionLog) Reopen() error { return l.ring.Reopen() }

// Run waits for the end of ctx, has written then what is left, and closes the files.
func (l *DecisionLog) Run(ctx context.Context) error {
	<-ctx.Done()
	err := l.lines.Flush(accessFlush)
	if errors.Is(err, lines.ErrSlow) {
		return nil // closing would wait for the same disk
	}
	return errors.Join(err, l.ring.Close())
}

// Flush has written what waits, before what was written is read.
func (l *DecisionLog) Flush() error { return l.lines.Flush(accessReopen) }

// Wants reports whether a decision is to be kept, by the share that its kind is kept
// with.
func (l *DecisionLog) Wants(refused bool) (share float64, ok bool) {
	if l == nil {
		return 0, false
	}
	s := l.settings.Load()
	if share = s.Sample; refused {
		share = s.Refused
	}
	return share, share >= 1 || share > 0 && rand.Float64() < share
}

// Write keeps a decision that was wanted with a share. It does not block on the disk,
// and allocates nothing.
func (l *DecisionLog) Write(d *Decided, share float64) {
	var rec masked
	switch mask := l.settings.Load().Mask; {
	case !mask.mask(d, &rec):
		l.unmasked.Add(1)
	case d.tooLong(&rec):
		l.long.Add(1)
	default:
		l.written.Add(1)
		l.lines.Append(func(dst []byte) []byte { return d.append(dst, &rec, share) })
	}
}

// Err is why nothing can be written; nil = it can.
func (l *DecisionLog) Err() error { return l.ring.Status().Err }

// Lost is how many decisions were dropped since they could not be kept: not taken in
// time, not written, not masked, or too long.
func (l *DecisionLog) Lost() (full, disk, unmasked, long uint64) {
	return l.lines.Dropped(), l.ring.Status().Lost, l.unmasked.Load(), l.long.Load()
}

var (
	descDecisions = prometheus.NewDesc("lictor_decision_log_records_total", "Decisions that the decision log took.", nil, nil)
	descLost      = prometheus.NewDesc("lictor_decision_log_dropped_total", "Decisions that the decision log could not keep, by why.", []string{"why"}, nil)
	descRing      = prometheus.NewDesc("lictor_decision_log_bytes", "Size of all files of the decision log.", nil, nil)
	descFails     = prometheus.NewDesc("lictor_decision_log_up", "0 while the decision log cannot be written.", nil, nil)
)

// Describe implements prometheus.Collector.
func (l *DecisionLog) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDecisions, descLost, descRing, descFails} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *DecisionLog) Collect(ch chan<- prometheus.Metric) {
	full, disk, unmasked, long := l.Lost()
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(descDecisions, l.written.Load())
	counter(descLost, full, "full")
	counter(descLost, disk, "disk")
	counter(descLost, unmasked, "mask")
	counter(descLost, long, "long")
	s, up := l.ring.Status(), 1.0
	if s.Err != nil {
		up = 0
	}
	ch <- prometheus.MustNewConstMetric(descRing, prometheus.GaugeValue, float64(s.Bytes))
	ch <- prometheus.MustNewConstMetric(descFails, prometheus.GaugeValue, up)
}
