package proxy

import (
	"context"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/proxy/rabbitmq"
)

// Bus carries a whole request and brings a whole answer.
type Bus interface {
	Call(ctx context.Context, r *rabbitmq.Request) (*rabbitmq.Reply, error)
}

// BusRoute says which services are reached over a bus (D11).
type BusRoute struct {
	Bus      Bus
	Services []string      // globs
	Timeout  time.Duration // to the answer
	MaxBody  int64         // of a request
}

// carries reports whether requests for a service go to the bus. Only a first
// segment names an exchange; a nil route carries nothing.
func (b *BusRoute) carries(r *policy.Route) bool {
	if b == nil || r.By != policy.BySegment || r.Backends != nil {
		return false
	}
	for _, glob := range b.Services {
		if ok, _ := path.Match(glob, r.Service); ok {
			return true
		}
	}
	return false
}

const (
	BusReplyLost  Reason = "reply_lost"
	BusKeyTooLong Reason = "routing_key_too_long"
	BusNoUpgrade  Reason = "upgrade_not_supported"
)

var refuseUpgrade = refusal{status: 501, reason: BusNoUpgrade, message: "An upgrade cannot be carried over the bus"}

// publish sends the request over the bus and answers with the reply (D12-D17).
func (x *exchange) publish(p pass) {
	b := x.gw.bus
	x.service = strings.Clone(p.route.Service) // for the log; no metric, for a glob lets clients make up names
	if x.upgrade != "" || x.req.Upgrade != "" {
		x.refuse(refuseUpgrade)
		return
	}
	body, err := x.readWhole(b.MaxBody)
	if err != nil {
		x.refuseBody(err)
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	x.gw.Lasting(x.c)
	stop := x.c.OnGone(func(why error) { cancel(why) })
	began := time.Now()
	reply, err := b.Bus.Call(ctx, &rabbitmq.Request{
		Exchange: p.route.Service, Method: x.req.Method, Path: p.route.Rest, Query: x.query,
		Fields: x.busFields(), Body: body, Deadline: began.Add(b.Timeout),
	})
	stop()
	if err != nil {
		x.busFailed(ctx, err)
		return
	}
	x.upstream = time.Since(began)
	x.answerReply(reply)
}

// readWhole reads the request's body, at most limit bytes of it.
func (x *exchange) readWhole(limit int64) ([]byte, error) {
	if x.req.ContentLength > limit {
		return nil, http1.ErrBodyTooLarge
	}
	if x.set.MaxBody == 0 || limit < x.set.MaxBody {
		x.c.LimitBody(limit)
	}
	if x.req.Expect100 && x.req.Minor > 0 && x.c.HasBody() {
		if err := x.c.WriteInterim([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return nil, http1.ErrClientGone
		}
	}
	return io.ReadAll(bodyReader{x.c})
}

type bodyReader struct{ c *http1.Conn }

func (r bodyReader) Read(p []byte) (int, error) { return r.c.ReadBody(p) }

// busFields are the header fields as a backend would get them by HTTP.
func (x *exchange) busFields() []rabbitmq.Field {
	var fields []rabbitmq.Field
	for i := range x.req.Fields {
		if f := &x.req.Fields[i]; x.passesUp(f) {
			fields = append(fields, rabbitmq.Field{Name: f.Name, Value: f.Value})
		}
	}
	added := x.appendForwarded(x.appendIdentity(x.appendEdits(nil, true)))
	for line := range strings.SplitSeq(strings.TrimSuffix(string(added), "\r\n"), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			fields = append(fields, rabbitmq.Field{Name: name, Value: value})
		}
	}
	return append(fields, rabbitmq.Field{Name: "Host", Value: x.req.Host})
}

// busFailed answers a request that got no reply.
func (x *exchange) busFailed(ctx context.Context, err error) {
	x.err = err
	failure, ok := errors.AsType[*rabbitmq.Error](err)
	if !ok || ctx.Err() != nil {
		x.c.Close()
		x.status, x.reason = 499, clientLeft
		return
	}
	x.refuse(refusal{status: failure.Status, reason: Reason(failure.Reason), message: busMessages[failure.Reason], repeatable: failure.RetryAfter, bus: true})
}

var busMessages = map[string]string{
	"no_service":            refuseNoService.message,
	"unknown_service":       refuseUnknown.message,
	"no_healthy_instance":   "No worker listens",
	"unreachable":           "The bus cannot be reached",
	"reply_lost":            "The reply was lost",
	"timeout":               refuseTimeout.message,
	"bad_gateway":           refuseBadGateway.message,
	"body_too_large":        refuseTooLarge.message,
	"routing_key_too_long":  "The path is too long for a routing key",
	"upgrade_not_supported": refuseUpgrade.message,
}

// answerReply writes a reply as the answer (D14).
func (x *exchange) answerReply(r *rabbitmq.Reply) {
	x.status = r.Status
	dst := http1.AppendStatusLine(x.c.Scratch(), r.Status)
	dated := false
	for _, f := range r.Fields {
		field := http1.Field{Name: f.Name, Value: f.Value, ID: http1.IDOf(f.Name)}
		if !http1.ValidFieldName(f.Name) || !http1.ValidFieldValue(f.Value) || !x.passesDown(&field, nil) {
			continue
		}
		dated = dated || field.ID == http1.FieldDate
		dst = http1.AppendField(dst, f.Name, f.Value)
	}
	if !dated {
		dst = appendDate(dst)
	}
	bodyless := r.Status == 204 || r.Status == 304
	if !bodyless {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(r.Body)), 10)
		dst = append(dst, "\r\n"...)
	}
	dst = x.appendLimits(dst)
	dst = x.appendEdits(dst, false)
	dst = x.c.AppendPersistence(dst)
	dst = append(dst, "\r\n"...)
	if !bodyless && x.req.Method != "HEAD" {
		dst = append(dst, r.Body...)
		x.bytesOut = int64(len(r.Body))
	}
	if err := x.c.Answer(dst); err != nil {
		x.err = err
	}
}
