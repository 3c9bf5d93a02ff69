package upstream

import (
	"fmt"
	"sync"

	"lictor/internal/monotonic"
	"lictor/resolver"
)

// An instance may be left out for what it answers as well, if its service wants it
// so. Whoever can make an instance answer badly can have it left out by that: it
// is off unless somebody says otherwise, and never more than half of a service is
// out. A connection proves nothing here, so that the way back is a request: when
// the time is over the next one is let through, alone, and its answer decides.

// faults are the bad answers of a peer.
type faults struct {
	mu   sync.Mutex // guards what follows
	at   []int64    // monotonic times of the latest ones, a ring; 0 = none
	next int
}

// add notes a bad answer. It reports whether there were as many as f says within
// its time, and then begins anew.
func (l *faults) add(f resolver.Faults, now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.at) != f.Count {
		l.at, l.next = make([]int64, f.Count), 0
	}
	l.at[l.next] = now
	l.next = (l.next + 1) % f.Count
	if oldest := l.at[l.next]; oldest == 0 || now-oldest > int64(f.Within) {
		return false
	}
	clear(l.at)
	return true
}

// judge goes by the status that m answered with.
func (q *Request) judge(m *member, r *roster, status int) {
	rule := r.service.Options.Eject
	if rule.Count == 0 {
		rule = q.Settings.Eject
	}
	if rule.Count == 0 && q.trial == nil {
		return
	}
	switch bad := rule.Has(status); {
	case q.trial != nil && bad:
		m.leaveOut(&ejection{why: q.trial.why, answers: true})
	case q.trial != nil:
		m.readmit("it answers well")
	case bad && !m.ejected() && m.faults.add(rule, monotonic.Now()):
		m.leaveOut(&ejection{why: fmt.Sprintf("its answers: %s", rule), answers: true})
	}
}

// States of the trial of an ejection for answers.
const (
	trialLater = iota // its time is not over
	trialDue          // the next request is it
	trialTaken        // a request is under way
)

// take makes the request that asks the trial, if one is due: it returns e, else nil.
func (e *ejection) take() *ejection {
	if e.trial.CompareAndSwap(trialDue, trialTaken) {
		return e
	}
	return nil
}

// giveBack ends the trial of a request. If its answer decided, e is over, and this
// means nothing.
func (e *ejection) giveBack() { e.trial.CompareAndSwap(trialTaken, trialDue) }
