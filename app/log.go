package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/lines"
)

// namedLog is a log that drops lines rather than have somebody wait for it.
type namedLog struct {
	name string
	from interface{ Dropped() uint64 }
}

// countLines has metrics and status tell how many lines were dropped.
func (p *Lictor) countLines(output *lines.Writer) error {
	p.logs = append(p.logs, namedLog{"log", output})
	if p.access != nil {
		p.logs = append(p.logs, namedLog{"access", p.access})
	}
	for _, l := range p.logs {
		err := p.registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "lictor_log_lines_dropped_total", Help: "Lines of a log that were dropped, since nobody took them in time.",
			ConstLabels: prometheus.Labels{"log": l.name},
		}, func() float64 { return float64(l.from.Dropped()) }))
		if err != nil {
			return err
		}
	}
	return nil
}

// lineProblems tell of logs that are not read.
func (p *Lictor) lineProblems() (all []string) {
	for _, l := range p.logs {
		if n := l.from.Dropped(); n > 0 {
			all = append(all, fmt.Sprintf("%s: %d lines were dropped since the start, nobody took them in time", l.name, n))
		}
	}
	return all
}
