package answer

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"lictor/internal/crash"
)

// Totals are the requests of all listeners that share the counts: answered ones by
// status class, and those that were refused by reason. The maps are the caller's. It
// reads every series, so that it is not for the path of a request.
func (c *Counts) Totals() (answered, refused map[string]float64) {
	return total(c.requests, "code", ""), total(c.denied, "reason", "enforce")
}

// total adds up a counter by one label. mode is what its label mode has to be.
func total(v *prometheus.CounterVec, label, mode string) map[string]float64 {
	sums := make(map[string]float64)
	series := make(chan prometheus.Metric, 64)
	crash.Go("totals", func() { v.Collect(series); close(series) }, func() { close(series) })
	for one := range series {
		var m dto.Metric
		if one.Write(&m) != nil {
			continue
		}
		of := make(map[string]string)
		for _, l := range m.Label {
			of[l.GetName()] = l.GetValue()
		}
		if of["mode"] == mode {
			sums[of[label]] += m.GetCounter().GetValue()
		}
	}
	return sums
}
