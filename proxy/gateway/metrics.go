package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/proxy/answer"
)

// metrics are the gateway's own (contract 6). The series of a service are looked
// up once and kept with its group, so that counting is an atomic add.
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

const listenerName = "gateway"

func newMetrics(g *Gateway, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lictor_request_duration_seconds", Help: "From the request's head to the end of the answer.", Buckets: answer.Buckets}, []string{"service"}),
		upstream: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lictor_upstream_duration_seconds", Help: "From the first attempt to the head of the answer.", Buckets: answer.Buckets}, []string{"service"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lictor_retries_total", Help: "Attempts on a further instance."}, []string{"service"}),
	}
	var err error
	if m.counts, err = answer.NewCounts(r, listenerName); err != nil {
		return nil, err
	}
	m.nobody = m.service("")
	if r != nil {
		r.MustRegister(m.duration, m.upstream, m.retries, &connCollector{g})
	}
	return m, nil
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

// count counts a request that is over.
func (m *metrics) count(x *exchange, took time.Duration) {
	s := m.nobody
	if x.group != nil {
		s = x.group.metrics
	}
	m.counts.Count(&s.classes, x.status, x.reason)
	s.duration.Observe(took.Seconds())
	if x.upstream > 0 {
		s.upstream.Observe(x.upstream.Seconds())
	}
}

// connCollector counts connections when it is asked, not per request.
type connCollector struct{ g *Gateway }

var (
	descUpstream = prometheus.NewDesc("lictor_upstream_connections", "Connections to instances.", []string{"service", "state"}, nil)
	descEjected  = prometheus.NewDesc("lictor_ejected_instances", "Instances that get no requests because they refused or broke them.", []string{"service"}, nil)
	descMatched  = prometheus.NewDesc("lictor_middleware_matched_total", "Requests that a middleware block matched.", []string{"middleware"}, nil)
	descClients  = prometheus.NewDesc("lictor_client_connections", "Open client connections.", []string{"listener"}, nil)
)

// Describe implements prometheus.Collector.
func (c *connCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descUpstream
	ch <- descEjected
	ch <- descClients
	ch <- descMatched
}

// Collect implements prometheus.Collector.
func (c *connCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(descClients, prometheus.GaugeValue, float64(c.g.server.Open()), listenerName)
	for _, l := range c.g.settings.Load().Middleware {
		ch <- prometheus.MustNewConstMetric(descMatched, prometheus.CounterValue, float64(l.Matched.Load()), l.Rule.Name)
	}
	for name, grp := range *c.g.groups.Load() {
		var active, idle, ejected int
		if r := grp.current.Load(); r != nil {
			for _, m := range r.members {
				a, i := m.counts()
				active, idle = active+a, idle+i
				if m.ejected() {
					ejected++
				}
			}
		}
		ch <- prometheus.MustNewConstMetric(descUpstream, prometheus.GaugeValue, float64(active), name, "active")
		ch <- prometheus.MustNewConstMetric(descUpstream, prometheus.GaugeValue, float64(idle), name, "idle")
		ch <- prometheus.MustNewConstMetric(descEjected, prometheus.GaugeValue, float64(ejected), name)
	}
}
