package gateway

import "github.com/prometheus/client_golang/prometheus"

const listenerName = "gateway"

// collector counts what is there when it is asked, not per request.
type collector struct{ g *Gateway }

var (
	descMatched = prometheus.NewDesc("lictor_middleware_matched_total", "Requests that a middleware block matched.", []string{"middleware"}, nil)
	descClients = prometheus.NewDesc("lictor_client_connections", "Open client connections.", []string{"listener"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descClients
	ch <- descMatched
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for i, e := range c.g.entrances {
		ch <- prometheus.MustNewConstMetric(descClients, prometheus.GaugeValue, float64(e.Open()), c.g.names[i])
	}
	for _, l := range c.g.settings.Load().Middleware {
		ch <- prometheus.MustNewConstMetric(descMatched, prometheus.CounterValue, float64(l.Matched.Load()), l.Rule.Name)
	}
}
