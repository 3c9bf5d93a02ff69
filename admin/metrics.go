package admin

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lictor/internal/crash"
	"lictor/internal/limits"
	"lictor/resolver"
)

func metricsHandler(registry *prometheus.Registry) http.HandlerFunc {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP
}

var (
	stalenessDesc = prometheus.NewDesc("lictor_resolver_staleness_seconds",
		"Time since the services of the resolver were known to be right.", []string{"resolver"}, nil)
	instancesDesc = prometheus.NewDesc("lictor_resolver_instances",
		"Instances of a service by their state.", []string{"service", "state"}, nil)
)

// sourceCollector reads the metrics of the sources when they are asked for, so
// that the series of a service that is gone go too.
type sourceCollector struct {
	sources []resolver.Source
	began   time.Time
}

// Describe implements [prometheus.Collector].
func (c *sourceCollector) Describe(out chan<- *prometheus.Desc) {
	out <- stalenessDesc
	out <- instancesDesc
}

// Collect implements [prometheus.Collector].
func (c *sourceCollector) Collect(out chan<- prometheus.Metric) {
	type series struct {
		service string
		state   resolver.State
	}
	count := make(map[series]int)
	for _, source := range c.sources {
		since := source.Status().Since
		if since.IsZero() {
			since = c.began // blind from the start
		}
		out <- prometheus.MustNewConstMetric(stalenessDesc, prometheus.GaugeValue, time.Since(since).Seconds(), source.Kind())
		for service := range source.Catalog().All() {
			for _, instance := range service.Instances {
				count[series{service.Name, instance.State}]++
			}
		}
	}
	for s, n := range count {
		out <- prometheus.MustNewConstMetric(instancesDesc, prometheus.GaugeValue, float64(n), s.service, s.state.String())
	}
}

// countCollector shows numbers that a package counts by one label.
type countCollector struct {
	desc   *prometheus.Desc
	counts func() map[string]uint64
}

var (
	limitsHit = countCollector{prometheus.NewDesc("lictor_limits_hit_total",
		"How often a bound was met, by its name.", []string{"limit"}, nil), limits.Counts}
	panics = countCollector{prometheus.NewDesc("lictor_panics_total",
		"Panics that ended one connection, request, document or message, by the place that contained them.", []string{"where"}, nil), crash.Counts}
)

// Describe implements [prometheus.Collector].
func (c countCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect implements [prometheus.Collector].
func (c countCollector) Collect(out chan<- prometheus.Metric) {
	for label, n := range c.counts() {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(n), label)
	}
}
