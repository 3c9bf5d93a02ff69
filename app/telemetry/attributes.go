package telemetry

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"lictor/proxy/answer"
)

// Names and attributes follow the stable semantic conventions of HTTP spans. The
// query of a URL stands in none of them: keys hide there.

// methods are those that the conventions know; of any other one is told that it is.
var methods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "CONNECT": true, "OPTIONS": true, "TRACE": true, "PATCH": true,
}

// nameOf is what the span of a request is called: the method and what led to the
// service, never the path, of which there are too many.
func nameOf(t *answer.Traced) string {
	if t.Route == "" {
		return spoken(t.Method)
	}
	return spoken(t.Method) + " " + t.Route
}

// spoken is a method in the name of a span.
func spoken(method string) string {
	if methods[method] {
		return method
	}
	return "HTTP"
}

// mostAttributes is how many a span has: most have fewer.
const mostAttributes = 28

// told are attributes that are left out where nothing is known.
type told []attribute.KeyValue

func (a *told) text(key attribute.Key, value string) {
	if value != "" {
		*a = append(*a, key.String(value))
	}
}

func (a *told) number(key attribute.Key, n int64) { *a = append(*a, key.Int64(n)) }

func (a *told) method(method string) {
	if methods[method] {
		a.text(semconv.HTTPRequestMethodKey, method)
		return
	}
	a.text(semconv.HTTPRequestMethodKey, "_OTHER")
	a.text(semconv.HTTPRequestMethodOriginalKey, method)
}

// server tells of a host that may have a port; else it is the one that is given.
func (a *told) server(host, port string) {
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	a.text(semconv.ServerAddressKey, strings.Trim(host, "[]"))
	if n, err := strconv.ParseUint(port, 10, 16); err == nil && host != "" {
		a.number(semconv.ServerPortKey, int64(n))
	}
}

func (a *told) address(key attribute.Key, addr netip.Addr) {
	if addr.IsValid() {
		a.text(key, addr.String())
	}
}

// outcome tells the status, and what kind of failure it was: by reason, else by the
// status from which on it is one.
func (a *told) outcome(status int, reason answer.Reason, failure int) {
	if status > 0 {
		a.number(semconv.HTTPResponseStatusCodeKey, int64(status))
	}
	switch {
	case reason != answer.ReasonNone:
		a.text(semconv.ErrorTypeKey, string(reason))
	case status >= failure:
		a.text(semconv.ErrorTypeKey, strconv.Itoa(status))
	}
}

// serverAttributes are those of the span of a request.
func serverAttributes(t *answer.Traced) []attribute.KeyValue {
	a := make(told, 0, mostAttributes)
	l := &t.Line
	a.method(l.Method)
	if strings.HasPrefix(t.Route, "/") {
		a.text(semconv.HTTPRouteKey, t.Route)
	}
	status := l.Status
	if l.Reason == answer.ClientLeft {
		status = 0 // nothing was answered
	}
	a.outcome(status, l.Reason, 500)
	a.text(semconv.URLSchemeKey, t.Proto)
	a.text(semconv.URLPathKey, l.Path)
	a.server(t.Server, t.ServerPort)
	a.address(semconv.ClientAddressKey, l.Client)
	a.address(semconv.NetworkPeerAddressKey, t.Peer)
	if a.text(semconv.NetworkProtocolVersionKey, l.Version); l.Version == "2.0" {
		a[len(a)-1].Value = attribute.StringValue("2")
	}
	a.text(semconv.UserAgentOriginalKey, l.Agent)
	a.number(semconv.HTTPRequestBodySizeKey, l.In)
	a.number(semconv.HTTPResponseBodySizeKey, l.Out)

	a.text("lictor.listener", l.Listener)
	a.text("lictor.request_id", l.ID)
	a.text("lictor.kept", t.Why.String())
	a.text("lictor.service", l.Service)
	a.text("lictor.api", l.API)
	a.text("lictor.consumer", l.Consumer)
	a.text("lictor.plugin", l.Ruling.Plugin)
	a.text("lictor.rule", l.Ruling.Rule.Key)
	a.text("lictor.rule.entry", l.Ruling.Rule.Entry)
	a.text("lictor.rule.mode", string(l.Ruling.Mode))
	a.text("lictor.rule.would", string(l.Ruling.Would))
	a.text("lictor.policy.hash", l.Ruling.Policy)
	if l.Answered > 0 {
		a.number("lictor.upstream_us", l.Answered.Microseconds())
	}
	return a
}

// attemptOf is the span of the i-th attempt: a call of an instance, or what was
// published.
func attemptOf(t *answer.Traced, i int) (name string, kind trace.SpanKind, attributes []attribute.KeyValue) {
	a := make(told, 0, mostAttributes/2)
	try := &t.Attempts[i]
	if try.Bus {
		a = append(a, semconv.MessagingSystemRabbitMQ, semconv.MessagingOperationTypeSend, semconv.MessagingOperationName(publish))
		a.text(semconv.MessagingDestinationNameKey, try.Instance)
		a.method(t.Method)
		a.outcome(try.Status, try.Failed, 400)
		return publish + " " + try.Instance, trace.SpanKindProducer, a
	}
	scheme := "http"
	if try.TLS {
		scheme = "https"
	}
	a.method(t.Method)
	if try.Path != "" {
		a.text(semconv.URLSchemeKey, scheme)
		a.text(semconv.URLFullKey, scheme+"://"+try.Address+try.Path)
	}
	a.server(try.Address, "")
	peer := try.Dialled
	if !peer.IsValid() {
		peer, _ = netip.ParseAddrPort(try.Address) // a name is none
	}
	if peer.IsValid() {
		a.address(semconv.NetworkPeerAddressKey, peer.Addr())
		a.number(semconv.NetworkPeerPortKey, int64(peer.Port()))
	}
	a.outcome(try.Status, try.Failed, 400)
	if i > 0 {
		a.number(semconv.HTTPRequestResendCountKey, int64(i))
	}
	a.text("lictor.instance", try.Instance)
	return spoken(t.Method), trace.SpanKindClient, a
}

// publish is what a request for the bus is called.
const publish = "publish"
