package tokens

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are those of fetches.
type counts struct{ good, bad atomic.Uint64 }

func (c *counts) fetched(good bool) {
	if good {
		c.good.Add(1)
	} else {
		c.bad.Add(1)
	}
}

// collector shows a Verifier. It implements [prometheus.Collector].
type collector struct{ v *Verifier }

var (
	fetchesDesc = prometheus.NewDesc("lictor_jwks_fetches_total", "Times that a JWK set was asked for, by what came of it.", []string{"result"}, nil)
	ageDesc     = prometheus.NewDesc("lictor_jwks_age_seconds", "Seconds since the JWK set of a URL was read last.", []string{"url"}, nil)
	keptDesc    = prometheus.NewDesc("lictor_jwt_remembered", "Tokens that were verified and are remembered.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{fetchesDesc, ageDesc, keptDesc} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(fetchesDesc, prometheus.CounterValue, float64(c.v.counts.good.Load()), "ok")
	out <- prometheus.MustNewConstMetric(fetchesDesc, prometheus.CounterValue, float64(c.v.counts.bad.Load()), "error")
	out <- prometheus.MustNewConstMetric(keptDesc, prometheus.GaugeValue, float64(c.v.remembered.len()))
	for _, s := range c.v.Status() {
		if !s.Fetched.IsZero() {
			out <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, time.Since(s.Fetched).Seconds(), s.URL)
		}
	}
}
