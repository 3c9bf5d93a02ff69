package rabbitmq

import "github.com/prometheus/client_golang/prometheus"

// A Bus is a collector of its own metrics (contract 6).
var _ prometheus.Collector = (*Bus)(nil)

var (
	descConnected = prometheus.NewDesc("lictor_bus_connected", "1 while there is a connection to the broker.", nil, nil)
	descBlocked   = prometheus.NewDesc("lictor_bus_blocked", "1 while the broker accepts no messages.", nil, nil)
	descInFlight  = prometheus.NewDesc("lictor_bus_in_flight", "Requests that wait for an answer.", nil, nil)
	descExchanges = prometheus.NewDesc("lictor_bus_exchanges", "Exchanges that are remembered, the absent ones too.", nil, nil)
	descRequests  = prometheus.NewDesc("lictor_bus_requests_total", "Requests for the bus, by what came of them.", []string{"outcome"}, nil)
	descLate      = prometheus.NewDesc("lictor_bus_late_replies_total", "Answers that nobody waited for any more.", nil, nil)
	descClosed    = prometheus.NewDesc("lictor_bus_channel_closes_total", "Channels that the broker closed on a message it refused.", nil, nil)
	descAgain     = prometheus.NewDesc("lictor_bus_published_again_total", "Messages that were published again, since they stood behind a refused one.", nil, nil)
	descConnects  = prometheus.NewDesc("lictor_bus_connects_total", "Connections to the broker that were ready for requests.", nil, nil)
)

// Describe implements prometheus.Collector.
func (b *Bus) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(b, ch) }

// Collect implements prometheus.Collector.
func (b *Bus) Collect(ch chan<- prometheus.Metric) {
	s := b.Stats()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(descConnected, truth(s.Connected))
	gauge(descBlocked, truth(s.Blocked))
	gauge(descInFlight, float64(s.InFlight))
	gauge(descExchanges, float64(s.Exchanges))
	counter(descRequests, s.Replies, "replied")
	counter(descRequests, s.Refused, "refused")
	counter(descRequests, s.Timeouts, "timeout")
	counter(descRequests, s.Lost, "lost")
	counter(descLate, s.Late)
	counter(descClosed, s.Closed)
	counter(descAgain, s.Again)
	counter(descConnects, s.Connects)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
