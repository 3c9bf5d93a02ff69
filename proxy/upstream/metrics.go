package upstream

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/proxy/answer"
)

// metrics are those of requests by service (contract 6). The series of a service
// are looked up once and kept with its group, so that counting is an atomic add.
type metrics struct {
	counts   []*answer.Counts // by listener
	duration *answer.Rows[answer.Durations]
	upstream *answer.Rows[answer.Durations]
	retries  *answer.Rows[atomic.Uint64]
	canary   *answer.Rows[answer.Classes]   // those of requests that went to canaries
	canaries *answer.Rows[answer.Durations] // how long these took
	nobody   *serviceMetrics                // requests that belong to no service

	// retired are services without a group whose series are kept, with the monotonic
	// time at which each lost it. Sender.mu guards it.
	retired map[string]int64
}

// A service that loses its last instance is gone from the registry, and is back a
// moment later when it was only deployed anew. Its counters go on then: from one
// that begins again at 0 Prometheus makes a wrong rate, and what was counted since
// the last scrape would be lost.
const (
	keepRetired = int64(24 * time.Hour)
	maxRetired  = 1000 // of more the oldest go
)

// serviceMetrics are the series of one service.
type serviceMetrics struct {
	name     string
	classes  []*answer.Classes // by listener
	duration *answer.Durations
	upstream *answer.Durations
	retries  *atomic.Uint64
	canary   atomic.Pointer[canaryMetrics] // nil until a canary is asked
	exemplar atomic.Int64                  // monotonic time of the last one
}

// canaryMetrics are the series of the canaries of one service. What they count
// stands in those of the service as well.
type canaryMetrics struct {
	classes  *answer.Classes
	upstream *answer.Durations
}

func newMetrics(s *Sender, counts []*answer.Counts, r prometheus.Registerer) *metrics {
	m := &metrics{
		counts:   counts,
		duration: answer.NewDurations("lictor_request_duration_seconds", "From the request's head to the end of the answer.", "service"),
		upstream: answer.NewDurations("lictor_upstream_duration_seconds", "From the first attempt to the head of the answer.", "service"),
		retries:  answer.NewNumbers("lictor_retries_total", "Attempts on a further instance.", "service"),
		canary:   answer.NewClasses("lictor_canary_requests_total", "Requests that went to a canary, by status class.", "service"),
		canaries: answer.NewDurations("lictor_canary_upstream_duration_seconds", "From the first attempt to the head of the answer of a canary.", "service"),
	}
	m.retired = make(map[string]int64)
	m.nobody = m.serviceLocked("") // nobody else knows m yet
	if r != nil {
		r.MustRegister(m.duration, m.upstream, m.retries, m.canary, m.canaries, &connCollector{s})
	}
	return m
}

// serviceLocked returns the series of a service, those that it had before if they
// are still kept. Sender.mu must be held.
func (m *metrics) serviceLocked(name string) *serviceMetrics {
	delete(m.retired, name)
	classes := make([]*answer.Classes, len(m.counts))
	for i, counts := range m.counts {
		classes[i] = counts.Service(name)
	}
	return &serviceMetrics{
		name:     name,
		classes:  classes,
		duration: m.duration.Of(name),
		upstream: m.upstream.Of(name),
		retries:  m.retries.Of(name),
	}
}

// retireLocked notes that a service has no group any more. Sender.mu must be held.
func (m *metrics) retireLocked(name string, now int64) {
	m.retired[name] = now
	if len(m.retired) <= maxRetired {
		return
	}
	oldest := name
	for other, since := range m.retired {
		if since < m.retired[oldest] {
			oldest = other
		}
	}
	m.forgetLocked(oldest)
}

// expireLocked drops the series that were kept for long enough. Sender.mu must be
// held.
func (m *metrics) expireLocked(now int64) {
	for name, since := range m.retired {
		if now-since > keepRetired {
			m.forgetLocked(name)
		}
	}
}

// forgetLocked drops the series of a service. Sender.mu must be held.
func (m *metrics) forgetLocked(name string) {
	delete(m.retired, name)
	m.counts[0].Forget(name) // of all, for they share the series
	m.duration.Forget(name)
	m.upstream.Forget(name)
	m.retries.Forget(name)
	m.canary.Forget(name)
	m.canaries.Forget(name)
}

// countCanary counts a request that a canary was the last to be asked for.
func (m *metrics) countCanary(of *serviceMetrics, o *Outcome, status int, reason answer.Reason) {
	c := of.canary.Load()
	if c == nil {
		c = &canaryMetrics{m.canary.Of(o.Service), m.canaries.Of(o.Service)}
		of.canary.Store(c) // whoever comes second makes the same
	}
	c.classes.Count(status, reason)
	if o.Answered > 0 {
		c.upstream.Observe(o.Answered)
	}
}

// connCollector counts connections when it is asked, not per request.
type connCollector struct{ s *Sender }

var (
	descUpstream = prometheus.NewDesc("lictor_upstream_connections", "Connections to instances.", []string{"service", "state"}, nil)
	descWaiting  = prometheus.NewDesc("lictor_waiting_requests", "Requests that wait for an instance of a service.", []string{"service"}, nil)
	descEjected  = prometheus.NewDesc("lictor_ejected_instances", "Instances that are left out for a while.", []string{"service"}, nil)
)

// Describe implements prometheus.Collector.
func (c *connCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descUpstream
	ch <- descEjected
	ch <- descWaiting
}

// Collect implements prometheus.Collector.
func (c *connCollector) Collect(ch chan<- prometheus.Metric) {
	for name, g := range *c.s.groups.Load() {
		active, idle, ejected := g.census()
		ch <- prometheus.MustNewConstMetric(descUpstream, prometheus.GaugeValue, float64(active), name, "active")
		ch <- prometheus.MustNewConstMetric(descUpstream, prometheus.GaugeValue, float64(idle), name, "idle")
		ch <- prometheus.MustNewConstMetric(descEjected, prometheus.GaugeValue, float64(ejected), name)
		ch <- prometheus.MustNewConstMetric(descWaiting, prometheus.GaugeValue, float64(c.s.lobby.waiting(g)), name)
	}
}

// census counts the connections and the ejected members of all sites of g.
func (g *group) census() (active, idle, ejected int) {
	for site := range g.sites() {
		r := site.current.Load()
		if r == nil {
			continue
		}
		for _, m := range r.members {
			a, i := m.counts()
			active, idle = active+a, idle+i
			if m.ejected() {
				ejected++
			}
		}
	}
	return active, idle, ejected
}
