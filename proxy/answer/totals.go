package answer

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"lictor/internal/crash"
)

// Answered returns the requests of all listeners that share the counts, by status
// class. The map is the caller's. It reads every series, so that it is not for the
// path of a request.
func (c *Counts) Answered() map[string]float64 { return total(c.requests, "code", nil) }

// Refused returns those that were refused, by reason: of a listener, "" = of all. As
// for Answered.
func (c *Counts) Refused(listener string) map[string]float64 {
	want := map[string]string{"mode": "enforce"}
	if listener != "" {
		want["listener"] = listener
	}
	return total(c.denied, "reason", want)
}

// total adds up a counter by one label, of the series that have the labels want.
func total(v prometheus.Collector, label string, want map[string]string) map[string]float64 {
	sums := make(map[string]float64)
	series := make(chan prometheus.Metric, 64)
	crash.Go("totals", func() { v.Collect(series); close(series) }, func() { close(series) })
	for one := range series {
		var m dto.Metric
		if one.Write(&m) != nil {
			continue
		}
		name, counts := "", true
		for _, l := range m.Label {
			if l.GetName() == label {
				name = l.GetValue()
			}
			if value, asked := want[l.GetName()]; asked && value != l.GetValue() {
				counts = false
			}
		}
		if counts {
			sums[name] += m.GetCounter().GetValue()
		}
	}
	return sums
}
