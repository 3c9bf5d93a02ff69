package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/policy"
)

// metrics are the gateway's own (contract 6). Labels have bounded values:
// services that exist, reasons, status classes. The series of a service are
// looked up once and kept with its group, so that counting is an atomic add.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	upstream *prometheus.HistogramVec
	denied   *prometheus.CounterVec
	retries  *prometheus.CounterVec
	nobody   *serviceMetrics // requests that belong to no service
}

// serviceMetrics are the series of one service.
type serviceMetrics struct {
	codes    [6]prometheus.Counter // by status class; 0: no answer was sent
	duration prometheus.Observer
	upstream prometheus.Observer
	retries  prometheus.Counter
}

const listenerName = "gateway"

var classes = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics(g *Gateway, r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lictor_requests_total", Help: "Requests answered, by status class."}, []string{"listener", "service", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lictor_request_duration_seconds", Help: "From the request's head to the end of the answer.", Buckets: buckets}, []string{"service"}),
		upstream: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lictor_upstream_duration_seconds", Help: "From the first attempt to the head of the answer.", Buckets: buckets}, []string{"service"}),
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lictor_denied_total", Help: "Requests that lictor refused."}, []string{"listener", "reason", "mode"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lictor_retries_total", Help: "Attempts on a further instance."}, []string{"service"}),
	}
	m.nobody = m.service("")
	if r != nil {
		r.MustRegister(m.requests, m.duration, m.upstream, m.denied, m.retries, &connCollector{g})
	}
	return m
}

func (m *metrics) service(name string) *serviceMetrics {
	s := &serviceMetrics{
		duration: m.duration.WithLabelValues(name),
		upstream: m.upstream.WithLabelValues(name),
		retries:  m.retries.WithLabelValues(name),
	}
	for i, class := range classes {
		s.codes[i] = m.requests.WithLabelValues(listenerName, name, class)
	}
	return s
}

// forget drops the series of a service that is gone.
func (m *metrics) forget(name string) {
	by := prometheus.Labels{"service": name}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.requests, m.duration, m.upstream, m.retries} {
		v.DeletePartialMatch(by)
	}
}

// count counts a request that is over.
func (m *metrics) count(x *exchange, took time.Duration) {
	s := m.nobody
	if x.group != nil {
		s = x.group.metrics
	}
	class := x.status / 100
	if x.reason == clientLeft || class < 1 || class > 5 {
		class = 0
	}
	s.codes[class].Inc()
	s.duration.Observe(took.Seconds())
	if x.upstream > 0 {
		s.upstream.Observe(x.upstream.Seconds())
	}
	if x.reason != ReasonNone && x.reason != clientLeft {
		m.denied.WithLabelValues(listenerName, string(x.reason), "enforce").Inc()
	}
}

// would counts what a rule in report mode would have refused (X13).
func (m *metrics) would(r policy.Reason) {
	m.denied.WithLabelValues(listenerName, string(r), "report").Inc()
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
