package gateway

import (
	"encoding/json"
	"strings"
	"sync"

	"lictor/admin/api"
	"lictor/internal/field"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
	"lictor/proxy/upstream"
)

// A client from a trusted network that sends this field gets the id of the
// decision on its own request in the answer, for [Gateway.Decision]. From
// anybody else it means nothing; it never reaches a backend.
const (
	explainField  = "X-Lictor-Explain"
	decisionField = "X-Lictor-Decision"
)

// keptDecisions is how many decisions are kept: the newest.
const keptDecisions = 256

// decisions are those that were asked for. The zero value is ready to use.
type decisions struct {
	mu   sync.Mutex // guards what follows
	ring [keptDecisions]keptDecision
	next int
}

type keptDecision struct {
	id   string
	text []byte // JSON, for what it tells may lie in memory of the request
}

func (d *decisions) keep(id string, text []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ring[d.next] = keptDecision{id, text}
	d.next = (d.next + 1) % keptDecisions
}

// Decision returns the [api.Explanation], as JSON, of a request that asked for it;
// false if there is none, or none any more.
func (g *Gateway) Decision(id string) (json.RawMessage, bool) {
	d := &g.decisions
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.ring {
		if d.ring[i].id == id && id != "" {
			return d.ring[i].text, true
		}
	}
	return nil, false
}

// askWhy has the decision on the request recorded if it asks for that.
func (x *exchange) askWhy() {
	if _, n := x.in.req.Get(explainField); n > 0 {
		x.decision.recorder = new(policy.Recorder)
	}
}

func asksWhy(name string) bool {
	return len(name) == len(explainField) && field.Same(name, explainField)
}

// appendDecision tells who asked where to find the decision.
func (x *exchange) appendDecision(dst []byte) []byte {
	if x.decision.recorder == nil {
		return dst
	}
	return message.AppendField(dst, decisionField, x.in.id)
}

// keepDecision keeps what was decided and done, once it is over.
func (x *exchange) keepDecision() {
	var d *api.DispatchFact
	if x.outcome.Service != "" {
		d = &api.DispatchFact{Kind: x.gw.upstream.Kind(&x.decision.permit), Instances: x.outcome.Instances()}
	}
	text, err := json.Marshal(x.explanation(d))
	if err != nil {
		x.gw.log.Error("a decision cannot be told", "request_id", x.in.id, "error", err)
		return
	}
	x.gw.decisions.keep(strings.Clone(x.in.id), text)
}

// explanation tells what became of the exchange, or would: of a recorded decision.
func (x *exchange) explanation(dispatch *api.DispatchFact) *api.Explanation {
	in, d := &x.in, x.decision
	e := answer.NewExplanation(api.ClientFact{Address: in.client.String(), From: in.from})
	e.Allowed, e.Status, e.Reason = d.permit.Looks() && x.reason != upstream.BadPath, x.status, string(x.reason)
	e.Path = api.PathFact{Received: in.path.Received, Canonical: in.path.Canonical, Forwarded: x.outcome.Target}
	e.Route, e.Policy, e.Dispatch = d.route.Explain(), answer.By(d.set.Version()), dispatch
	if e.Path.Forwarded == "" && e.Route != nil {
		e.Path.Forwarded = d.sends.Target(d.route.Stripped)
	}
	e.Consumer = d.recorder.Consumer
	if d.recorder.Steps != nil {
		e.Steps = d.recorder.Steps
	}
	if d.recorder.Plugins != nil {
		e.Plugins = d.recorder.Plugins
	}
	return e
}
