package egress

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/proxy/answer"
)

// metrics are those of the egress (contract 6). Requests and refusals are
// counted in the same series as the gateway's, by listener.
type metrics struct {
	p       *Proxy
	counts  *answer.Counts
	classes answer.Classes
	seconds prometheus.Histogram
	lookup  prometheus.Histogram
	in, out prometheus.Counter
}

const listenerName = "egress"

// newMetrics makes the metrics and registers them with r, unless that is nil.
func newMetrics(p *Proxy, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{p: p}
	var err error
	if m.counts, err = answer.NewCounts(r, listenerName); err != nil {
		return nil, err
	}
	m.classes = m.counts.Service("")
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lictor_egress_duration_seconds", Help: "From the request's head to the end of the answer or tunnel.", Buckets: answer.Buckets})
	m.lookup = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lictor_egress_lookup_seconds", Help: "Looking up the names of targets, cached ones included.", Buckets: answer.Buckets})
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lictor_egress_bytes_total", Help: "Bytes of bodies and tunnels, to the target (out) and from it (in)."}, []string{"direction"})
	if r != nil {
		for _, c := range []prometheus.Collector{m.seconds, m.lookup, bytes, collector{p}} {
			if err := r.Register(c); err != nil {
				return nil, err
			}
		}
	}
	m.out, m.in = bytes.WithLabelValues("out"), bytes.WithLabelValues("in")
	return m, nil
}

// count counts a request that is over.
func (m *metrics) count(x *exchange, took time.Duration) {
	m.counts.Count(&m.classes, x.status, x.refused.Reason)
	m.seconds.Observe(took.Seconds())
	if x.inquiry.lookup > 0 {
		m.lookup.Observe(x.inquiry.lookup.Seconds())
	}
	if x.dialled.IsValid() {
		m.out.Add(float64(x.in))
		m.in.Add(float64(x.out))
	}
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
