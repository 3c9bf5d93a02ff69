package upstream

import "cmp"

// care takes over how carefully the instances of r are to be treated: by the
// service's own word, else by the settings.
func (q *Request) care(r *roster) {
	own, set := &r.service.Options, q.Settings
	q.most = int64(cmp.Or(own.MaxRequests, set.MaxRequests))
	q.slow = int64(cmp.Or(own.SlowStart, set.SlowStart))
}

// open reports whether m may be chosen now.
func (q *Request) open(m *member) bool {
	if q.tried(m) || !m.ready() {
		return false
	}
	if q.most > 0 && m.inflight.Load() >= q.most {
		q.full = true
		return false
	}
	return true
}

// enter counts q among what is under way at m. It reports false if others were
// quicker to take the last place.
func (q *Request) enter(m *member) bool {
	if n := m.inflight.Add(1); q.most > 0 && n > q.most {
		m.inflight.Add(-1)
		return false
	}
	if e := m.ejection.Load(); e != nil {
		q.trial = e.take()
	}
	return true
}

// leave ends what enter began, unless an answer is being relayed: then Done does. A
// trial that found out nothing is left to the next request.
func (q *Request) leave(m *member) {
	if q.relays {
		return
	}
	m.inflight.Add(-1)
	if q.trial != nil {
		q.trial.giveBack()
		q.trial = nil
	}
}
