package gateway

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/crash"
	"lictor/internal/limits"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// Bounds of what is asked of authorities (P3), and of what is kept of their answers.
const (
	maxQuestions    = 1024     // under way in all
	maxQuestionsOne = 256      // of one plugin, so that a slow authority leaves room for others
	maxAuthorBody   = 64 << 10 // bytes of an answer
	maxRemembered   = 10_000   // answers
	maxRememberedIn = 8 << 20  // bytes of their fields
	maxRememberedOf = 8 << 10  // of one answer; one with more is not remembered
	warnEvery       = 10 * time.Second
)

// authorities is what is asked of authorities, and what is remembered of what they
// said. It belongs to no request: one that leaves ends nobody's question.
type authorities struct {
	send    func(q *question) (*http1.Fetched, error)
	log     hclog.Logger
	asked   *prometheus.CounterVec
	seconds prometheus.Histogram

	mu      sync.Mutex // guards what follows
	flights map[[32]byte]*flight
	under   map[*policy.ForwardAuth]int // questions under way
	all     int                         // of them
	known   map[[32]byte]remembered
	bytes   int // of known
	warned  time.Time
}

// remembered is a yes that still stands.
type remembered struct {
	of     *policy.ForwardAuth
	until  time.Time
	fields []message.Field // for the backend
	size   int
}

// flight is a question under way, for all who have the very same one.
type flight struct {
	done  chan struct{}
	reply *http1.Fetched // nil: none came. Not changed once done is closed
	err   error
}

// Outcomes of questions, as the metric has them.
const (
	askAllowed    = "allowed"
	askRefused    = "refused"
	askFailed     = "failed"
	askRemembered = "remembered"
)

func newAuthorities(log hclog.Logger, r prometheus.Registerer) *authorities {
	a := &authorities{
		log: log, flights: make(map[[32]byte]*flight), under: make(map[*policy.ForwardAuth]int), known: make(map[[32]byte]remembered),
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lictor_forward_auth_total", Help: "Requests that an authority had a say in, by what came of it."}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "lictor_forward_auth_duration_seconds", Help: "Time that authorities took to answer, or not to.", Buckets: answer.Buckets[:]}),
	}
	for _, outcome := range []string{askAllowed, askRefused, askFailed, askRemembered} {
		a.asked.WithLabelValues(outcome) // is there from the start
	}
	if r != nil {
		r.MustRegister(a.asked, a.seconds)
	}
	return a
}

// recall returns the fields of a yes that still stands.
func (a *authorities) recall(q *question, now time.Time) ([]message.Field, bool) {
	if !q.remembers {
		return nil, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.known[q.key]
	if !ok || k.of != q.ask.ForwardAuth || !now.Before(k.until) {
		return nil, false
	}
	return k.fields, true
}

// join returns the flight of a question, and whether it is the caller's to fly; nil
// if there is no room for it. A question that is put alone shares none.
func (a *authorities) join(q *question, alone bool) (f *flight, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.flights[q.same]; f != nil && !alone {
		return f, false
	}
	if a.all >= maxQuestions || a.under[q.ask.ForwardAuth] >= maxQuestionsOne {
		limits.Hit("forward_auth")
		return nil, false
	}
	f = &flight{done: make(chan struct{}), err: errUnasked} // which stands if asking panics
	if !alone {
		a.flights[q.same] = f
	}
	a.all++
	a.under[q.ask.ForwardAuth]++
	return f, true
}

// fly asks, and tells all who wait for f.
func (a *authorities) fly(q *question, f *flight) {
	crash.Go("forward-auth", func() {
		defer a.land(q, f)
		began := time.Now()
		f.reply, f.err = a.send(q)
		a.seconds.Observe(time.Since(began).Seconds())
		if f.err != nil {
			a.warn(q.ask, f.err, began)
		}
	}, nil)
}

// land ends a flight, whatever became of it.
func (a *authorities) land(q *question, f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if a.under[q.ask.ForwardAuth]--; a.under[q.ask.ForwardAuth] == 0 {
		delete(a.under, q.ask.ForwardAuth)
	}
	if a.flights[q.same] == f {
		delete(a.flights, q.same)
	}
	close(f.done)
}

// remember keeps a yes, in memory of its own.
func (a *authorities) remember(q *question, fields []message.Field, now time.Time) {
	k := remembered{of: q.ask.ForwardAuth, until: now.Add(q.ask.Cache), fields: own(fields)}
	for _, f := range fields {
		k.size += len(f.Name) + len(f.Value) + 64
	}
	if k.size > maxRememberedOf {
		limits.Hit("forward_auth_cache")
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(q.key)
	for key := range a.known { // in no order that anybody could choose
		if len(a.known) < maxRemembered && a.bytes+k.size <= maxRememberedIn {
			break
		}
		limits.Hit("forward_auth_cache")
		a.forget(key)
	}
	a.known[q.key] = k
	a.bytes += k.size
}

// forget drops what is remembered under a key. a.mu is held.
func (a *authorities) forget(key [32]byte) {
	a.bytes -= a.known[key].size
	delete(a.known, key)
}

// sweep drops what does not stand any more.
func (a *authorities) sweep(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, k := range a.known {
		if !now.Before(k.until) {
			a.forget(key)
		}
	}
}

// warn tells that an authority does not answer, now and then.
func (a *authorities) warn(ask *policy.Ask, err error, now time.Time) {
	a.mu.Lock()
	due := now.Sub(a.warned) >= warnEvery
	if due {
		a.warned = now
	}
	a.mu.Unlock()
	if due {
		a.log.Warn("an authority does not answer", "authority", ask.Where(), "rule", ask.Rule.Key, "error", err)
	}
}
