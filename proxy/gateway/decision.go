package gateway

import (
	"encoding/json"
	"strings"
	"sync"

	"lictor/internal/field"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
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
	ring [keptDecisions]decision
	next int
}

type decision struct {
	id   string
	text []byte // JSON, for what it tells may lie in memory of the request
}

func (d *decisions) keep(id string, text []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ring[d.next] = decision{id, text}
	d.next = (d.next + 1) % keptDecisions
}

// Decision returns the [answer.Explanation], as JSON, of a request that asked for it;
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
	if _, n := x.req.Get(explainField); n > 0 {
		x.recorder = new(policy.Recorder)
	}
}

func asksWhy(name string) bool {
	return len(name) == len(explainField) && field.Same(name, explainField)
}

// appendDecision tells who asked where to find the decision.
func (x *exchange) appendDecision(dst []byte) []byte {
	if x.recorder == nil {
		return dst
	}
	return http1.AppendField(dst, decisionField, x.id)
}

// keepDecision keeps what was decided and done, once it is over.
func (x *exchange) keepDecision() {
	text, err := json.Marshal(x.decided())
	if err != nil {
		x.gw.log.Error("a decision cannot be told", "request_id", x.id, "error", err)
		return
	}
	x.gw.decisions.keep(strings.Clone(x.id), text)
}

func (x *exchange) decided() *answer.Explanation {
	r := x.ruling
	e := &answer.Explanation{
		Allowed: r.verdict.Allowed() && x.reason != Middleware, Status: x.status, Reason: x.reason,
		Path:   answer.PathFact{Received: x.path.Received, Canonical: x.path.Canonical, Forwarded: x.target},
		Client: answer.ClientFact{Address: x.client.String(), From: x.from},
		Route:  r.route.Explain(), Steps: x.recorder.Steps, Plugins: x.recorder.Plugins, Consumer: x.recorder.Consumer,
	}
	if e.Steps == nil {
		e.Steps = []policy.Step{}
	}
	if e.Plugins == nil {
		e.Plugins = map[string]policy.PluginUse{}
	}
	if e.Route != nil {
		e.Policy = answer.By(r.set.Version())
	}
	if x.service != "" {
		e.Dispatch = x.dispatched()
	}
	return e
}

// dispatched tells which members the request was sent to.
func (x *exchange) dispatched() *answer.DispatchFact {
	d := &answer.DispatchFact{Kind: "http", Instances: []answer.InstanceFact{}}
	if x.gw.bus.carries(&x.ruling.route) {
		d.Kind = "rabbitmq"
	}
	for _, m := range x.tries {
		d.Instances = append(d.Instances, answer.InstanceFact{ID: m.inst.ID, Address: m.inst.Address, State: m.inst.State.String(), Chosen: m == x.member})
	}
	return d
}
