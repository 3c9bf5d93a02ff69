package gateway

import (
	"fmt"
	"strings"
	"time"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/resolver"
)

// Explain says what would become of a request. Nothing is sent, and no limit
// is used up. An error is a question that cannot be understood.
func (g *Gateway) Explain(q *answer.Question) (*answer.Explanation, error) {
	req, err := headOf(q)
	if err != nil {
		return nil, err
	}
	x := &exchange{gw: g, set: g.settings.Load(), req: req, began: time.Now(), peer: q.Peer(), ruling: new(ruling)}
	return x.explain(), nil
}

// headOf makes the question the head of a request.
func headOf(q *answer.Question) (*http1.RequestHead, error) {
	target, host, err := targetOf(q)
	if err != nil {
		return nil, err
	}
	req := &http1.RequestHead{Method: q.Method, Target: target, Host: host, Head: http1.Head{Minor: 1, ContentLength: -1}}
	if req.Method == "" {
		req.Method = "GET"
	}
	for _, f := range q.Headers {
		if !http1.ValidFieldName(f[0]) || !http1.ValidFieldValue(f[1]) {
			return nil, fmt.Errorf("headers: %q is no header field", f[0]+": "+f[1])
		}
		if http1.EqualFold(f[0], "Host") {
			req.Host = f[1]
			continue
		}
		req.Fields = append(req.Fields, http1.Field{Name: f[0], Value: f[1], ID: http1.IDOf(f[0])})
	}
	return req, nil
}

// targetOf is the request target, and the authority if it has one, as a client
// sends them: read by the gateway's own rules, for a path that they refuse is
// to be explained too.
func targetOf(q *answer.Question) (target, host string, err error) {
	target, _, _ = strings.Cut(q.URL, "#")
	if strings.HasPrefix(target, "/") {
		return target, "", nil
	}
	scheme, after, _ := strings.Cut(target, "://")
	if i := strings.IndexAny(after, "/?"); i >= 0 {
		after = after[:i]
	}
	if !http1.EqualFold(scheme, "http") && !http1.EqualFold(scheme, "https") || !http1.ValidHost(after) {
		return "", "", fmt.Errorf("url: %q is neither a path nor an absolute http URL", q.URL)
	}
	return target, after, nil
}

// explain goes through the life of the request as far as it can without a
// client and a backend.
func (x *exchange) explain() *answer.Explanation {
	x.identify()
	e := answer.NewExplanation(answer.ClientFact{Address: x.client.String(), From: x.from})
	target := pathOf(x.req)
	var err error
	if x.path, _, err = uri.ParsePath(target, nil); err != nil {
		e.Path.Received = target
		return e.Refuse(refuseBadPath)
	}
	e.Path = answer.PathFact{Received: x.path.Received, Canonical: x.path.Canonical}
	if x.path.TooOdd() {
		return e.Refuse(refuseOddPath)
	}
	r := x.ruling
	if !r.fill(x) {
		return e.Refuse(refuseBadHost)
	}
	e.Policy = answer.By(r.set.Version())
	r.route = r.set.Route(&r.request)
	x.properName()
	if e.Route = r.route.Explain(); e.Route == nil {
		return e.Refuse(refuseNoService)
	}
	e.Path.Forwarded = x.path.Target(r.route.Stripped)
	x.explainDecision(e)
	if e.Allowed && x.explainChain(e) {
		x.explainDispatch(e)
	}
	return e
}

func (x *exchange) explainDecision(e *answer.Explanation) {
	r := x.ruling
	var rec policy.Recorder
	r.request.Dry = true
	x.judge(&rec)
	if rec.Steps != nil {
		e.Steps = rec.Steps
	}
	if rec.Plugins != nil {
		e.Plugins = rec.Plugins
	}
	e.Consumer = rec.Consumer
	if e.Allowed = r.verdict.Allowed(); !e.Allowed {
		e.Status, e.Reason = r.verdict.Status, answer.Reason(r.verdict.Reason)
	}
}

// explainDispatch tells where the request would go. It stays allowed where nobody can
// serve it: the policy has nothing against it.
func (x *exchange) explainDispatch(e *answer.Explanation) {
	e.Dispatch = &answer.DispatchFact{Kind: "http", Instances: []answer.InstanceFact{}}
	if x.gw.bus.carries(&x.ruling.route) {
		e.Dispatch.Kind = "rabbitmq"
		if x.path.Climbs(e.Path.Forwarded) {
			e.Refuse(refuseClimbing)
		}
		return
	}
	svc, reason := x.serving()
	if svc == nil {
		e.Status, e.Reason = reason.Status, reason.Reason
		return
	}
	if svc.Options.KeepSegment {
		e.Path.Forwarded = x.path.Target(false)
	}
	if x.path.Climbs(e.Path.Forwarded) {
		e.Refuse(refuseClimbing)
		return
	}
	next, r := x.next(svc)
	for _, i := range svc.Instances {
		f := answer.InstanceFact{ID: i.ID, Address: i.Address, State: i.State.String(), Chosen: next != nil && i.ID == next.ID && i.Address == next.Address}
		if out := r.ejectionOf(i); out != nil {
			f.State, f.Note = "ejected", out.Note()
		}
		e.Dispatch.Instances = append(e.Dispatch.Instances, f)
	}
	if next == nil {
		e.Status, e.Reason = refuseNoHealthy.Status, refuseNoHealthy.Reason
	}
}

// serving returns the service that the request is routed to, without taking
// part in its balancing.
func (x *exchange) serving() (*resolver.Service, answer.Refusal) {
	route := &x.ruling.route
	if b := route.Backends; b != nil {
		return serviceOf(b), answer.Refusal{}
	}
	svc, known := x.gw.resolve(route.Service)
	switch {
	case !known:
		return nil, refuseUnknown
	case svc == nil:
		return nil, refuseNoHealthy
	}
	return svc, answer.Refusal{}
}

// next guesses the instance that comes next: by round robin, the turn that is
// due. nil if there is none. The roster is nil before the first request.
func (x *exchange) next(svc *resolver.Service) (*resolver.Instance, *roster) {
	usable := candidates(svc)
	if len(usable) == 0 {
		return nil, nil
	}
	grp := (*x.gw.groups.Load())[svc.Name]
	if grp == nil {
		return usable[0], nil
	}
	r := grp.current.Load()
	if r == nil || len(r.members) == 0 {
		return usable[0], nil
	}
	n, at := r.slots(), grp.turn.Load()+1
	for i := range n {
		if m := r.slot((at + i) % n); m.ready() {
			return m.inst, r
		}
	}
	return r.slot(at % n).inst, r
}

// ejectionOf returns why an instance is left out, nil if it is not.
func (r *roster) ejectionOf(i *resolver.Instance) *ejection {
	if r == nil {
		return nil
	}
	for _, m := range r.members {
		if m.inst.ID == i.ID && m.inst.Address == i.Address {
			return m.ejection.Load()
		}
	}
	return nil
}

// Ejected returns what is to be said of an instance that gets no requests
// because it cannot be reached, "" if it gets some.
func (g *Gateway) Ejected(service, id, address string) string {
	grp := (*g.groups.Load())[service]
	if grp == nil {
		return ""
	}
	if e := grp.current.Load().ejectionOf(&resolver.Instance{ID: id, Address: address}); e != nil {
		return e.Note()
	}
	return ""
}
