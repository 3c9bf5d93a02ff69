package upstream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/proxy/answer"
)

// metrics are those of requests by service (contract 6). The series of a service
// are looked up once and kept with its group, so that counting is an atomic add.
type metrics struct {
	counts   *answer.Counts
	duration *prometheus.HistogramVec
	upstream *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	nobody   *serviceMetrics // requests that belong to no service
}

// serviceMetrics are the series of one service.
type serviceMetrics struct {
	classes  answer.Classes
	duration prometheus.Observer
	upstream prometheus.Observer
	retries  prometheus.Counter
}

func newMetrics(s *Sender, counts *answer.Counts, r prometheus.Registerer) *metrics {
	m := &metrics{
		counts: counts,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lictor_request_duration_seconds", Help: "From the request's head to the end of the answer.", Buckets: answer.Buckets}, []string{"service"}),
		upstream: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lictor_upstream_duration_seconds", Help: "From the first attempt to the head of the answer.", Buckets: answer.Buckets}, []string{"service"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lictor_retries_total", Help: "Attempts on a further instance."}, []string{"service"}),
	}
	m.nobody = m.service("")
	if r != nil {
		r.MustRegister(m.duration, m.upstream, m.retries, &connCollector{s})
	}
	return m
}

func (m *metrics) service(name string) *serviceMetrics {
	return &serviceMetrics{
		classes:  m.counts.Service(name),
		duration: m.duration.WithLabelValues(name),
		upstream: m.upstream.WithLabelValues(name),
		retries:  m.retries.WithLabelValues(name),
	}
}

// forget drops the series of a service that is gone.
func (m *metrics) forget(name string) {
	m.counts.Forget(name)
	m.duration.DeleteLabelValues(name)
	m.upstream.DeleteLabelValues(name)
	m.retries.DeleteLabelValues(name)
}

// Count counts a request that is over, sent or not: what the client was told, and
// how long all took.
func (s *Sender) Count(o *Outcome, status int, reason answer.Reason, took time.Duration) {
	of := s.metrics.nobody
	if o.metrics != nil {
		of = o.metrics
	}
	s.metrics.counts.Count(&of.classes, status, reason)
	of.duration.Observe(took.Seconds())
	if o.Answered > 0 {
		of.upstream.Observe(o.Answered.Seconds())
	}
}

// connCollector counts connections when it is asked, not per request.
type connCollector struct{ s *Sender }

var (
	descUpstream = prometheus.NewDesc("lictor_upstream_connections", "Connections to instances.", []string{"service", "state"}, nil)
	descEjected  = prometheus.NewDesc("lictor_ejected_instances", "Instances that get no requests because they refused or broke them.", []string{"service"}, nil)
)

// Describe implements prometheus.Collector.
func (c *connCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descUpstream
	ch <- descEjected
}

// Collect implements prometheus.Collector.
func (c *connCollector) Collect(ch chan<- prometheus.Metric) {
	for name, g := range *c.s.groups.Load() {
		active, idle, ejected := g.census()
		ch <- prometheus.MustNewConstMetric(descUpstream, prometheus.GaugeValue, float64(active), name, "active")
		ch <- prometheus.MustNewConstMetric(descUpstream, prometheus.GaugeValue, float64(idle), name, "idle")
		ch <- prometheus.MustNewConstMetric(descEjected, prometheus.GaugeValue, float64(ejected), name)
	}
}

// census counts the connections and the ejected members of g.
func (g *group) census() (active, idle, ejected int) {
	r := g.current.Load()
	if r == nil {
		return 0, 0, 0
	}
	for _, m := range r.members {
		a, i := m.counts()
		active, idle = active+a, idle+i
		if m.ejected() {
			ejected++
		}
	}
	return active, idle, ejected
}
