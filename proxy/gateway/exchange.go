package gateway

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"lictor/internal/crash"
	"lictor/internal/trace"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/proxy/longlived"
	"lictor/proxy/upstream"
)

// exchange is one request on its way through the gateway. Four things hand over
// to each other, and none reaches back: inbound is what came; the decision makes
// a permit or a refusal of it; a Sender of package upstream takes the permit; the
// outcome is what became of it, which logs and metrics read.
type exchange struct {
	gw       *Gateway
	in       inbound
	decision *decision
	outgoing *upstream.Request
	outcome  upstream.Outcome
	lasting  *longlived.Entry // among what a policy change may cut; nil at first
	cutBy    *policy.Set      // that did; nil if none did
	passed   bool             // nothing that was asked refused it

	status   int
	reason   answer.Reason
	rule     policy.Rule // that refused, for the log
	plugin   string      // that refused, for the log
	err      error       // for the log; never for the client
	bytesOut int64
}

var exchanges = sync.Pool{New: func() any {
	return &exchange{decision: new(decision), outgoing: new(upstream.Request)}
}}

// Serve is the life of a request (contract 4).
func (g *Gateway) Serve(c *http1.Conn) {
	x := g.open(c)
	defer x.contain()
	x.in.identify()
	x.in.nameRequest()
	x.in.joinTrace(g.traces)
	if x.in.inside {
		x.askWhy()
	}
	if g.mark.Loops(x.in.req.Fields) {
		x.refuse(answer.RefuseLoop)
		return
	}
	refused := x.decide()
	if refused.Status == 0 {
		refused = x.askAuthorities()
	}
	switch {
	case refused.Status != 0:
		x.refuse(refused)
	case x.in.counted && x.in.forwards == 0:
		x.passed = true
		x.answerHere()
	default:
		x.passed = true
		x.send()
	}
}

// Done ends a request that Serve served. It is a step of its own, for an answer may
// take long, and nothing shall lie on the stack meanwhile.
func (g *Gateway) Done(c *http1.Conn) {
	if x, ok := c.User.(*exchange); ok {
		x.finish()
	}
}

// contain is deferred by Serve. Of a request that lasts it gives back what nobody
// needs until it is over.
func (x *exchange) contain() {
	if p := recover(); p != nil {
		x.crashed(p)
	}
	if x.lasting != nil && x.gw.decided == nil {
		x.decision.giveBack()
	}
}

// Refuse answers a request whose head could not be read.
func (g *Gateway) Refuse(c *http1.Conn, err *message.ParseError) {
	x := g.open(c)
	defer x.finish()
	defer x.contain()
	x.in.client = x.in.peer
	x.in.nameRequest()
	x.in.joinTrace(g.traces)
	x.refuse(answer.Malformed(err))
}

func (g *Gateway) open(c *http1.Conn) *exchange {
	x := exchanges.Get().(*exchange)
	scratch, decision, outgoing := x.in.scratch, x.decision, x.outgoing
	*x = exchange{} // cleared in place: a literal with values would be built aside and copied
	x.gw, x.decision, x.outgoing = g, decision, outgoing
	in := &x.in
	in.set, in.c, in.req, in.version, in.scratch = g.settings.Load(), c, c.Request(), c.Version(), scratch
	in.listener = c.Listener()
	in.proxies = in.set.proxies(in.listener)
	in.began, in.peer = time.Now(), c.RemoteAddr().Addr()
	decision.reset(g, in)
	c.User = x
	return x
}

// decide is the way from the head to a permit, the same for traffic and for an
// explanation. It returns the refusal, the zero one if there is a permit.
func (x *exchange) decide() answer.Refusal {
	if r := x.in.read(); r.Status != 0 {
		return r
	}
	return x.decision.run()
}

// send has the request sent to where it is permitted.
func (x *exchange) send() {
	x.in.c.LimitBody(x.decision.most)
	x.decision.rest()
	x.gw.upstream.Send(x.decision.permit, x.toSend(), &x.outcome)
	o := &x.outcome
	x.status, x.bytesOut, x.err = o.Status, o.Out, o.Err
	if o.Refusal.Status != 0 {
		x.refuse(o.Refusal)
	}
}

// toSend is the request as package upstream takes it.
func (x *exchange) toSend() *upstream.Request {
	in, q := &x.in, x.outgoing
	q.Exchange, q.Settings, q.Conn, q.Head = x, &in.set.Settings, in.c, in.req
	q.Began, q.Client, q.Path, q.Stripped = in.began, in.client, x.decision.sends, x.decision.route.Stripped
	q.Canary = x.decision.canary
	q.Query, q.Upgrade, q.MaxBody, q.Header = x.decision.query, in.upgrade, x.decision.most, in.set.Header
	q.Timed = in.traced && in.place.Sampled || len(x.decision.asks) > 0 // an authority may have taken its time
	return q
}

// finish counts and logs, for every request, and frees what it held.
func (x *exchange) finish() {
	if x.outgoing.Done() {
		x.bytesOut, x.err = x.outcome.Out, cmp.Or(x.err, x.outcome.Err)
	}
	if x.lasting != nil {
		x.settleLasting()
	}
	in := &x.in
	x.decision.tellBody(in.c.BodyBytes())
	took := time.Since(in.began)
	why := x.keepsTrace()
	x.count(took, why)
	keep := x.gw.recent.Wants(x.status, x.reason, len(x.decision.verdict.Would()) > 0, x.outcome.Answered, in.began)
	share, record := x.gw.decided.Wants(!x.passed)
	if keep || record || x.gw.access != nil || x.decision.edits != nil || why != answer.NotKept {
		var l answer.Line
		x.line(&l, took)
		x.tell(&l, keep, why)
		if record {
			x.record(&l, share)
		}
	}
	if x.decision.recorder != nil {
		x.keepDecision()
	}
	if x.err != nil && x.gw.log.IsDebug() {
		x.gw.log.Debug("request failed", "request_id", in.id, "service", x.outcome.Service, "status", x.status,
			"reason", string(x.reason), "tries", x.outcome.Tries, "took_us", took.Microseconds(), "error", x.err)
	}
	in.c.User = nil
	in.c, in.req = nil, nil
	x.outcome = upstream.Outcome{}
	x.outgoing.Release()
	exchanges.Put(x)
}

func (x *exchange) count(took time.Duration, why answer.Why) {
	d := x.decision
	id := x.in.traceID()
	if x.in.traced && why == answer.NotKept {
		id = trace.ID{} // nobody would find it
	}
	x.gw.upstream.Count(&x.outcome, &upstream.Ended{
		Listener: x.in.listener, Set: d.set, Route: &d.route, Who: d.verdict.Identity, Trace: id, Status: x.status, Reason: x.reason, Took: took,
	})
}

// line makes l, which is the zero one, what the logs tell of the request. It is filled
// in place: a literal would be built aside and copied.
func (x *exchange) line(l *answer.Line, took time.Duration) {
	in, o, d := &x.in, &x.outcome, x.decision
	if in.listener > 0 {
		l.Listener = x.gw.names[in.listener]
	}
	l.Began, l.Took, l.ID, l.Client = in.began, took, in.id, in.client
	l.Method, l.Host, l.Path, l.Version = in.req.Method, in.req.Host, in.path.Received, in.version
	l.Read(in.req.Fields)
	l.Trace = in.traceID()
	l.Credential, l.Ruling = d.verdict.Credential, answer.RulingOf(d.set, &d.verdict)
	if x.rule.Key != "" || x.cutBy != nil { // an authority refused, or a later policy
		l.Ruling.Refused(x.cutBy, x.rule, x.plugin)
	}
	if who := d.verdict.Identity; who != nil {
		l.Consumer = who.Name
	}
	l.Service, l.API = cmp.Or(o.Service, d.route.Service), d.route.API
	l.Status, l.Reason, l.UpstreamStatus, l.Answered, l.Tries = x.status, x.reason, o.Status, o.Answered, o.Tries
	l.In, l.Out, l.Err = in.c.BodyBytes(), x.bytesOut, x.err
	if o.Instance != nil {
		l.Instance, l.Upstream = o.Instance.ID, o.Instance.Address
	}
}

// tell writes the lines of the access log, and those that middleware wants, and
// keeps the request for operators to see, here or in its trace.
func (x *exchange) tell(l *answer.Line, keep bool, why answer.Why) {
	x.gw.access.Write(l)
	if keep {
		x.gw.recent.Keep(l)
	}
	if why != answer.NotKept {
		x.keepTrace(l, why)
	}
	if x.decision.edits != nil {
		for _, name := range x.decision.edits.recorded {
			x.gw.records.Record(name, l)
		}
	}
}

// crashed keeps a fault in the handling of one request from ending all others.
func (x *exchange) crashed(p any) {
	crash.Tell("gateway request", p)
	x.in.c.Crash()
	x.status = 500
	x.err = fmt.Errorf("proxy: panic: %v", p)
	x.gw.log.Error("a request crashed", "request_id", x.in.id, "service", x.outcome.Service, "panic", p)
}

// refuse answers the request with r (X5), a gRPC client in its own terms. Logs
// and metrics have the status and the reason of r, whatever the client is told.
func (x *exchange) refuse(r answer.Refusal) {
	x.status, x.reason, x.rule, x.plugin = r.Status, r.Reason, r.Rule, r.Plugin
	if r.Err != nil {
		x.err = r.Err
	}
	if r.Reason == answer.ClientLeft {
		x.in.c.Close()
		return
	}
	x.in.c.SettleBody()
	var edits *edits // those of middleware are for its own answer alone
	if r.Reason == Middleware {
		edits = x.decision.edits
	}
	r.Untyped = edits.drops("Content-Type", false)
	var form answer.Form
	if r.Reason != answer.ReasonNone { // else it is a preflight, which is no call
		form = answer.FormFor(x.in.req, x.in.set.ErrorPage)
	}
	head, body := r.Append(x.in.c.Scratch(), x.in.id, form)
	if x.err == nil {
		x.err = r.Err // of a page that could not be made
	}
	x.answer(x.appendHSTS(edits.appendTo(head, false), edits), body)
}

// answerHere answers a request that its client lets nobody pass on.
func (x *exchange) answerHere() {
	x.status = 200
	x.in.c.SettleBody()
	head, body := hops.FinalAnswer(x.in.c.Scratch(), x.in.req, x.in.req.Minor)
	x.answer(x.appendHSTS(head, nil), body)
}

// answer sends an answer of lictor's own.
func (x *exchange) answer(head, body []byte) {
	if x.decision.route.By == policy.ByNothing {
		x.decision.early()
	}
	sent, err := answer.Send(x.in.c, x.appendOwn(head), body)
	x.bytesOut = sent
	if err != nil {
		x.err = err
	}
}
