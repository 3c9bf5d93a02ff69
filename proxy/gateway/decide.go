package gateway

import (
	"slices"
	"strconv"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/middleware"
)

// ruling is the policy's view of an exchange. It is kept with the exchange's
// memory, for its buffers.
type ruling struct {
	set     *policy.Set // loaded once; all of the request goes by it
	request policy.Request
	route   policy.Route
	verdict policy.Verdict

	hide []string // fields and arguments that the backend must not see, by all verdicts (C24)

	middleware middleware.Request
	alias      string   // another name of the route's service that rules know, "" if none
	redirected uri.Path // of request, if middleware sent it to another service
	spelled    uri.Path // of middleware, if the client spelled the service otherwise

	host  []byte // buffer of request.Host
	query []byte // buffer of a query without its key
}

// pass proves that a request was decided on and may go on. Only decide makes one.
type pass struct{ route *policy.Route }

// Field implements policy.Fields.
func (x *exchange) Field(name string) (value string, count int) { return x.req.Get(name) }

// fill fills in what the policy is asked about. It reports whether the host
// could be read.
func (r *ruling) fill(x *exchange) bool {
	host, port, buf, err := uri.Host(x.req.Host, r.host)
	r.host = buf
	if err != nil {
		x.err = err
		r.set, r.route = nil, policy.Route{}
		return false
	}
	if port == 0 {
		_, port = x.scheme()
	}
	r.set = x.gw.policy.Set()
	q := &r.request
	q.Method, q.Host, q.Port, q.Path = x.req.Method, host, port, &x.path
	if q.Names = nil; x.c != nil { // a question comes by no connection
		q.Names = x.c.Names()
	}
	q.Client, q.Fields, q.Locator = x.client, x, x.gw.locator
	q.Now, q.Limiter = x.began, &x.gw.limiter
	return true
}

// judge decides on the request under each name that rules may call its service
// by. The first refusal stands.
func (x *exchange) judge(rec *policy.Recorder) {
	r := x.ruling
	if r.alias != "" {
		own := r.route
		r.set.Rename(&r.route, r.alias)
		if r.set.Decide(&r.request, &r.route, &r.verdict, rec); !r.verdict.Allowed() {
			return
		}
		x.former = append(x.former, r.request.Facts(&r.route, &r.verdict))
		r.route = own
	}
	r.set.Decide(&r.request, &r.route, &r.verdict, rec)
}

// decide asks the policy whether the request may pass (contract 4, step 5). It
// answers if it may not.
func (x *exchange) decide() (p pass, ok bool) {
	r := x.ruling
	v := &r.verdict
	var hidden []string
	if v.Allowed() { // for another service, from which middleware routed away
		hidden = r.hide
	}
	x.judge(x.recorder)
	for _, w := range v.Would() {
		x.gw.metrics.counts.Would(w.Reason)
		x.gw.log.Info("would be denied", "request_id", x.id, "reason", string(w.Reason), "rule", w.Rule.Key,
			"entry", w.Rule.Entry, "note", w.Rule.Note, "path", answer.Clip(x.path.Canonical), "client", x.client.String())
	}
	if !v.Allowed() {
		x.refuse(answer.Verdict(v))
		return pass{}, false
	}
	if r.hide = v.Hide; len(hidden) > 0 {
		r.hide = slices.Concat(hidden, v.Hide)
	}
	x.query = x.path.Query
	if len(r.hide) > 0 {
		x.query, r.query = uri.WithoutArguments(x.query, r.hide, r.query)
	}
	return pass{route: &r.route}, true
}

// hides reports whether a field holds the key that the backend must not see (C24).
func (x *exchange) hides(name string) bool { return anyName(x.ruling.hide, name) }

// appendIdentity appends who the consumer is (C24).
func (x *exchange) appendIdentity(dst []byte) []byte {
	who := x.ruling.verdict.Identity
	if who == nil {
		return dst
	}
	dst = http1.AppendField(dst, "X-Consumer-ID", who.ID)
	dst = http1.AppendField(dst, "X-Consumer-Username", who.Name)
	if who.CustomID != "" {
		dst = http1.AppendField(dst, "X-Consumer-Custom-ID", who.CustomID)
	}
	if who.GroupsText != "" {
		dst = http1.AppendField(dst, "X-Consumer-Groups", who.GroupsText)
	}
	return dst
}

// appendLimits appends the state of the rate limit (C18), if there is one.
func (x *exchange) appendLimits(dst []byte) []byte {
	l := &x.ruling.verdict.Limits
	all := l.All()
	if len(all) == 0 {
		return dst
	}
	for i := range all {
		w := &all[i]
		dst = appendNumber(dst, "X-RateLimit-Limit-", w.Window.Title(), w.Limit)
		dst = appendNumber(dst, "X-RateLimit-Remaining-", w.Window.Title(), w.Remaining)
	}
	dst = appendNumber(dst, "RateLimit-Limit", "", l.Tight.Limit)
	dst = appendNumber(dst, "RateLimit-Remaining", "", l.Tight.Remaining)
	reset := int(l.Tight.Reset.Seconds())
	dst = appendNumber(dst, "RateLimit-Reset", "", reset)
	if l.Refused {
		dst = appendNumber(dst, "Retry-After", "", reset)
	}
	return dst
}

func appendNumber(dst []byte, name, suffix string, n int) []byte {
	dst = append(dst, name...)
	dst = append(dst, suffix...)
	dst = append(dst, ": "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, "\r\n"...)
}
