package ui

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestHistoryKeepsFifteenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0.0
		u := &UI{cfg: Config{Traffic: func() Traffic {
			n += 7
			return Traffic{Answered: map[string]float64{"2xx": n}, Refused: map[string]float64{"acl": 5}}
		}}}
		ctx, end := cancelable(t)
		go u.Run(ctx)
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{time.Second, 0}, {10 * time.Second, 1}, {10 * time.Second, 2}, {time.Hour, kept}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := u.history.steps(); len(got) != step.want {
				t.Errorf("%d steps, want %d", len(got), step.want)
			}
		}
		all := u.history.steps()
		for i, s := range all {
			if s.Answered["2xx"] != 7 || len(s.Refused) != 0 || i > 0 && s.end.Sub(all[i-1].end) != noteEvery {
				t.Errorf("step %d is %v", i, s)
			}
		}
		end()
	})
}

func TestACounterThatIsGoneTakesNothingAway(t *testing.T) {
	got := since(map[string]float64{"a": 5, "b": 9, "c": 1}, map[string]float64{"a": 7, "b": 3, "d": 2})
	if len(got) != 2 || got["a"] != 2 || got["d"] != 2 {
		t.Errorf("got %v", got)
	}
}

func TestChartStacksItsSeries(t *testing.T) {
	steps := []step{
		{testTime, Traffic{Refused: map[string]float64{"acl": 30, "blacklist": 10}}},
		{testTime, Traffic{}},
		{testTime, Traffic{Refused: map[string]float64{"acl": 20}}},
	}
	c := newChart("x", steps, refusals, nil)
	want := []bar{{X: 696, Y: 25, H: 75, Series: 0}, {X: 696, Y: 0, H: 25, Series: 1}, {X: 712, Y: 50, H: 50, Series: 0}}
	if len(c.Bars) != len(want) || c.Most != 4 {
		t.Fatalf("got %+v", c)
	}
	for i := range want {
		if c.Bars[i] != want[i] {
			t.Errorf("bar %d is %+v, want %+v", i, c.Bars[i], want[i])
		}
	}
	if c.Legend[0] != (legend{"acl", 0, 50}) || c.Legend[1] != (legend{"blacklist", 1, 10}) {
		t.Errorf("the legend is %v", c.Legend)
	}
	many := make(map[string]float64)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		many[name] = 1
	}
	c = newChart("x", []step{{testTime, Traffic{Refused: many}}}, refusals, nil)
	if last := c.Legend[7]; last.Series != series-1 || len(c.Bars) != series {
		t.Errorf("the rest shares a colour: %+v", c)
	}
	if !newChart("x", nil, refusals, nil).Empty {
		t.Error("a chart of nothing is not empty")
	}
}

func cancelable(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}
