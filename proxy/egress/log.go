package egress

import (
	"strconv"
	"time"

	"lictor/proxy/gateway"
)

// tellWould logs and counts what rules in report mode would have done (X13).
func (x *exchange) tellWould() {
	for _, w := range x.inquiry.verdict.Would() {
		x.p.metrics.would(Reason(w.Reason))
		x.p.log.Info("would be denied", "request_id", x.requestID(), "reason", string(w.Reason), "rule", w.Rule.Key,
			"entry", w.Rule.Entry, "note", w.Rule.Note, "host", x.target.host, "port", x.target.port,
			"client", x.c.RemoteAddr().String())
	}
}

// tell logs the decision, once for each request: refusals by a rule always, the
// rest for those who want to see it. What was cut was told already.
func (x *exchange) tell(took time.Duration) {
	denied := x.refused.denies() && x.status == x.refused.status
	if !denied && !x.p.log.IsDebug() {
		return
	}
	event, level := "allowed", x.p.log.Debug
	switch {
	case denied:
		event, level = "denied", x.p.log.Info
	case x.refused.reason != reasonNone:
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
	line := []any{"request_id", x.requestID(), "method", x.req.Method, "host", x.target.host, "port", x.target.port,
		"address", address, "status", x.status, "reason", string(x.refused.reason), "rule", x.refused.rule.Key,
		"entry", x.refused.rule.Entry, "note", x.refused.rule.Note, "client", x.c.RemoteAddr().String(), "consumer", consumer,
		"lookup_us", x.inquiry.lookup.Microseconds(), "connect_us", x.connect.Microseconds(),
		"took_us", took.Microseconds(), "bytes_in", x.in, "bytes_out", x.out}
	if x.err != nil {
		line = append(line, "error", x.err)
	}
	level(event, line...)
}

// accessLog writes one line for each request into the log that the gateway
// writes to as well.
type accessLog struct {
	to     *gateway.AccessLog
	format string
}

func (l *accessLog) write(x *exchange, took time.Duration) {
	buf := x.line[:0]
	switch l.format {
	case "common", "combined":
		buf = appendCommon(buf, x)
	default:
		buf = appendJSONLine(buf, x, took)
	}
	if l.format == "combined" {
		agent, _ := x.req.Get("User-Agent")
		buf = append(buf, ` "-" "`...)
		buf = append(gateway.AppendQuoted(buf, agent), '"')
	}
	x.line = buf
	l.to.Line(buf)
}

func appendJSONLine(dst []byte, x *exchange, took time.Duration) []byte {
	dst = append(dst, `{"time": "`...)
	dst = gateway.AppendTime(dst, x.began)
	dst = append(dst, `", "listener": "egress", "request_id": "`...)
	dst = x.appendID(dst)
	dst = append(dst, `", "client": "`...)
	dst = x.c.RemoteAddr().Addr().AppendTo(dst)
	dst = append(dst, '"')
	if who := x.inquiry.dst.Identity; who != nil {
		dst = appendText(dst, "consumer", who.Name)
	}
	dst = appendText(dst, "method", x.req.Method)
	dst = appendText(dst, "host", x.target.host)
	dst = appendNumber(dst, "port", int64(x.target.port))
	dst = appendText(dst, "path", x.target.path.Received)
	dst = appendNumber(dst, "status", int64(x.status))
	if x.refused.reason != reasonNone {
		dst = appendText(dst, "reason", string(x.refused.reason))
	}
	if x.refused.rule.Key != "" {
		dst = appendText(dst, "rule", x.refused.rule.Key)
		dst = appendText(dst, "entry", x.refused.rule.Entry)
	}
	if x.dialled.IsValid() {
		dst = append(dst, `, "upstream": "`...)
		dst = x.dialled.AppendTo(dst)
		dst = append(dst, '"')
		dst = appendNumber(dst, "connect_us", x.connect.Microseconds())
	}
	dst = appendNumber(dst, "lookup_us", x.inquiry.lookup.Microseconds())
	dst = appendNumber(dst, "bytes_in", x.in)
	dst = appendNumber(dst, "bytes_out", x.out)
	dst = appendNumber(dst, "took_us", took.Microseconds())
	if x.err != nil {
		dst = appendText(dst, "error", x.err.Error())
	}
	return append(dst, '}')
}

func appendKey(dst []byte, name string) []byte {
	dst = append(dst, `, "`...)
	dst = append(dst, name...)
	return append(dst, `": `...)
}

func appendText(dst []byte, name, value string) []byte {
	return gateway.AppendJSON(appendKey(dst, name), value)
}

func appendNumber(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(appendKey(dst, name), n, 10)
}

// appendCommon is the NCSA common log format; the request line shows the URL
// without its query, which may hold secrets.
func appendCommon(dst []byte, x *exchange) []byte {
	dst = x.c.RemoteAddr().Addr().AppendTo(dst)
	dst = append(dst, " - "...)
	if who := x.inquiry.dst.Identity; who != nil {
		dst = append(dst, who.Name...)
	} else {
		dst = append(dst, '-')
	}
	dst = append(dst, " ["...)
	dst = x.began.AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	dst = append(dst, "] \""...)
	url := x.req.Host
	switch {
	case x.target.tls:
		url = "https://" + url + x.target.path.Received
	case !x.target.tunnel:
		url = "http://" + url + x.target.path.Received
	}
	dst = gateway.AppendQuoted(dst, x.req.Method+" "+url+" HTTP/1."+string('0'+rune(x.req.Minor)))
	dst = append(dst, '"', ' ')
	dst = strconv.AppendInt(dst, int64(x.status), 10)
	dst = append(dst, ' ')
	return strconv.AppendInt(dst, x.out, 10)
}
