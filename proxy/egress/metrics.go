package egress

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of the egress (contract 6). Requests and refusals are
// counted in the same series as the gateway's, by listener.
type metrics struct {
	p       *Proxy
	codes   [6]prometheus.Counter // by status class; 0: no answer was sent
	denied  *prometheus.CounterVec
	seconds prometheus.Histogram
	lookup  prometheus.Histogram
	in, out prometheus.Counter
}

const listenerName = "egress"

var classes = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// newMetrics makes the metrics and registers them with r, unless that is nil.
func newMetrics(p *Proxy, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{p: p}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lictor_requests_total", Help: "Requests answered, by status class."}, []string{"listener", "service", "code"})
	m.denied = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lictor_denied_total", Help: "Requests that lictor refused."}, []string{"listener", "reason", "mode"})
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lictor_egress_duration_seconds", Help: "From the request's head to the end of the answer or tunnel.", Buckets: buckets})
	m.lookup = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lictor_egress_lookup_seconds", Help: "Looking up the names of targets, cached ones included.", Buckets: buckets})
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lictor_egress_bytes_total", Help: "Bytes of bodies and tunnels, to the target (out) and from it (in)."}, []string{"direction"})
	if r != nil {
		var err error
		if requests, err = shared(r, requests); err != nil {
			return nil, err
		}
		if m.denied, err = shared(r, m.denied); err != nil {
			return nil, err
		}
		for _, c := range []prometheus.Collector{m.seconds, m.lookup, bytes, collector{p}} {
			if err := r.Register(c); err != nil {
				return nil, err
			}
		}
	}
	for i, class := range classes {
		m.codes[i] = requests.WithLabelValues(listenerName, "", class)
	}
	m.out, m.in = bytes.WithLabelValues("out"), bytes.WithLabelValues("in")
	return m, nil
}

// shared registers v, or returns the one of the same name that the gateway has
// registered before.
func shared(r prometheus.Registerer, v *prometheus.CounterVec) (*prometheus.CounterVec, error) {
	err := r.Register(v)
	if twice, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if there, ok := twice.ExistingCollector.(*prometheus.CounterVec); ok {
			return there, nil
		}
	}
	return v, err
}

// count counts a request that is over.
func (m *metrics) count(x *exchange, took time.Duration) {
	class := x.status / 100
	if x.refused.reason == clientLeft || class < 1 || class > 5 {
		class = 0
	}
	m.codes[class].Inc()
	m.seconds.Observe(took.Seconds())
	if x.inquiry.lookup > 0 {
		m.lookup.Observe(x.inquiry.lookup.Seconds())
	}
	if x.dialled.IsValid() {
		m.out.Add(float64(x.in))
		m.in.Add(float64(x.out))
	}
	if r := x.refused.reason; r != reasonNone && r != clientLeft {
		m.denied.WithLabelValues(listenerName, string(r), "enforce").Inc()
	}
}

// would counts a refusal that a rule in report mode would have made.
func (m *metrics) would(r Reason) {
	m.denied.WithLabelValues(listenerName, string(r), "report").Inc()
}

// collector counts connections when it is asked, not per request.
type collector struct{ p *Proxy }

var (
	descTunnels  = prometheus.NewDesc("lictor_egress_tunnels", "Open CONNECT tunnels.", nil, nil)
	descClients  = prometheus.NewDesc("lictor_egress_client_connections", "Open client connections.", nil, nil)
	descUpstream = prometheus.NewDesc("lictor_egress_upstream_connections", "Connections to targets, without tunnels.", []string{"state"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descTunnels
	ch <- descClients
	ch <- descUpstream
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(descTunnels, prometheus.GaugeValue, float64(c.p.slots.count()))
	ch <- prometheus.MustNewConstMetric(descClients, prometheus.GaugeValue, float64(c.p.server.Open()))
	active, idle := c.p.pools.counts()
	ch <- prometheus.MustNewConstMetric(descUpstream, prometheus.GaugeValue, float64(active), "active")
	ch <- prometheus.MustNewConstMetric(descUpstream, prometheus.GaugeValue, float64(idle), "idle")
}
