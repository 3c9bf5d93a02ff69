package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"lictor/internal/monotonic"
	"lictor/resolver"
)

var fiveIn10s = resolver.Faults{Status: 5, Count: 5, Within: 10 * time.Second}

// answered has m answer requests with statuses, one after the other.
func answered(g *group, r *roster, m *member, rule resolver.Faults, statuses ...int) {
	for _, status := range statuses {
		q := careful(g, r, resolver.RoundRobin, 0, Settings{Eject: rule})
		q.enter(m)
		m.worked(monotonic.Now())
		q.judge(m, r, status)
		q.leave(m)
	}
}

// K7: so many bad answers within the time eject an instance, and nothing less.
func TestEjectedForAnswers(t *testing.T) {
	bad := []int{500, 502, 503, 504, 599}
	for _, tt := range []struct {
		name     string
		rule     resolver.Faults
		statuses []int
		pause    time.Duration // between two answers
		members  int
		want     bool
	}{
		{"without a rule nothing does", resolver.Faults{}, append(bad, bad...), 0, 2, false},
		{"so many", fiveIn10s, bad, 0, 2, true},
		{"one less", fiveIn10s, bad[1:], 0, 2, false},
		{"good ones between them do not help", fiveIn10s, []int{500, 200, 500, 200, 500, 200, 500, 404, 500}, time.Second, 2, true},
		{"as many in a longer time", fiveIn10s, append(bad, bad...), 3 * time.Second, 2, false},
		{"just in time", fiveIn10s, bad, 2500 * time.Millisecond, 2, true},
		{"what a client is told about itself is not counted", fiveIn10s, []int{400, 404, 429, 499, 400, 404}, 0, 2, false},
		{"another status than the rule's", resolver.Faults{Status: 503, Count: 1, Within: time.Second}, []int{500, 502}, 0, 2, false},
		{"the rule's status", resolver.Faults{Status: 503, Count: 1, Within: time.Second}, []int{503}, 0, 2, true},
		{"the only one stays", fiveIn10s, append(bad, bad...), 0, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				weights := []int{1, 1}[:tt.members]
				g, r := memberSet(weights...)
				m := r.members[0]
				for _, status := range tt.statuses {
					answered(g, r, m, tt.rule, status)
					time.Sleep(tt.pause)
				}
				if m.ejected() != tt.want {
					t.Errorf("ejected is %v", !tt.want)
				}
				m.readmit("the test is over")
			})
		})
	}
}

// K7: the way back is one request; until its answer nobody else comes.
func TestBackByTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r := memberSet(1, 1)
		m := r.members[0]
		next := func() *Request { return careful(g, r, resolver.RoundRobin, 0, Settings{Eject: fiveIn10s}) }
		got := func() (n int) {
			for range 10 {
				if q := next(); q.pick(r) == m {
					n++
				}
			}
			return n
		}
		answered(g, r, m, fiveIn10s, 500, 500, 500, 500, 500)
		before := monotonic.Now()
		if got() != 0 {
			t.Fatal("it gets requests at once")
		}
		answered(g, r, m, fiveIn10s, 200) // of one that was under way
		if !m.ejected() {
			t.Fatal("an answer to another request than the trial brought it back")
		}
		time.Sleep(ejectFirst + time.Millisecond)
		if got() == 0 {
			t.Fatal("its time is over, and no request may try it")
		}

		trial := next()
		trial.enter(m)
		if got() != 0 {
			t.Error("others come while one tries it")
		}
		trial.leave(m) // the client left
		if got() == 0 {
			t.Fatal("a trial without an answer was the last one")
		}

		trial = next()
		trial.enter(m)
		trial.judge(m, r, 500)
		trial.leave(m)
		if e := m.ejection.Load(); e == nil || !e.answers || got() != 0 {
			t.Fatal("a bad answer to the trial brought it back")
		}
		time.Sleep(ejectFirst + time.Millisecond)
		if got() != 0 {
			t.Error("the second time is no longer than the first")
		}
		time.Sleep(ejectFirst)
		trial = next()
		trial.enter(m)
		trial.judge(m, r, 204)
		trial.leave(m)
		if m.ejected() || got() == 0 || m.fails.Load() != 0 {
			t.Error("a good answer to the trial did not bring it back")
		}
		if monotonic.Now()-before > int64(10*time.Second) {
			t.Error("the test is too slow for what follows")
		}
		answered(g, r, m, fiveIn10s, 500, 500, 500, 500)
		if m.ejected() {
			t.Error("answers of before the ejection count again")
		}
	})
}

// Without a rule any more the trial is still the way back.
func TestTrialWithoutARule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r := memberSet(1, 1)
		m := r.members[0]
		answered(g, r, m, fiveIn10s, 500, 500, 500, 500, 500)
		time.Sleep(ejectFirst + time.Millisecond)
		answered(g, r, m, resolver.Faults{}, 500)
		if m.ejected() {
			t.Error("it is left out for ever")
		}
	})
}

// However bad all are, half of them serve on.
func TestHalfServesOnWhateverIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r := memberSet(1, 1, 1, 1, 1)
		for range 5 {
			for _, m := range r.members {
				answered(g, r, m, fiveIn10s, 500, 500, 500, 500, 500)
			}
		}
		out := 0
		for _, m := range r.members {
			if m.ejected() {
				out++
				m.readmit("the test is over")
			}
		}
		if out != 2 {
			t.Errorf("%d of 5 are ejected", out)
		}
	})
}
