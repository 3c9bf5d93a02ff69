package egress

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"lictor/proxy/answer"
)

// logReported counts which rules had a say, and logs and counts what those in report
// mode would have denied (X13).
func (x *exchange) logReported() {
	x.inquiry.verdict.Count(x.began)
	if x.inquiry.dst.Identity != nil {
		x.inquiry.set.CountKey(x.inquiry.creds.key, x.began)
	}
	for _, w := range x.inquiry.verdict.Would() {
		x.p.metrics.counts.Would(answer.About{}, w.Reason)
		x.p.log.Info("would be denied", "request_id", x.id, "reason", string(w.Reason), "rule", w.Rule.Key,
			"entry", w.Rule.Entry, "note", w.Rule.Note, "host", x.target.host, "port", x.target.port,
			"client", x.c.RemoteAddr().String())
	}
}

// logDecision logs the decision, once for each request: a refusal by a rule
// always, everything else at level debug. endLasting has logged what was cut.
func (x *exchange) logDecision(took time.Duration) {
	denied := isDenial(&x.refused) && x.status == x.refused.Status
	if !denied && !x.p.log.IsDebug() {
		return
	}
	event, level := "allowed", x.p.log.Debug
	switch {
	case denied:
		event, level = "denied", x.p.log.Info
	case x.refused.Reason != answer.ReasonNone:
		event = "request failed"
	}
	address := ""
	if x.dialled.IsValid() {
		address = x.dialled.String()
	} else if denied && len(x.inquiry.addrs) > 0 {
		address = x.inquiry.addrs[0].String()
	}
	consumer := ""
	if who := x.inquiry.dst.Identity; who != nil {
		consumer = who.Name
	}
	line := []any{"request_id", x.id, "method", x.req.Method, "host", x.target.host, "port", x.target.port,
		"address", address, "status", x.status, "reason", string(x.refused.Reason), "rule", x.refused.Rule.Key,
		"entry", x.refused.Rule.Entry, "note", x.refused.Rule.Note, "client", x.c.RemoteAddr().String(), "consumer", consumer,
		"lookup_us", x.inquiry.lookup.Microseconds(), "connect_us", x.connect.Microseconds(),
		"took_us", took.Microseconds(), "bytes_in", x.in, "bytes_out", x.out}
	if x.err != nil {
		line = append(line, "error", x.err)
	}
	level(event, line...)
}

// writeLine writes the line of the request into the access log, keeps the decision on
// it in the decision log, and hands over what its spans are made of.
func (x *exchange) writeLine(took time.Duration, why answer.Why) {
	share, record := x.p.decided.Wants(!x.passed)
	if x.p.access == nil && !record && why == answer.NotKept {
		return
	}
	t := &x.target
	l := answer.Line{
		Listener: listenerName, Egress: true, Began: x.began, Took: took, ID: x.id, Client: x.c.RemoteAddr().Addr(),
		Method: x.req.Method, Host: t.host, Port: t.port, Authority: x.req.Host, Path: t.path.Received, Version: x.c.Version(),
		Status: x.status, Reason: x.refused.Reason, Ruling: answer.RulingOf(x.inquiry.set, &x.inquiry.verdict),
		UpstreamStatus: x.answered, Credential: x.inquiry.credential, Connect: x.connect, Lookup: x.inquiry.lookup, In: x.in, Out: x.out, Err: x.err,
	}
	switch {
	case t.tls:
		l.Scheme = "https://"
	case !t.tunnel:
		l.Scheme = "http://"
	}
	if x.lasting != nil && x.refused.Status != 0 {
		l.Ruling.Refused(x.p.policy(), x.refused.Rule, x.refused.Plugin)
	}
	if who := x.inquiry.dst.Identity; who != nil {
		l.Consumer = who.Name
	}
	var upstream [64]byte
	if x.dialled.IsValid() {
		l.Upstream = string(x.dialled.AppendTo(upstream[:0]))
	}
	l.Read(x.req.Fields)
	if x.goesOn || x.p.traces != nil {
		l.Trace = x.place.Trace
	}
	x.p.access.Write(&l)
	if why != answer.NotKept {
		x.keepTrace(&l, why)
	}
	if record {
		x.record(&l, share)
	}
}

// record keeps the decision on the request, of which l tells, in the decision log (R1).
func (x *exchange) record(l *answer.Line, share float64) {
	q, t := &x.inquiry, &x.target
	if q.dst.Identity != nil || q.credential != "" {
		sum := sha256.Sum256([]byte(q.creds.key))
		q.verdict.Rests.KeySum = binary.BigEndian.Uint32(sum[:])
	}
	x.p.decided.Write(&answer.Decided{
		Line: l, Host: t.host, Port: t.port, Clean: t.tunnel || t.path.Canonical != "", Passed: x.passed, Verdict: &q.verdict, Identity: q.dst.Identity,
		Names: x.c.Names(), Body: x.req.Chunked || x.req.ContentLength > 0, Addrs: q.addrs,
	}, share)
}
