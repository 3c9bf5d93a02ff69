package gateway

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/resolver"
)

// Question is a request that somebody asks about (contract 5).
type Question struct {
	Method  string      `json:"method"` // "" = GET
	URL     string      `json:"url"`    // a path, or absolute: then its authority is the Host
	Headers [][2]string `json:"-"`      // name and value, in order
	From    netip.Addr  `json:"from"`   // the socket's peer; the zero value is 127.0.0.1
}

// Explanation says what would become of a request, step by step (contract 5).
// It is told by the evaluation that serves traffic.
type Explanation struct {
	Allowed  bool                        `json:"allowed"`
	Status   int                         `json:"status"` // of the refusal; 200 where a backend would answer
	Reason   Reason                      `json:"reason,omitempty"`
	Path     PathFact                    `json:"path"`
	Client   ClientFact                  `json:"client"`
	Route    *policy.RouteFact           `json:"route"`
	Consumer *policy.ConsumerFact        `json:"consumer"`
	Steps    []policy.Step               `json:"steps"`
	Plugins  map[string]policy.PluginUse `json:"plugins"`
	Dispatch *DispatchFact               `json:"dispatch"`
	Policy   PolicyFact                  `json:"policy"`
}

// PathFact is a path as it came, as rules see it, and as the backend gets it.
type PathFact struct {
	Received  string `json:"received"`
	Canonical string `json:"canonical"`
	Forwarded string `json:"forwarded,omitempty"`
}

// ClientFact is the client's address and where it was taken from.
type ClientFact struct {
	Address string `json:"address"`
	From    string `json:"from"` // socket, x-forwarded-for, forwarded
}

// DispatchFact is where a request would go.
type DispatchFact struct {
	Kind      string         `json:"kind"`
	Instances []InstanceFact `json:"instances"`
}

// InstanceFact is an instance that might serve.
type InstanceFact struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
	Note    string `json:"note,omitempty"` // until when and why it is ejected
	Chosen  bool   `json:"chosen"`
}

// PolicyFact says which policy spoke.
type PolicyFact struct {
	Hash       string   `json:"hash"`
	Index      uint64   `json:"index"`
	AgeSeconds *float64 `json:"age_seconds"` // for the admin listener to fill in
}

// Explain says what would become of a request. Nothing is sent, and no limit
// is used up. An error is a question that cannot be understood.
func (g *Gateway) Explain(q *Question) (*Explanation, error) {
	req, err := q.head()
	if err != nil {
		return nil, err
	}
	x := &exchange{gw: g, set: g.settings.Load(), req: req, began: time.Now(), peer: q.From, ruling: new(ruling)}
	if !x.peer.IsValid() {
		x.peer = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return x.explain(), nil
}

// head makes the question the head of a request.
func (q *Question) head() (*http1.RequestHead, error) {
	target, host, err := q.target()
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

// target is the request target, and the authority if it has one, as a client
// sends them: read by the gateway's own rules, for a path that they refuse is
// to be explained too.
func (q *Question) target() (target, host string, err error) {
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
func (x *exchange) explain() *Explanation {
	e := &Explanation{Status: 200, Steps: []policy.Step{}, Plugins: map[string]policy.PluginUse{}}
	x.identify()
	e.Client = ClientFact{Address: x.client.String(), From: x.from}
	target := pathOf(x.req)
	var err error
	if x.path, _, err = uri.ParsePath(target, nil); err != nil {
		e.Path.Received = target
		return e.refuse(refuseBadPath)
	}
	e.Path = PathFact{Received: x.path.Received, Canonical: x.path.Canonical}
	if x.path.TooOdd() {
		return e.refuse(refuseOddPath)
	}
	r := x.ruling
	if !r.fill(x) {
		return e.refuse(refuseBadHost)
	}
	v := r.set.Version()
	e.Policy = PolicyFact{Hash: v.Hash, Index: v.Index}
	r.route = r.set.Route(&r.request)
	x.properName()
	if e.Route = r.route.Explain(); e.Route == nil {
		return e.refuse(refuseNoService)
	}
	e.Path.Forwarded = x.path.Target(r.route.Stripped)
	e.decide(x)
	if e.Allowed && e.chain(x) {
		e.dispatch(x)
	}
	return e
}

func (e *Explanation) refuse(r refusal) *Explanation {
	e.Allowed, e.Status, e.Reason = false, r.status, r.reason
	return e
}

func (e *Explanation) decide(x *exchange) {
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
		e.Status, e.Reason = r.verdict.Status, Reason(r.verdict.Reason)
	}
}

// dispatch tells where the request would go. It stays allowed where nobody can
// serve it: the policy has nothing against it.
func (e *Explanation) dispatch(x *exchange) {
	e.Dispatch = &DispatchFact{Kind: "http", Instances: []InstanceFact{}}
	if x.gw.bus.carries(&x.ruling.route) {
		e.Dispatch.Kind = "rabbitmq"
		if x.path.Climbs(e.Path.Forwarded) {
			e.refuse(refuseClimbing)
		}
		return
	}
	svc, reason := x.serving()
	if svc == nil {
		e.Status, e.Reason = reason.status, reason.reason
		return
	}
	if svc.Options.KeepSegment {
		e.Path.Forwarded = x.path.Target(false)
	}
	if x.path.Climbs(e.Path.Forwarded) {
		e.refuse(refuseClimbing)
		return
	}
	next, r := x.next(svc)
	for _, i := range svc.Instances {
		f := InstanceFact{ID: i.ID, Address: i.Address, State: i.State.String(), Chosen: next != nil && i.ID == next.ID && i.Address == next.Address}
		if out := r.ejectionOf(i); out != nil {
			f.State, f.Note = "ejected", out.Note()
		}
		e.Dispatch.Instances = append(e.Dispatch.Instances, f)
	}
	if next == nil {
		e.Status, e.Reason = refuseNoHealthy.status, refuseNoHealthy.reason
	}
}

// serving returns the service that the request is routed to, without taking
// part in its balancing.
func (x *exchange) serving() (*resolver.Service, refusal) {
	route := &x.ruling.route
	if b := route.Backends; b != nil {
		return serviceOf(b), refusal{}
	}
	svc, known := x.gw.resolve(route.Service)
	switch {
	case !known:
		return nil, refuseUnknown
	case svc == nil:
		return nil, refuseNoHealthy
	}
	return svc, refusal{}
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
