//go:build integration

package integration_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

// series is what a figure was at equal steps of time.
type series struct {
	name   string
	values []float64
}

func (s *series) add(v float64) { s.values = append(s.values, v) }

// trend returns by how much a line through the figures rises from its beginning to its
// end, and how much they differ from it: two standard deviations, and at least
// three percent and ten. The first third is left out: pools and tables fill.
func (s *series) trend() (rise, noise float64) {
	v := s.values[len(s.values)/3:]
	n := float64(len(v))
	var sx, sy, sxx, sxy float64
	for i, y := range v {
		x := float64(i)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope := (n*sxy - sx*sy) / (n*sxx - sx*sx)
	base := (sy - slope*sx) / n
	var squares float64
	for i, y := range v {
		squares += math.Pow(y-base-slope*float64(i), 2)
	}
	return slope * (n - 1), max(2*math.Sqrt(squares/n), 0.03*sy/n, 10)
}

// pauses are the buckets of a histogram of Prometheus, as they come: of rising bounds.
type pauses []bucket

type bucket struct{ bound, count float64 }

// add takes a series, if it is a bucket of the collector's pauses.
func (p *pauses) add(name string, count float64) {
	bound, ok := strings.CutPrefix(name, `go_sched_pauses_total_gc_seconds_bucket{le="`)
	if v, err := strconv.ParseFloat(strings.TrimSuffix(bound, `"}`), 64); ok && err == nil {
		*p = append(*p, bucket{v, count})
	}
}

// p99 returns the bound below which 99 percent are, and how many there are.
func (p pauses) p99() (bound, n float64) {
	if len(p) == 0 {
		return math.Inf(1), 0
	}
	n = p[len(p)-1].count
	for _, b := range p {
		if b.count >= 0.99*n {
			return b.bound, n
		}
	}
	return math.Inf(1), n
}

func TestTrendTellsGrowthFromNoise(t *testing.T) {
	wave := func(rise float64) *series {
		s := new(series)
		for i := range 300 {
			s.add(1000 + 50*math.Sin(float64(i)) + rise*float64(i)/200)
		}
		return s
	}
	if rise, noise := wave(0).trend(); rise > noise {
		t.Errorf("a wave rises by %v, noise %v", rise, noise)
	}
	if rise, noise := wave(100).trend(); rise <= noise || rise < 90 || rise > 110 {
		t.Errorf("a wave that rises by 100 rises by %v, noise %v", rise, noise)
	}
}
