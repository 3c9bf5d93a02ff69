package egress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"lictor/internal/crash"
	"lictor/internal/trace"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/proxy/longlived"
)

// exchange is one request on its way through the egress: what was received,
// decided, dialled and answered.
type exchange struct {
	p   *Proxy
	c   *http1.Conn
	req *message.RequestHead

	began    time.Time
	id       string // request id
	idBytes  [32]byte
	scratch  scratch
	target   target
	inquiry  inquiry
	counted  bool             // Max-Forwards bounds who may pass the request on
	forwards uint64           // how many proxies still may
	dialled  netip.AddrPort   // the address that was connected to
	reached  *member          // the connections to dialled
	lasting  *longlived.Entry // nil unless it takes long
	passed   bool             // nothing refused it before it was sent
	slot     bool             // it has one of the tunnels
	relays   bool             // an answer is relayed, or the tunnel stands
	place    trace.Place
	goesOn   bool // the trace of place is one that the client began

	status   int
	answered int            // status of the target's answer; 0 = there was none
	refused  answer.Refusal // by us; zero if the target answered
	err      error          // for the log; never for the client
	connect  time.Duration  // what connecting took
	sent     time.Duration  // since it began, when it was let go; 0 = it was not
	head     time.Duration  // since it began, when the target's answer began; 0 = there was none, or nobody asks
	in, out  int64          // bytes of the bodies or the tunnel

	onInterim func(*message.ResponseHead)
}

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.onInterim = x.interim
	return x
}}

// Serve implements [http1.Handler]: it is the life of a request until its answer
// begins. Done is the rest.
func (p *Proxy) Serve(c *http1.Conn) {
	x := p.open(c)
	defer x.contain()
	pm, ok := x.decide()
	x.passed = ok
	switch {
	case !ok:
	case x.target.tunnel:
		x.tunnel(pm)
	case x.counted && x.forwards == 0:
		x.answerHere()
	default:
		x.forward(pm)
	}
}

// Done implements [http1.Handler]: what Serve began is over.
func (p *Proxy) Done(c *http1.Conn) {
	if x, ok := c.User.(*exchange); ok {
		x.finish()
	}
}

// contain is deferred by Serve.
func (x *exchange) contain() {
	if p := recover(); p != nil {
		x.crashed(p)
	}
}

// Refuse implements [http1.Handler]: it answers a request whose head could not be
// read.
func (p *Proxy) Refuse(c *http1.Conn, err *message.ParseError) {
	x := p.open(c)
	defer x.finish()
	defer x.contain()
	x.err = err
	r := answer.Malformed(err)
	if err.Status == 400 {
		r.Reason = badTarget
	}
	x.refuse(r)
}

func (p *Proxy) open(c *http1.Conn) *exchange {
	x := exchanges.Get().(*exchange)
	x.p, x.c, x.req, x.began = p, c, c.Request(), time.Now()
	answer.AppendHex(x.idBytes[:0], rand.Uint64(), rand.Uint64())
	x.id = unsafe.String(&x.idBytes[0], len(x.idBytes))
	x.goesOn = p.traces.Join(&x.place, x.req.Fields, p.settings.Load().believes(c.RemoteAddr().Addr()))
	c.User = x
	return x
}

// decide reads the target and checks it. It answers if it may not be reached.
func (x *exchange) decide() (policy.Permit, bool) {
	if !x.p.settings.Load().serves(x.c.RemoteAddr().Addr()) {
		return policy.Permit{}, x.refuse(refuseClient)
	}
	if x.p.mark.Loops(x.req.Fields) {
		return policy.Permit{}, x.refuse(answer.RefuseLoop)
	}
	var err error
	if x.target, err = parseTarget(x.req, &x.scratch); err != nil {
		x.err = err
		return policy.Permit{}, x.refuse(refuseTarget(err))
	}
	x.forwards, x.counted = hops.MaxForwards(x.req)
	q := &x.inquiry
	q.begin(x.p.basis(), &x.target, x.req.Method, readCredentials(x.req), nil)
	pm, r := q.run(context.Background(), x.p.lookup)
	for q.era != x.p.era.Load() && r.Status == 0 { // the policy changed while the name was looked up
		q.setBasis(x.p.basis())
		pm, r = q.recheck()
	}
	x.logReported()
	if r.Status != 0 {
		return policy.Permit{}, x.refuse(r)
	}
	return pm, true
}

// finish counts and logs every request, also one that panicked, and frees what it
// held.
func (x *exchange) finish() {
	if x.relays {
		x.relayed()
	}
	if x.slot {
		x.p.slots.giveBack(x.c.RemoteAddr().Addr())
	}
	if x.lasting != nil {
		x.endLasting()
	}
	took := time.Since(x.began)
	x.p.metrics.count(x, took)
	x.writeLine(took, x.keepsTrace())
	x.logDecision(took)
	x.c.User = nil
	q := &x.inquiry
	q.basis, q.target, q.creds, q.credential, q.addrs = basis{}, nil, credentials{}, "", nil
	q.dst, q.verdict = policy.Destination{}, policy.Verdict{}
	*x = exchange{scratch: x.scratch, inquiry: *q, onInterim: x.onInterim}
	exchanges.Put(x)
}

// crashed ends a request whose handling panicked with p.
func (x *exchange) crashed(p any) {
	crash.Tell("egress request", p)
	x.c.Crash()
	x.status, x.refused = 500, answer.Refusal{}
	x.err = fmt.Errorf("egress: panic: %v", p)
	x.p.log.Error("a request crashed", "request_id", x.id, "host", x.target.host, "panic", p)
}

// forward sends the request to the target and relays its answer.
func (x *exchange) forward(pm policy.Permit) {
	if err := x.c.PrepareBody(); err != nil {
		x.refuseBody(err)
		return
	}
	began := time.Now()
	x.sent = began.Sub(x.began)
	timeout := x.inquiry.settings.Timeout
	for fresh := false; ; fresh = true {
		u, err := x.upstream(pm, fresh, min(timeout-time.Since(began), x.inquiry.settings.ConnectTimeout))
		if err != nil {
			x.err = err
			x.refuse(refuseDial(err))
			return
		}
		x.connect = time.Since(began)
		reused := u.Reused()
		f := x.c.RoundTrip(u, x.appendRequest(x.c.Scratch()), timeout-time.Since(began), x.onInterim)
		if f == nil {
			if x.p.traces != nil {
				x.head = time.Since(x.began)
			}
			x.relay()
			return
		}
		if f.Kind == http1.Vanished {
			x.reached.down.Store(time.Now().Add(downTime).UnixNano())
		}
		if !reused || !x.mayRepeat(f) {
			x.fail(f)
			return
		}
	}
}

// mayRepeat reports whether a request whose kept-alive connection turned out
// dead can be sent once more, on a new one.
func (x *exchange) mayRepeat(f *http1.Failure) bool {
	return f.Repeatable(x.req.Method) || f.Kind == http1.Vanished && f.Clean && http1.Safe(x.req.Method)
}

// upstream returns a connection to an address of the permit.
func (x *exchange) upstream(pm policy.Permit, fresh bool, budget time.Duration) (u *http1.Upstream, err error) {
	err = x.tryEach(pm, budget, func(m *member, _ netip.AddrPort, patience time.Duration) (err error) {
		if fresh {
			u, err = m.Fresh(patience)
		} else {
			u, err = m.Get(x.c, patience)
		}
		return err
	})
	return u, err
}

// refuseDial is the refusal when no address could be connected to: refused, or
// a broken TLS handshake.
func refuseDial(err error) answer.Refusal {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" || errors.Is(err, context.DeadlineExceeded) {
		return refuseUnreachable
	}
	return refuseBadGateway
}

// fail answers a request that reached the target and brought no answer.
func (x *exchange) fail(f *http1.Failure) {
	x.err = f.Err
	switch f.Kind {
	case http1.TimedOut, http1.Vanished:
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
	x.refuse(answer.BadBody(err))
}

// relay hands the answer on to the client.
func (x *exchange) relay() {
	x.answered = x.c.Response().Status
	x.status = x.answered
	if x.status == 101 { // no Upgrade was sent (A13)
		x.err = errors.New("egress: 101 without an Upgrade request")
		x.c.Abandon()
		x.refuse(refuseBadGateway)
		return
	}
	x.relays = true
	x.c.Relay(x.appendResponse(x.c.Scratch()))
}

// relayed takes over what became of an answer, or a tunnel.
func (x *exchange) relayed() {
	up, down, err := x.c.Ended()
	if x.in, x.out = up, down; !x.target.tunnel {
		x.in = x.c.BodyBytes()
	}
	x.err = cmp.Or(x.err, err)
}

// interim relays a 1xx answer at once. HTTP/1.0 knows none.
func (x *exchange) interim(resp *message.ResponseHead) {
	if x.req.Minor > 0 {
		_ = x.c.WriteInterim(x.appendInterim(nil, resp)) // the answer itself will tell
	}
}
