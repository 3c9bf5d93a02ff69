package egress

import (
	"cmp"
	"context"
	"net/netip"
	"net/url"

	"lictor/admin/api"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
)

// Explain says what would become of a request, by the evaluation that serves
// traffic. Its name is looked up, but nothing is sent to the target. With the
// method CONNECT the URL is host:port. An error is a question that cannot be
// understood.
func (p *Proxy) Explain(ctx context.Context, q *answer.Question) (*api.Explanation, error) {
	e := answer.NewExplanation(api.ClientFact{Address: q.Peer().String(), From: "socket"})
	req, err := question(q)
	if err != nil {
		return nil, err
	}
	var s scratch
	t, err := parseTarget(req, &s)
	if err != nil {
		answer.Refuse(e, refuseTarget(err)).Path.Received = q.URL
		e.Steps = append(e.Steps, policy.Step{Step: "target", Verdict: "deny", Mode: policy.Enforce, Note: err.Error()})
		return e, nil
	}
	e.Path = api.PathFact{Received: t.path.Received, Canonical: t.path.Canonical, Forwarded: t.rest}

	var rec policy.Recorder
	var in inquiry
	in.begin(p.basis(), &t, req.Method, readCredentials(req), &rec)
	e.Policy = answer.By(in.set.Version())
	pm, r := in.run(ctx, p.lookup)
	e.Steps = append(e.Steps, rec.Steps...)
	if who := in.dst.Identity; who != nil {
		e.Consumer = &policy.ConsumerFact{Name: who.Name, Groups: who.Groups}
	}
	e.Allowed = r.Status == 0
	if !e.Allowed {
		return answer.Refuse(e, r), nil
	}
	e.Dispatch = &api.DispatchFact{Kind: "egress", Instances: []api.InstanceFact{}}
	for i, a := range pm.Addrs() {
		to := netip.AddrPortFrom(a, pm.Port()).String()
		e.Dispatch.Instances = append(e.Dispatch.Instances, api.InstanceFact{ID: t.host, Address: to, State: "checked", Chosen: i == 0})
	}
	return e, nil
}

// question makes the head of the request that is asked about, read by the
// parser that reads them from the wire. Clients reach an https URL through a
// tunnel, so that is what is asked about.
func question(q *answer.Question) (*message.RequestHead, error) {
	method, target := cmp.Or(q.Method, "GET"), q.URL
	if u, err := url.Parse(q.URL); err == nil && u.Scheme == "https" && u.Host != "" {
		method, target = "CONNECT", u.Host
		if u.Port() == "" {
			target += ":443"
		}
	}
	text := method + " " + target + " HTTP/1.1\r\nHost: -\r\n"
	for _, f := range q.Headers {
		if !message.EqualFold(f[0], "Host") {
			text += f[0] + ": " + f[1] + "\r\n"
		}
	}
	req := new(message.RequestHead)
	err := req.Parse([]byte(text + "\r\n"))
	return req, err
}
