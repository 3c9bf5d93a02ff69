package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lictor/admin/api"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
	"lictor/proxy/upstream"
)

// Explain says what would become of a request, by the steps that serve one: read,
// decide, find an instance. They are gone dry: nothing is sent, no limit is used
// up, and nobody's turn is taken. An error is a question that cannot be understood.
func (g *Gateway) Explain(q *answer.Question) (*api.Explanation, error) {
	req, err := headOf(q)
	if err != nil {
		return nil, err
	}
	at := slices.Index(g.names, cmp.Or(q.Listener, listenerName))
	if at < 0 {
		return nil, fmt.Errorf("listener: there is none of the name %.100q, want one of %s", q.Listener, strings.Join(g.names, ", "))
	}
	x := &exchange{gw: g, decision: new(decision), outgoing: new(upstream.Request), status: 200}
	set := g.settings.Load()
	x.in = inbound{set: set, listener: at, proxies: set.proxies(at), req: req, began: time.Now(), peer: q.Peer()}
	x.decision.reset(g, &x.in)
	x.decision.dry, x.decision.recorder, x.decision.as = true, new(policy.Recorder), q.As
	if q.As != "" && !g.policy.Set().HasConsumer(q.As) {
		return nil, fmt.Errorf("consumer: there is none with the id or name %q", q.As)
	}
	x.in.identify()
	var dispatch *api.DispatchFact
	refused := x.decide()
	if refused.Status == 0 {
		dispatch = g.upstream.Preview(x.decision.permit, x.toSend(), &x.outcome)
		refused = x.outcome.Refusal
	}
	if refused.Status != 0 {
		x.status, x.reason = refused.Status, refused.Reason
	}
	return x.explanation(dispatch), nil
}

// What is wrong with a question. It is not repeated: a field may hold a key, and a URL a
// password.
var (
	errNoField = errors.New("headers: one of them has a name or a value that no header field may have")
	errNoURL   = errors.New("url: it is neither a path nor an absolute http URL without a user")
)

// headOf makes the question the head of a request.
func headOf(q *answer.Question) (*message.RequestHead, error) {
	target, host, err := targetOf(q)
	if err != nil {
		return nil, err
	}
	req := &message.RequestHead{Method: q.Method, Target: target, Host: host, Head: message.Head{Minor: 1, ContentLength: -1}}
	if req.Method == "" {
		req.Method = "GET"
	}
	for _, f := range q.Headers {
		if !message.ValidFieldName(f[0]) || !message.ValidFieldValue(f[1]) {
			return nil, errNoField
		}
		if message.EqualFold(f[0], "Host") {
			req.Host = f[1]
			continue
		}
		req.Fields = append(req.Fields, message.Field{Name: f[0], Value: f[1], ID: message.IDOf(f[0])})
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
	if !message.EqualFold(scheme, "http") && !message.EqualFold(scheme, "https") || !message.ValidHost(after) {
		return "", "", errNoURL
	}
	return target, after, nil
}
