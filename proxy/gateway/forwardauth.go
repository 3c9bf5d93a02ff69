package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"lictor/internal/crash"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/proxy/upstream"
)

// ForwardAuth is the reason of what an authority refused, or did not answer (P3).
const ForwardAuth = answer.Reason(policy.ReasonForwardAuth)

var (
	refuseUnasked = answer.Refusal{Status: 503, Reason: ForwardAuth, Plugin: "forward-auth", Message: "It cannot be found out whether you may do this", Repeatable: true}

	errCrowd   = errors.New("gateway: as many questions are under way as may be")
	errUnasked = errors.New("gateway: the authority did not answer in time")
)

// askAuthorities asks all whom the policy wants asked, one after the other. The
// first that does not say yes refuses the request: nothing of it has gone anywhere
// yet, and of its body nothing was asked for.
func (x *exchange) askAuthorities() answer.Refusal {
	d := x.decision
	for i := range d.asks {
		a := &d.asks[i]
		if a.Report {
			x.askAside(a)
			continue
		}
		fields, refused := x.ask(a)
		if refused.Status != 0 {
			return refused
		}
		d.grant(a, fields)
	}
	if len(d.asks) > 0 && x.gw.policy.Set() != d.set { // it changed while they were asked
		return (&facts{x.gw, d.facts()}).Recheck()
	}
	return answer.Refusal{}
}

// ask puts a question and returns what the backend is to be told, or a refusal.
func (x *exchange) ask(a *policy.Ask) ([]message.Field, answer.Refusal) {
	g := x.gw.authorities
	q := x.decision.question(a, x.gw.mark)
	if fields, ok := g.recall(q, time.Now()); ok {
		g.asked.WithLabelValues(askRemembered).Inc()
		a.Count(true, x.in.began)
		x.tellAsked(a, "pass", "it said yes a moment ago")
		return fields, answer.Refusal{}
	}
	reply, err := x.answered(q)
	switch {
	case errors.Is(err, http1.ErrClientGone):
		return nil, answer.Left
	case err != nil || reply.Status >= 500:
		if err == nil {
			err = fmt.Errorf("gateway: the authority answers %d", reply.Status)
		}
		g.asked.WithLabelValues(askFailed).Inc()
		a.Count(false, x.in.began)
		x.tellAsked(a, "deny", err.Error())
		r := refuseUnasked.Because(err)
		r.Rule = a.Rule
		return nil, r
	case reply.Status > 299:
		g.asked.WithLabelValues(askRefused).Inc()
		a.Count(false, x.in.began)
		x.tellAsked(a, "deny", fmt.Sprintf("it answers %d", reply.Status))
		return nil, passOn(a, reply)
	}
	g.asked.WithLabelValues(askAllowed).Inc()
	a.Count(true, x.in.began)
	x.tellAsked(a, "pass", fmt.Sprintf("it answers %d", reply.Status))
	x.decision.cookies = append(x.decision.cookies, cookiesOf(reply)...)
	fields := granted(a, reply)
	if q.remembers && len(cookiesOf(reply)) == 0 {
		g.remember(q, fields, time.Now())
	}
	return fields, answer.Refusal{}
}

// answered waits for the answer to q: of a question that is under way for another
// request, if it is the very same one, else of its own.
func (x *exchange) answered(q *question) (*http1.Fetched, error) {
	g := x.gw.authorities
	for alone := false; ; alone = true {
		f, mine := g.join(q, alone)
		if f == nil {
			return nil, errCrowd
		}
		if mine {
			g.fly(q, f)
		}
		if err := x.await(f, q.ask.Timeout); err != nil {
			return nil, err
		}
		if mine || f.reply == nil || len(cookiesOf(f.reply)) == 0 {
			return f.reply, f.err
		}
		// A cookie is for one client: who shares it shares a login with a stranger.
	}
}

// await waits until a flight is over, its time is, or the client leaves.
func (x *exchange) await(f *flight, most time.Duration) error {
	began := time.Now()
	select {
	case <-f.done:
		return nil
	case <-time.After(min(most, watchAfter)):
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer x.in.c.OnGone(cancel)()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return http1.ErrClientGone
	case <-time.After(most - time.Since(began)):
		return errUnasked
	}
}

// watchAfter is how long an authority may think before the client is watched for
// leaving: most answer sooner.
const watchAfter = 50 * time.Millisecond

// askAside asks in report mode: the request does not wait for the answer, which is
// told, and changes nothing (X13).
func (x *exchange) askAside(a *policy.Ask) {
	g, counts := x.gw, x.gw.counts[x.in.listener] // the exchange is over before the answer comes
	q := x.decision.question(a, g.mark)
	f, _ := g.authorities.join(q, true)
	if f == nil {
		return
	}
	g.authorities.fly(q, f)
	began, id, path, client := x.in.began, strings.Clone(x.in.id), answer.Clip(strings.Clone(x.in.path.Canonical)), q.client.String()
	about := x.gw.upstream.About(&x.decision.route, x.decision.set)
	about.API = strings.Clone(about.API)
	crash.Go("forward-auth", func() {
		<-f.done
		if f.err == nil && f.reply.Status < 300 {
			return
		}
		a.Count(false, began)
		counts.Would(about, policy.ReasonForwardAuth)
		g.log.Info("would be denied", "request_id", id, "reason", string(ForwardAuth), "rule", a.Rule.Key, "path", path, "client", client)
	}, nil)
}

// grant has the backend told fields, and what else goes by their names from nobody.
func (d *decision) grant(a *policy.Ask, fields []message.Field) {
	if len(a.ResponseHeaders) == 0 {
		return
	}
	kept := d.granted[:0:0]
	for _, f := range d.granted {
		if !anyName(a.ResponseHeaders, f.Name) {
			kept = append(kept, f)
		}
	}
	d.granted = append(kept, fields...)
	if d.edits != nil {
		d.edits.up.Forget(func(name string) bool { return anyName(a.ResponseHeaders, name) })
	}
}

// granted are the fields of a yes that the backend is told.
func granted(a *policy.Ask, reply *http1.Fetched) (fields []message.Field) {
	for i := range reply.Fields {
		if f := &reply.Fields[i]; anyName(a.ResponseHeaders, f.Name) && mayGrant(f) {
			fields = append(fields, *f)
		}
	}
	return fields
}

// mayGrant reports whether an authority may set a field: not what lictor says
// itself, nor what speaks of the answer that it came with.
func mayGrant(f *message.Field) bool {
	switch f.Means() {
	case message.FieldHost, message.FieldContentLength, message.FieldExpect, message.FieldProxy, message.FieldTrailer,
		message.FieldXForwarded, message.FieldXForwardedFor, message.FieldXForwardedProto, message.FieldXForwardedHost,
		message.FieldXForwardedPort, message.FieldXForwardedPrefix, message.FieldXRealIP, message.FieldForwarded, message.FieldVia,
		message.FieldXRequestID, message.FieldTraceparent, message.FieldTracestate, message.FieldXConsumer, message.FieldXWASP,
		message.FieldDate, message.FieldServer, message.FieldSetCookie, message.FieldContentType, message.FieldContentEncoding:
		return false
	}
	return !f.Means().HopByHop() && !asksWhy(f.Name)
}

// cookiesOf are the values of Set-Cookie.
func cookiesOf(reply *http1.Fetched) (values []string) {
	for i := range reply.Fields {
		if f := &reply.Fields[i]; f.ID == message.FieldSetCookie {
			values = append(values, f.Value)
		}
	}
	return values
}

// passedOn are the fields of a refusal that its client is told, beside its
// Content-Type.
var passedOn = []string{"Location", "Set-Cookie", "WWW-Authenticate", "Retry-After", "Content-Encoding"}

// passOn is the refusal of an authority, as it said it. What it said to one client
// no cache between may say to another.
func passOn(a *policy.Ask, reply *http1.Fetched) answer.Refusal {
	page := &policy.Page{Body: string(reply.Body)}
	r := answer.Refusal{Status: reply.Status, Reason: ForwardAuth, Message: "The authority does not let you do this", Page: page, Rule: a.Rule, Plugin: "forward-auth"}
	for i := range reply.Fields {
		f := &reply.Fields[i]
		if f.ID == message.FieldContentType {
			page.ContentType = f.Value
		}
		for _, name := range passedOn {
			if message.EqualFold(f.Name, name) {
				r.Fields = append(r.Fields, *f)
			}
		}
	}
	r.Fields = append(r.Fields, message.Field{Name: "Cache-Control", Value: "no-store"})
	return r
}

// tellAsked records what came of a question.
func (x *exchange) tellAsked(a *policy.Ask, verdict, note string) {
	if rec := x.decision.recorder; rec != nil {
		rule := a.Rule
		rec.Steps = append(rec.Steps, policy.Step{Step: "forward-auth", Verdict: verdict, Mode: policy.Enforce, Rule: &rule, Note: a.Where() + ": " + note})
	}
}

// appendCookies appends what authorities set at the client with their yes: a
// session that goes on.
func (d *decision) appendCookies(dst []byte) []byte {
	for _, value := range d.cookies {
		dst = message.AppendField(dst, "Set-Cookie", value)
	}
	return dst
}

// own copies fields into memory of their own.
func own(fields []message.Field) []message.Field {
	copied := make([]message.Field, len(fields))
	for i, f := range fields {
		copied[i] = message.Field{Name: strings.Clone(f.Name), Value: strings.Clone(f.Value), ID: f.ID}
	}
	return copied
}

// askUpstream sends a question by the connections that all requests use.
func (g *Gateway) askUpstream(q *question) (*http1.Fetched, error) {
	return g.upstream.Ask(q.ask.Permit(), &upstream.Question{
		Settings: q.settings, Target: q.ask.Target, Host: q.ask.Host, Fields: q.fields, Client: q.client,
		Timeout: q.ask.Timeout, MaxBody: maxAuthorBody,
	})
}
