package upstream

import (
	"errors"
	"time"

	"lictor/admin/api"
	"lictor/internal/limits"
	"lictor/internal/monotonic"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// Send sends a request to where p permits, begins to relay the answer, and overwrites
// o with what became of it. It blocks until the answer is there, or there is none to
// be had; then o has the refusal, which the caller answers with. Without a permit to
// forward nothing is sent. [Request.Done] is to be called once the exchange is over.
func (s *Sender) Send(p policy.Permit, q *Request, o *Outcome) {
	q.begin(s, p, o, false)
	if !p.Forwards() {
		q.refuse(refuseForbidden)
		return
	}
	if s.bus.Carries(p.Service(), p.Backends()) {
		if !q.climbs() {
			q.publish()
		}
		return
	}
	q.send(&p)
	if q.came != nil && o.Refusal.Reason == answer.Unreachable {
		q.refuse(*q.came)
	}
}

// send sends the request to a member, as soon as one takes it, or refuses it.
func (q *Request) send(p *policy.Permit) {
	for again := true; again; again = q.hold(p) {
		switch r, refused := q.locate(p); {
		case refused != nil:
			q.refuse(*refused)
		case q.climbs() || !q.forward(r):
			return
		}
	}
}

// Preview says where a request would go that was let pass, by the steps that send
// one: it waits for services to be loaded, but opens no connection and uses up
// nothing. o has the path and the refusal, if there is one.
func (s *Sender) Preview(p policy.Permit, q *Request, o *Outcome) *api.DispatchFact {
	q.begin(s, p, o, true)
	d := &api.DispatchFact{Kind: s.Kind(&p), Instances: []api.InstanceFact{}}
	if !p.Looks() {
		q.refuse(refuseForbidden)
		return nil
	}
	if d.Kind != kindHTTP {
		q.climbs()
		return d
	}
	r, refused := q.locate(&p)
	switch {
	case refused != nil:
		q.refuse(*refused)
	case q.climbs():
		return d
	}
	if r == nil {
		return d
	}
	q.intention(r, d)
	next := q.pick(r)
	for _, i := range r.service.Instances {
		f := factOf(i, next != nil && next.inst == i)
		if e := r.ejectionOf(i); e != nil {
			f.State, f.Note = "ejected", e.Note()
		}
		d.Instances = append(d.Instances, f)
	}
	return d
}

// Kinds of ways to a backend, as explanations call them.
const (
	kindHTTP = "http"
	kindBus  = "rabbitmq"
)

// Kind is the way that a request would go.
func (s *Sender) Kind(p *policy.Permit) string {
	if s.bus.Carries(p.Service(), p.Backends()) {
		return kindBus
	}
	return kindHTTP
}

// climbs refuses a path that may lead above the root of its service.
func (q *Request) climbs() bool {
	if !q.Path.Climbs(q.out.Target) {
		return false
	}
	q.refuse(refuseClimbing)
	return true
}

// forward sends the request to one member after the other until one answers.
// Another one is tried only where nothing can have been acted on. It reports
// whether none took it; then the request is refused, but may be tried again.
func (q *Request) forward(r *roster) (nobody bool) {
	if !q.prepared {
		if err := q.Conn.PrepareBody(); err != nil {
			q.refuseBody(err)
			return false
		}
		q.prepared = true
	}
	began := q.Began
	if q.waited {
		began = time.Now()
		q.out.Waited = began.Sub(q.Began)
	}
	for {
		var m *member
		if q.full = false; q.tries()-q.busy <= q.Settings.Retries {
			m = q.pick(r)
		}
		if m == nil {
			if r = q.elsewhere(r); r == nil {
				q.refuseTried()
				return true
			}
			continue
		}
		if len(q.out.tries) > 0 {
			q.group.metrics.retries.Add(1)
		}
		q.trying(m, began)
		if again := q.attempt(m, r, began); !again {
			return false
		}
	}
}

// tries is how many members were tried of this site, since the request waited.
func (q *Request) tries() int { return len(q.out.tries) - q.former }

// others reports whether another member of r may be tried.
func (q *Request) others(r *roster) bool {
	return q.tries() < q.choices(r) && q.tries()-q.busy <= q.Settings.Retries
}

// refuseTried refuses a request that no member took.
func (q *Request) refuseTried() {
	if q.full {
		limits.Hit("max_requests_per_instance")
	}
	if q.full || q.busy == q.tries() && q.busy > 0 {
		q.refuse(refuseOverloaded)
		return
	}
	q.refuse(refuseUnreachable)
}

// attempt sends the request to m. It reports whether another member should be
// tried; else there is an answer, or a refusal.
func (q *Request) attempt(m *member, r *roster, began time.Time) (again bool) {
	if q.barred(m) {
		return false
	}
	if !q.enter(m) {
		q.busy++
		q.missedBy(Overloaded)
		return true
	}
	defer q.leave(m)
	timeout := r.service.Options.Timeout
	if timeout == 0 {
		timeout = q.Settings.Timeout
	}
	for fresh := false; ; fresh = true {
		rest := timeout
		if fresh || len(q.out.tries) > 1 {
			rest -= time.Since(began)
		}
		if rest <= 0 {
			q.refuseLate(fresh)
			return false
		}
		u, err := q.connect(m, r, fresh || q.anew, min(rest, q.Settings.ConnectTimeout))
		if err != nil && q.forbidden(m, err) {
			return false
		}
		if err != nil {
			q.unreachable(m, err, rest < q.Settings.ConnectTimeout)
			q.out.Err = err
			q.missedBy(answer.Unreachable)
			return true
		}
		reused := u.Reused()
		f := q.Conn.RoundTrip(u, q.appendRequest(q.Conn.Scratch(), m, r), rest, q.onInterim)
		if f == nil {
			q.out.Answered = time.Since(began)
			at := time.Duration(monotonic.Of(began)) + q.out.Answered
			m.worked(int64(at))
			m.latencies.note(at-q.asked(), int64(at))
			q.judge(m, r, q.Conn.Response().Status)
			q.relay(m)
			return false
		}
		if reused && f.Kind == http1.Stale {
			continue // nothing was sent, and it says nothing of m
		}
		if cutOff(f, reused) && q.forbidden(m, f.Err) {
			return false
		}
		switch q.failed(m, r, f, reused) {
		case another:
			q.missedBy(missReason(f))
			return true
		case gaveUp:
			return false
		}
	}
}

// verdict is what comes of an attempt that brought no answer.
type verdict uint8

const (
	gaveUp   verdict = iota
	another          // member is tried
	onceMore         // the same one is, by a new connection
)

// missReason is why an attempt brought no answer, after which another one may follow.
func missReason(f *http1.Failure) answer.Reason {
	switch f.Kind {
	case http1.Vanished:
		return answer.Timeout
	case http1.Broken:
		return answer.BadGateway
	}
	return answer.Unreachable // nothing acted on it
}

// brokeOff says what comes of a request that only reads and broke off before any answer.
// It may be what m fell over, so it is sent once more, and no third time: to somebody
// else, or when m takes connections again, if requests may wait for that; else to m, if
// its connection had served before. One that is dying may take another one.
func (q *Request) brokeOff(r *roster, reused bool) verdict {
	switch {
	case q.resent:
		return gaveUp
	case q.others(r) || q.hasOtherSite():
		q.resent = true
		return another
	case q.mayWait():
		q.resent, q.owed, q.anew = true, reused, reused
		return another
	case reused:
		q.resent = true
		return onceMore
	}
	return gaveUp
}

// failed says what comes of an attempt that failed by f; reused says that its connection
// had served before.
func (q *Request) failed(m *member, r *roster, f *http1.Failure, reused bool) verdict {
	q.out.Err = f.Err
	if f.Kind == http1.Broken && f.Clean && http1.Safe(q.Head.Method) {
		if v := q.brokeOff(r, reused); v != gaveUp {
			q.came = &refuseBadGateway
			return v
		}
	}
	switch {
	case f.Kind == http1.Vanished:
		m.eject("it acknowledges nothing", nil)
		if f.Clean && http1.Safe(q.Head.Method) {
			q.came = &refuseTimeout
			return another
		}
		q.refuse(refuseTimeout)
	case f.Kind == http1.Unprocessed && !q.resent:
		// It came to m, which says that it did not act on it. Once is believed.
		q.resent = true
		if q.others(r) {
			return another
		}
		return onceMore
	case f.Kind == http1.Unprocessed:
		q.refuse(refuseUnreachable)
	case f.Kind == http1.Stale: // it hung up before it was asked
		q.hungUp(m, f.Err)
		return another
	case f.Kind == http1.TimedOut:
		m.silent(monotonic.Of(q.Began))
		now := monotonic.Now()
		m.latencies.note(time.Duration(now)-q.asked(), now)
		q.refuse(refuseTimeout)
	case f.Kind == http1.ClientLeft, f.Kind == http1.WasCut:
		q.refuse(answer.Left)
	case f.Kind == http1.BadBody:
		q.refuseBody(f.Err)
	default:
		q.refuse(refuseBadGateway)
	}
	return gaveUp
}

// refuseLate refuses a request whose time was used up by former attempts.
func (q *Request) refuseLate(sent bool) {
	if sent {
		q.refuse(refuseTimeout)
		return
	}
	q.refuse(refuseUnreachable)
}

// refuseBody refuses a request whose body cannot be read.
func (q *Request) refuseBody(err error) {
	q.out.Err = err
	q.Conn.Close()
	if errors.Is(err, errBusFull) {
		q.refuse(refuseBusFull)
		return
	}
	q.refuse(answer.BadBody(err))
}

// relay hands the answer of m on to the client.
func (q *Request) relay(m *member) {
	o := q.out
	o.member, o.Instance = m, m.inst
	resp := q.Conn.Response()
	o.Status = resp.Status
	if resp.Status == 101 {
		q.relayUpgrade(resp.Upgrade)
		return
	}
	q.relays = true
	q.Conn.Relay(q.appendResponse(q.Conn.Scratch()))
}

// Done takes over what became of an answer that was relayed, ends what lasted as long
// as that did, and reports whether there was one.
func (q *Request) Done() bool {
	if !q.relays {
		return false
	}
	q.relays = false
	q.leave(q.out.member)
	_, q.out.Out, q.out.Err = q.Conn.Ended()
	return true
}

// relayUpgrade turns both connections into a tunnel (D20).
func (q *Request) relayUpgrade(to string) {
	if to == "" || !message.HasToken(q.Upgrade, to) {
		q.out.Err = errors.New("proxy: 101 to a protocol that was not asked for")
		q.Conn.Abandon()
		q.refuse(refuseBadGateway)
		return
	}
	q.relays = true
	q.Conn.Tunnel(q.appendResponse(q.Conn.Scratch()))
}

// interim relays a 1xx answer at once. HTTP/1.0 knows none.
func (q *Request) interim(resp *message.ResponseHead) {
	if q.Head.Minor == 0 {
		return
	}
	_ = q.Conn.WriteInterim(q.appendInterim(nil, resp)) // the answer itself will tell
}
