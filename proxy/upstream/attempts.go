package upstream

import (
	"time"

	"lictor/internal/monotonic"
	"lictor/proxy/answer"
)

// try is an attempt at one member. Times are since the request began.
type try struct {
	member *member
	began  time.Duration
	ended  time.Duration // 0 = it was the last one, which ended with the request
	failed answer.Reason // why another one was tried
}

// trying notes that m is tried now. Unless the request is timed, the clock is not
// asked: the first attempt began with the request, or when that had waited at began,
// each further one when the one before had failed.
func (q *Request) trying(m *member, began time.Time) {
	t := try{member: m, began: began.Sub(q.Began)}
	switch n := len(q.out.tries); {
	case q.Timed:
		t.began = time.Since(q.Began)
	case n > 0:
		t.began = max(t.began, q.out.tries[n-1].ended)
	}
	q.out.tries = append(q.out.tries, t)
	q.out.Tries++
}

// asked is the time of monotonic at which the attempt under way began.
func (q *Request) asked() time.Duration {
	return time.Duration(monotonic.Of(q.Began)) + q.out.tries[len(q.out.tries)-1].began
}

// missedBy notes why the attempt under way brought no answer, so that another one
// follows.
func (q *Request) missedBy(why answer.Reason) {
	t := &q.out.tries[len(q.out.tries)-1]
	t.ended, t.failed = time.Since(q.Began), why
}

// Attempts tells of the attempts of a request that is over after a time, in order.
func (o *Outcome) Attempts(took time.Duration) []answer.Attempt {
	if o.Published {
		return []answer.Attempt{{Began: o.asked, Ended: took, Bus: true, Instance: o.Service, Path: o.Target, Status: o.Status, Failed: o.Refusal.Reason}}
	}
	all := make([]answer.Attempt, 0, len(o.tries))
	for i := range o.tries {
		t := &o.tries[i]
		inst := t.member.inst
		a := answer.Attempt{
			Began: t.began, Ended: t.ended, TLS: inst.TLS || inst.Mesh != "", Instance: inst.ID, Address: inst.Address,
			Path: inst.BasePath + o.Target, Failed: t.failed,
		}
		if i == len(o.tries)-1 {
			if t.failed == answer.ReasonNone {
				a.Ended, a.Failed = took, o.Refusal.Reason
			}
			if t.member == o.member {
				a.Status = o.Status
			}
		}
		all = append(all, a)
	}
	return all
}
