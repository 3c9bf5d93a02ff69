package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"lictor/internal/crash"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/longlived"
)

// exchange is one request on its way through the gateway: what was received,
// decided, tried and answered.
type exchange struct {
	gw  *Gateway
	set *Settings
	c   *http1.Conn
	req *http1.RequestHead

	version string // of HTTP, that the client speaks

	began   time.Time
	id      string // request id
	idBytes [32]byte
	peer    netip.Addr // of the socket
	client  netip.Addr // behind trusted proxies
	trusted bool       // the peer is a trusted proxy
	hops    []hop      // of its Forwarded; nil if it sent none that is believed
	from    string     // where client was taken from
	inside  bool       // the client is in a trusted network

	path     uri.Path
	scratch  []byte // of path
	service  string // that the request was routed to, for logs; "" if none exists
	prefix   string // the segment that was stripped; "" if none
	target   string // the path that goes to the backend
	query    string // that goes to the backend, if the path has one
	group    *group
	waited   bool   // for the first answer about the service
	upgrade  string // the protocol to upgrade to, "" if none
	counted  bool   // the client counts who passes the request on
	forwards uint64 // how many may
	ruling   *ruling
	recorder *policy.Recorder // of the decision, nil if nobody asked for it
	edits    *edits           // by middleware, nil if none matched
	former   []*policy.Facts  // of decisions for services that middleware took it away from
	lasting  *longlived.Entry // among the answers that a policy change may cut; nil at first

	tries    []*member
	resent   bool // it was sent again because an instance said that it did not act on it
	busy     int  // how many of them had as many connections as they may
	triesArr [4]*member
	member   *member // that answered

	status   int
	reason   answer.Reason
	err      error         // for the log; never for the client
	upstream time.Duration // from the first attempt to the answer's head
	bytesOut int64

	onInterim func(*http1.ResponseHead)
}

var exchanges = sync.Pool{New: func() any {
	x := &exchange{ruling: new(ruling)}
	x.onInterim = x.interim
	return x
}}

// Serve is the life of a request (contract 4).
func (g *Gateway) Serve(c *http1.Conn) {
	x := g.open(c)
	defer x.finish()
	x.identify()
	x.nameRequest()
	if x.inside {
		x.askWhy()
	}
	if g.mark.Loops(x.req.Fields) {
		x.refuse(answer.RefuseLoop)
		return
	}
	if !x.read() || !x.route() {
		return
	}
	p, ok := x.decide()
	if ok && len(x.set.Middleware) > 0 {
		p, ok = x.pass(p)
	}
	if ok {
		x.dispatch(p)
	}
}

// Refuse answers a request whose head could not be read.
func (g *Gateway) Refuse(c *http1.Conn, err *http1.ParseError) {
	x := g.open(c)
	defer x.finish()
	x.client = x.peer
	x.nameRequest()
	x.err = err
	x.refuse(answer.Malformed(err))
}

func (g *Gateway) open(c *http1.Conn) *exchange {
	x := exchanges.Get().(*exchange)
	scratch, onInterim, ruling := x.scratch, x.onInterim, x.ruling
	*x = exchange{} // cleared in place: a literal with values would be built aside and copied
	x.gw, x.set, x.c, x.req, x.version = g, g.settings.Load(), c, c.Request(), c.Version()
	x.began, x.peer = time.Now(), c.RemoteAddr().Addr()
	x.scratch, x.onInterim, x.ruling = scratch, onInterim, ruling
	x.tries = x.triesArr[:0]
	x.ruling.verdict, x.ruling.route = policy.Verdict{}, policy.Route{} // not the last exchange's
	c.User = x
	return x
}

// read makes the one reading of the path that everything goes by (D22), and
// checks what can be known from the head alone. It answers if it is false.
func (x *exchange) read() bool {
	target := pathOf(x.req)
	var err error
	x.path, x.scratch, err = uri.ParsePath(target, x.scratch)
	if err != nil {
		x.err = err
		x.path.Received, _, _ = strings.Cut(target, "?") // for the log
		if target == "*" {
			return x.refuse(refuseNoService)
		}
		return x.refuse(refuseBadPath)
	}
	if x.path.TooOdd() {
		return x.refuse(refuseOddPath)
	}
	if x.set.MaxBody > 0 {
		if x.req.ContentLength > x.set.MaxBody {
			return x.refuse(answer.RefuseTooLarge)
		}
		x.c.LimitBody(x.set.MaxBody)
	}
	x.upgrade = upgradeOf(x.req)
	x.forwards, x.counted = hops.MaxForwards(x.req)
	return true
}

// finish counts and logs, for every request, and frees what it held.
func (x *exchange) finish() {
	if p := recover(); p != nil {
		x.crashed(p)
	}
	if x.lasting != nil {
		x.settleLasting()
	}
	took := time.Since(x.began)
	x.gw.metrics.count(x, took)
	if x.gw.access != nil || x.edits != nil {
		x.tell(took)
	}
	if x.recorder != nil {
		x.keepDecision()
	}
	if x.err != nil && x.gw.log.IsDebug() {
		x.gw.log.Debug("request failed", "request_id", x.id, "service", x.service, "status", x.status,
			"reason", string(x.reason), "tries", len(x.tries), "took_us", took.Microseconds(), "error", x.err)
	}
	x.c.User = nil
	clear(x.triesArr[:])
	x.c, x.req = nil, nil
	exchanges.Put(x)
}

// tell writes the lines of the access log, and those that middleware wants.
func (x *exchange) tell(took time.Duration) {
	l := answer.Line{
		Began: x.began, Took: took, ID: x.id, Client: x.client, Method: x.req.Method, Host: x.req.Host, Path: x.path.Received,
		Version: x.version, Status: x.status, Reason: x.reason, Service: x.service, Answered: x.upstream, Tries: len(x.tries),
		In: x.c.BodyBytes(), Out: x.bytesOut, Err: x.err,
	}
	if x.member != nil {
		l.Instance, l.Upstream = x.member.inst.ID, x.member.inst.Address
	}
	if x.gw.access.Combined() {
		l.Referer, _ = x.req.Get("Referer")
		l.Agent, _ = x.req.Get("User-Agent")
	}
	x.gw.access.Write(&l)
	if x.edits != nil {
		for _, name := range x.edits.recorded {
			x.gw.records.Record(name, &l)
		}
	}
}

// crashed keeps a fault in the handling of one request from ending all others.
func (x *exchange) crashed(p any) {
	crash.Tell("gateway request", p)
	x.c.Crash()
	x.status = 500
	x.err = fmt.Errorf("proxy: panic: %v", p)
	x.gw.log.Error("a request crashed", "request_id", x.id, "service", x.service, "panic", p)
}

// dispatch sends a request that may pass to its service.
func (x *exchange) dispatch(p pass) {
	if x.counted && x.forwards == 0 {
		x.answerHere()
		return
	}
	var r *roster
	onBus := x.gw.bus.carries(p.route)
	if !onBus {
		if r = x.locate(p); r == nil {
			return
		}
	}
	switch {
	case x.path.Climbs(x.target):
		x.refuse(refuseClimbing)
	case onBus:
		x.publish(p)
	default:
		x.forward(r)
	}
}

// forward sends the request to one member after the other until one answers.
// Another one is tried only where nothing can have been acted on.
func (x *exchange) forward(r *roster) {
	if err := x.c.PrepareBody(); err != nil {
		x.refuseBody(err)
		return
	}
	began := x.began
	if x.waited {
		began = time.Now()
	}
	for {
		m := x.pick(x.group, r)
		if m == nil {
			x.refuseTried()
			return
		}
		x.tries = append(x.tries, m)
		again := x.attempt(m, r, began)
		if !again {
			return
		}
		if len(x.tries)-x.busy > x.set.Retries {
			x.refuseTried()
			return
		}
		x.group.metrics.retries.Inc()
	}
}

// refuseTried answers a request that no member took.
func (x *exchange) refuseTried() {
	if x.busy == len(x.tries) && x.busy > 0 {
		x.refuse(refuseOverloaded)
		return
	}
	x.refuse(refuseUnreachable)
}

// attempt sends the request to m. It reports whether another member should be
// tried; else the request was answered.
func (x *exchange) attempt(m *member, r *roster, began time.Time) (again bool) {
	m.inflight.Add(1)
	defer m.inflight.Add(-1)
	timeout := r.service.Options.Timeout
	if timeout == 0 {
		timeout = x.set.Timeout
	}
	for fresh := false; ; fresh = true {
		rest := timeout
		if fresh || len(x.tries) > 1 {
			rest -= time.Since(began)
		}
		if rest <= 0 {
			return x.tooLate(fresh)
		}
		u, err := x.connect(m, r, fresh, min(rest, x.set.ConnectTimeout))
		if err != nil {
			x.unreachable(m, err, rest < x.set.ConnectTimeout)
			x.err = err
			return true
		}
		reused := u.Reused()
		f := x.c.RoundTrip(u, x.appendRequest(x.c.Scratch(), m, r), rest, x.onInterim)
		if f == nil {
			x.upstream = time.Since(began)
			m.worked(int64(began.Sub(processStart) + x.upstream))
			x.relay(m)
			return false
		}
		switch {
		case reused && f.Repeatable(x.req.Method):
			// A kept-alive connection that turns out dead says nothing about the
			// instance. Nothing was sent, or nothing that acts: once more, on a
			// new connection.
		case f.Kind == http1.Vanished:
			m.eject("it acknowledges nothing", nil)
			x.err = f.Err
			if f.Clean && http1.Safe(x.req.Method) {
				return true
			}
			x.refuse(refuseTimeout)
			return false
		case f.Kind == http1.Unprocessed && !x.resent:
			// It came to m, which says that it did not act on it. Once is believed.
			x.resent, x.err = true, f.Err
			if len(x.tries) < len(r.members) && len(x.tries)-x.busy <= x.set.Retries {
				return true
			}
		case f.Kind == http1.Unprocessed:
			x.err = f.Err
			x.refuse(refuseUnreachable)
			return false
		case f.Kind == http1.Stale: // it hung up before it was asked
			x.hungUp(m, f.Err)
			x.err = f.Err
			return true
		default:
			x.fail(m, f)
			return false
		}
	}
}

// tooLate answers when the time for an attempt was used up by those before it.
func (x *exchange) tooLate(sent bool) (again bool) {
	if sent {
		return x.refuse(refuseTimeout)
	}
	return x.refuse(refuseUnreachable)
}

// fail answers a request that reached m and brought no answer.
func (x *exchange) fail(m *member, f *http1.Failure) {
	x.err = f.Err
	switch f.Kind {
	case http1.TimedOut:
		m.silent(int64(x.began.Sub(processStart)))
		x.refuse(refuseTimeout)
	case http1.ClientLeft, http1.WasCut:
		x.refuse(answer.Left)
	case http1.BadBody:
		x.refuseBody(f.Err)
	default:
		x.refuse(refuseBadGateway)
	}
}

// refuseBody answers a request whose body cannot be read.
func (x *exchange) refuseBody(err error) {
	x.err = err
	x.c.Close()
	if errors.Is(err, errBusFull) {
		x.refuse(refuseBusFull)
		return
	}
	x.refuse(answer.BadBody(err))
}

// relay hands the answer of m on to the client.
func (x *exchange) relay(m *member) {
	x.member = m
	resp := x.c.Response()
	x.status = resp.Status
	if resp.Status == 101 {
		x.relayUpgrade()
		return
	}
	x.err = x.c.Relay(x.appendResponse(x.c.Scratch()))
	x.bytesOut = x.c.AnswerBytes()
}

// relayUpgrade turns both connections into a tunnel (D20).
func (x *exchange) relayUpgrade() {
	if to := x.c.Response().Upgrade; to == "" || !http1.HasToken(x.upgrade, to) {
		x.err = errors.New("proxy: 101 to a protocol that was not asked for")
		x.c.Abandon()
		x.refuse(refuseBadGateway)
		return
	}
	_, x.bytesOut, x.err = x.c.Tunnel(x.appendResponse(x.c.Scratch()))
}

// interim relays a 1xx answer at once. HTTP/1.0 knows none.
func (x *exchange) interim(resp *http1.ResponseHead) {
	if x.req.Minor == 0 {
		return
	}
	_ = x.c.WriteInterim(x.appendInterim(nil, resp)) // the answer itself will tell
}
