package egress

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/proxy/answer"
)

// metrics are those of the egress (contract 6). Requests and refusals are
// counted in the same series as the gateway's, by listener.
type metrics struct {
	counts  *answer.Counts
	classes *answer.Classes
	seconds prometheus.Histogram
	lookup  prometheus.Histogram
	in, out prometheus.Counter
}

const listenerName = "egress"

// newMetrics makes the metrics and registers them with r, unless that is nil.
func newMetrics(p *Proxy, r prometheus.Registerer, detail answer.Detail) (*metrics, error) {
	m := &metrics{}
	var err error
	if m.counts, err = answer.NewCounts(r, listenerName, detail); err != nil {
		return nil, err
	}
	m.classes = m.counts.Service("")
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lictor_egress_duration_seconds", Help: "From the request's head to the end of the answer or tunnel.", Buckets: answer.Buckets[:]})
	m.lookup = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lictor_egress_lookup_seconds", Help: "Looking up the names of targets, cached ones included.", Buckets: answer.Buckets[:]})
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lictor_egress_bytes_total", Help: "Bytes of bodies and tunnels, to the target (out) and from it (in)."}, []string{"direction"})
	// Connections are counted when somebody asks, not per request.
	gauge := func(name, help string, labels prometheus.Labels, now func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(now()) })
	}
	const upstream, help = "lictor_egress_upstream_connections", "Connections to targets, without tunnels."
	if r != nil {
		for _, c := range []prometheus.Collector{
			m.seconds, m.lookup, bytes,
			gauge("lictor_egress_tunnels", "Open CONNECT tunnels.", nil, p.slots.count),
			gauge("lictor_egress_client_connections", "Open client connections.", nil, func() int { return int(p.server.Open()) }),
			gauge(upstream, help, prometheus.Labels{"state": "active"}, func() int { active, _ := p.pools.counts(); return active }),
			gauge(upstream, help, prometheus.Labels{"state": "idle"}, func() int { _, idle := p.pools.counts(); return idle }),
		} {
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
	about := answer.About{}
	if who := x.inquiry.dst.Identity; who != nil {
		about.Consumer = who.Name
	}
	m.counts.Count(m.classes, about, x.status, x.refused.Reason)
	m.seconds.Observe(took.Seconds())
	if x.inquiry.lookup > 0 {
		m.lookup.Observe(x.inquiry.lookup.Seconds())
	}
	if x.dialled.IsValid() {
		m.out.Add(float64(x.in))
		m.in.Add(float64(x.out))
	}
}
