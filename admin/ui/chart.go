package ui

import "math"

// Sizes of a chart, in units of its own.
const (
	barWidth  = 8
	barHeight = 100
	series    = 6 // that have a colour of their own; the last one stands for all others
)

// chart is columns of stacked bars, one for each step of time.
type chart struct {
	Name   string // what it shows
	Empty  bool
	Width  int
	Height int
	Most   float64 // requests a second, at the top
	Bars   []bar
	Legend []legend
}

type bar struct {
	X      int
	Y, H   float64
	Series int
}

type legend struct {
	Name   string
	Series int
	Total  float64
}

// newChart draws one side of the steps. order names its series; without it they come
// by their frequency.
func newChart(name string, steps []step, side func(step) map[string]float64, order []string) *chart {
	total, names := sum(steps, side)
	if order != nil {
		names = order
	}
	c := &chart{Name: name, Width: kept * barWidth, Height: barHeight, Empty: len(total) == 0}
	index := make(map[string]int)
	for at, name := range names {
		if total[name] == 0 {
			continue
		}
		index[name] = min(at, series-1) // an order keeps each its colour
		c.Legend = append(c.Legend, legend{name, index[name], total[name]})
	}
	stacks := make([][series]float64, len(steps))
	most := 0.0
	for i, s := range steps {
		height := 0.0
		for name, n := range side(s) {
			if at, ok := index[name]; ok {
				stacks[i][at] += n
				height += n
			}
		}
		most = max(most, height)
	}
	c.Most = most / noteEvery.Seconds()
	for i := range stacks {
		c.stack((kept-len(steps)+i)*barWidth, &stacks[i], most)
	}
	return c
}

// stack adds the bars of one step.
func (c *chart) stack(x int, heights *[series]float64, most float64) {
	y := float64(barHeight)
	for s, n := range heights {
		if n == 0 {
			continue
		}
		h := math.Round(n/most*barHeight*10) / 10
		h = max(h, 1) // what was there is to be seen
		y = max(y-h, 0)
		c.Bars = append(c.Bars, bar{X: x, Y: math.Round(y*10) / 10, H: h, Series: s})
	}
}

func answered(s step) map[string]float64 { return s.Answered }
func refusals(s step) map[string]float64 { return s.Refused }
