package live

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/policy"
)

// measure makes the metrics (contract 6) and registers them.
func (p *Policy) measure(r prometheus.Registerer) {
	p.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lictor_policy_apply_seconds", Help: "From a change seen in the store to its being in force.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	})
	if r != nil {
		r.MustRegister(p.seconds, collector{p}, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "lictor_policy_rejected_objects", Help: "Policy objects that are not in force, or only in part.",
		}, func() float64 { return float64(len(p.Rejected())) }))
	}
}

// collector reads the state of the policy when it is asked.
type collector struct{ p *Policy }

var (
	descStale   = prometheus.NewDesc("lictor_policy_staleness_seconds", "Since the last good exchange with the policy store.", nil, nil)
	descObjects = prometheus.NewDesc("lictor_policy_objects", "Policy objects in force.", []string{"kind"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descStale
	ch <- descObjects
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	set := c.p.Loaded()
	for _, kind := range policy.Kinds {
		ch <- prometheus.MustNewConstMetric(descObjects, prometheus.GaugeValue, float64(set.Objects(kind)), string(kind))
	}
	if st := c.p.cfg.Store.Status(); !st.Contact.IsZero() {
		age := 0.0
		if !st.Live {
			age = time.Since(st.Contact).Seconds()
		}
		ch <- prometheus.MustNewConstMetric(descStale, prometheus.GaugeValue, age)
	}
}
