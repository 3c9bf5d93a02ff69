package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"lictor/internal/monotonic"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// Question is a GET of lictor's own. All fields but Host are required.
type Question struct {
	Settings *Settings
	Target   string        // path and query, behind the base path of the instance
	Host     string        // "" = the instance's address
	Fields   []byte        // header fields, each with its CRLF, but for Host
	Client   netip.Addr    // whom it is about, for the balance "hash"
	Timeout  time.Duration // to the end of the answer
	MaxBody  int           // bytes that the answer may have
}

var (
	errAskBus   = errors.New("upstream: a service on the bus cannot be asked")
	errAskProxy = errors.New("upstream: the service wants the PROXY protocol, for which a question has no client")
	errAskLate  = errors.New("upstream: no time is left for the question")
)

// Ask sends a question to where p permits and returns the whole answer. It goes to
// an instance as requests do: balanced, by the connections of all, to another one
// where this one cannot be reached. It blocks for the timeout at most, but for a
// service that nobody asked for yet, which has to be loaded first.
func (s *Sender) Ask(p policy.Permit, ask *Question) (*http1.Fetched, error) {
	var o Outcome
	q := &Request{Settings: ask.Settings, Head: askHead, Path: &uri.Path{}, Began: time.Now(), Client: ask.Client}
	q.begin(s, p, &o, false)
	switch {
	case !p.Asks():
		return nil, errors.New(refuseForbidden.Message)
	case s.bus.Carries(p.Service(), p.Backends()):
		return nil, errAskBus
	}
	r, refused := q.locate(&p)
	for ; refused == nil && r != nil; r = q.elsewhere(r) {
		for m := q.pick(r); m != nil && q.tries() <= q.Settings.Retries; m = q.pick(r) {
			o.tries = append(o.tries, try{member: m})
			reply, again, err := q.askMember(m, r, ask)
			if !again {
				return reply, err
			}
			o.Err = err
		}
	}
	return nil, unanswered(&o, refused)
}

var askHead = &message.RequestHead{Method: "GET"}

// unanswered says why nobody was asked.
func unanswered(o *Outcome, refused *answer.Refusal) error {
	switch {
	case refused != nil:
		return errors.New("upstream: " + refused.Message)
	case o.Err != nil:
		return o.Err
	}
	return errors.New("upstream: " + refuseNoHealthy.Message)
}

// askMember asks m. It reports whether another one should be tried.
func (q *Request) askMember(m *member, r *roster, ask *Question) (reply *http1.Fetched, again bool, err error) {
	if q.barred(m) {
		return nil, false, errors.New("upstream: " + refuseIntention.Message)
	}
	if r.service.Options.SendProxy > 0 {
		return nil, false, errAskProxy
	}
	if !q.enter(m) {
		return nil, true, socket.ErrBusy
	}
	defer q.leave(m)
	for fresh := false; ; fresh = true {
		rest := ask.Timeout - time.Since(q.Began)
		if rest <= 0 {
			return nil, false, errAskLate
		}
		u, err := q.askBy(m, fresh, min(rest, q.Settings.ConnectTimeout))
		if err != nil {
			if !q.forbidden(m, err) {
				q.unreachable(m, err, rest < q.Settings.ConnectTimeout)
			}
			return nil, true, err
		}
		reused := u.Reused()
		reply, f := u.Fetch(ask.head(m), ask.Timeout-time.Since(q.Began), ask.MaxBody)
		if f == nil {
			m.worked(monotonic.Now())
			q.judge(m, r, reply.Status)
			return reply, false, nil
		}
		if reused && (f.Kind == http1.Stale || f.Repeatable("GET") && !q.resent) {
			q.resent = q.resent || f.Kind == http1.Broken
			continue
		}
		return nil, q.askFailed(m, f, reused), f.Err
	}
}

// askBy takes a connection to m, or makes one.
func (q *Request) askBy(m *member, fresh bool, timeout time.Duration) (*http1.Upstream, error) {
	switch {
	case q.byHTTP2(m):
		return m.h2.get(fresh).Get(nil, timeout)
	case fresh:
		return m.pool.Fresh(timeout)
	}
	return m.pool.Get(nil, timeout)
}

// askFailed sees to what a failure says of m, and reports whether another member
// should be asked: a question only reads, so it may be asked twice.
func (q *Request) askFailed(m *member, f *http1.Failure, reused bool) bool {
	if cutOff(f, reused) && q.forbidden(m, f.Err) {
		return false
	}
	switch f.Kind {
	case http1.Vanished:
		m.eject("it acknowledges nothing", nil)
	case http1.Stale:
		q.hungUp(m, f.Err)
	case http1.TimedOut:
		m.silent(monotonic.Of(q.Began))
		return false
	case http1.Broken:
		once := f.Clean && !q.resent
		q.resent = true
		return once
	}
	return true
}

// head is the question as m gets it.
func (ask *Question) head(m *member) []byte {
	host := ask.Host
	if host == "" {
		host = hostOf(m)
	}
	head := fmt.Appendf(make([]byte, 0, len(ask.Fields)+len(ask.Target)+256), "GET %s%s HTTP/1.1\r\nHost: %s\r\n", m.inst.BasePath, ask.Target, host)
	return append(append(head, ask.Fields...), "\r\n"...)
}
