package gateway

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/crash"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/rabbitmq"
)

// Bus carries a whole request and brings a whole answer.
type Bus interface {
	Call(ctx context.Context, r *rabbitmq.Request) (*rabbitmq.Reply, error)
}

// BusRoute says which services are reached over a bus (D11). Its fields but for
// Bus are what it begins with; Update changes them.
type BusRoute struct {
	Bus      Bus
	Services []string      // globs
	Timeout  time.Duration // to the answer
	MaxBody  int64         // of a request

	newer   atomic.Pointer[BusRoute] // what Update was given last; nil at first
	bodies  room                     // of requests that wait for their answers
	replies room                     // that clients have not read yet
}

// Update replaces which services are on the bus, and how; requests under way
// are not touched.
func (b *BusRoute) Update(services []string, timeout time.Duration, maxBody int64) {
	b.newer.Store(&BusRoute{Services: services, Timeout: timeout, MaxBody: maxBody})
}

// now returns the settings in force.
func (b *BusRoute) now() *BusRoute {
	if newer := b.newer.Load(); newer != nil {
		return newer
	}
	return b
}

// ServicesNow are the globs in force.
func (b *BusRoute) ServicesNow() []string { return b.now().Services }

// carries reports whether a route's service is reached over the bus, however
// the route was found. Backends that are written into the policy are not. A
// nil BusRoute carries nothing.
func (b *BusRoute) carries(r *policy.Route) bool {
	return b != nil && r.Service != "" && r.Backends == nil && slices.ContainsFunc(b.now().Services, func(glob string) bool {
		ok, _ := path.Match(glob, r.Service) // the configuration checked the glob
		return ok
	})
}

// Bus returns which services are on a bus, nil if there is none.
func (g *Gateway) Bus() *BusRoute { return g.bus }

// publish sends the request over the bus and answers with the reply (D12-D17).
func (x *exchange) publish(p pass) {
	b := x.gw.bus
	x.service = strings.Clone(p.route.Service)
	if x.upgrade != "" {
		x.refuse(refuseUpgrade)
		return
	}
	set := b.now()
	var held *holding
	if x.c.HasBody() {
		held = b.bodies.hold(x.client, x.c)
		defer held.giveBack()
	}
	body, err := x.readWhole(set.MaxBody, held)
	if err != nil {
		x.refuseBody(err)
		return
	}
	began := time.Now()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stop := x.watch(cancel)
	reply, err := b.Bus.Call(ctx, &rabbitmq.Request{
		Exchange: p.route.Service, Method: x.req.Method, Path: x.target, Query: x.query,
		Fields: x.busFields(), Body: body, Deadline: began.Add(set.Timeout),
	})
	stop()
	x.group = x.gw.busGroup(x.service, err == nil)
	if err != nil {
		x.busFailed(ctx, err)
		return
	}
	x.upstream = time.Since(began)
	body = nil
	held.giveBack()
	x.deliverReply(reply)
}

// deliverReply answers with r, and takes room for it until the client has it.
func (x *exchange) deliverReply(r *rabbitmq.Reply) {
	if len(r.Body) < smallReply {
		x.answerReply(r)
		return
	}
	held := x.gw.bus.replies.hold(x.client, x.c)
	defer held.giveBack()
	if !held.take(int64(len(r.Body))) {
		x.refuse(refuseReplyFull)
		return
	}
	x.gw.Lasting(x.c)
	held.waits()
	x.answerReply(r)
	if !held.resumes() {
		x.err = errBusFull
	}
}

// smallReply is what a socket takes at once, so that nobody holds it.
const smallReply = 16 << 10

// watchAfter is how long a worker may think before the client is watched for
// leaving, and the policy for a change: most answer sooner.
const watchAfter = 50 * time.Millisecond

// errCrashed is what a request ends with whose watch panicked.
var errCrashed = errors.New("proxy: a panic ended the request")

// watch cancels when the client leaves or the exchange is cut (X14), until stop
// is called.
func (x *exchange) watch(cancel context.CancelCauseFunc) (stop func()) {
	var mu sync.Mutex // guards over and unwatch
	over, unwatch := false, func() {}
	timer := time.AfterFunc(watchAfter, func() {
		defer crash.Contain("watch of a client", func() { cancel(errCrashed) })
		mu.Lock()
		defer mu.Unlock()
		if !over {
			x.gw.Lasting(x.c)
			unwatch = x.c.OnGone(cancel)
		}
	})
	return func() {
		if timer.Stop() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		over = true
		unwatch()
	}
}

// busFields are the header fields as a backend would get them by HTTP.
func (x *exchange) busFields() []rabbitmq.Field {
	fields := make([]rabbitmq.Field, 0, len(x.req.Fields)+12)
	for i := range x.req.Fields {
		if f := &x.req.Fields[i]; x.passesUp(f) {
			fields = append(fields, rabbitmq.Field{Name: f.Name, Value: f.Value})
		}
	}
	if x.req.Host != "" {
		fields = append(fields, rabbitmq.Field{Name: "Host", Value: x.req.Host})
	}
	added := x.appendForwarded(x.appendIdentity(x.appendEdits(x.c.Scratch(), true)))
	for line := range strings.SplitSeq(strings.TrimSuffix(string(added), "\r\n"), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			fields = append(fields, rabbitmq.Field{Name: name, Value: value})
		}
	}
	return fields
}

// busGroup returns the group that counts requests for a service on the bus, nil
// if there is none: of a name that nobody has answered to yet nothing is kept,
// for a glob lets clients make up names.
func (g *Gateway) busGroup(name string, answered bool) *group {
	if !answered && !slices.Contains(g.bus.now().Services, name) {
		return (*g.groups.Load())[name]
	}
	grp := g.group(name)
	grp.onBus.Store(true)
	grp.used.Store(monotonic())
	return grp
}

// busFailed answers a request that got no reply.
func (x *exchange) busFailed(ctx context.Context, err error) {
	x.err = err
	failure, ok := errors.AsType[*rabbitmq.Error](err)
	if !ok || ctx.Err() != nil {
		x.refuse(answer.Left)
		return
	}
	message := cmp.Or(failure.Message, busMessages[failure.Reason])
	x.refuse(answer.Refusal{Status: failure.Status, Reason: answer.Reason(failure.Reason), Message: message, Repeatable: failure.RetryAfter})
}

var busMessages = map[string]string{
	"no_service":           refuseNoService.Message,
	"unknown_service":      refuseUnknown.Message,
	"no_healthy_instance":  "No worker listens",
	"unreachable":          "The bus cannot be reached",
	"overloaded":           "Too much is on its way over the bus",
	"reply_lost":           "The reply was lost",
	"timeout":              refuseTimeout.Message,
	"bad_gateway":          refuseBadGateway.Message,
	"body_too_large":       "The request is too large for the bus",
	"routing_key_too_long": "The path is too long for a routing key",
}

// answerReply writes a reply as the answer (D14).
func (x *exchange) answerReply(r *rabbitmq.Reply) {
	x.status = r.Status
	dst := http1.AppendStatusLine(x.c.Scratch(), r.Status)
	dated := false
	for i := range r.Fields {
		f := http1.Field{Name: r.Fields[i].Name, Value: r.Fields[i].Value, ID: http1.IDOf(r.Fields[i].Name)}
		if !http1.ValidFieldName(f.Name) || !http1.ValidFieldValue(f.Value) || !x.passesDown(&f, nil) {
			continue
		}
		dated = dated || f.ID == http1.FieldDate
		dst = http1.AppendField(dst, f.Name, f.Value)
	}
	if !dated {
		dst = http1.AppendDate(dst)
	}
	bodyless, head := r.Status == 204 || r.Status == 304, x.req.Method == "HEAD"
	if !bodyless && !(head && len(r.Body) == 0) { // of a HEAD it would speak of the GET (RFC 9110 8.6)
		dst = http1.AppendLength(dst, int64(len(r.Body)))
	}
	dst = x.appendDecision(x.appendLimits(dst))
	dst = x.appendEdits(dst, false)
	dst = x.c.AppendPersistence(dst)
	dst = append(dst, "\r\n"...)
	if bodyless || head {
		x.err = x.c.Answer(dst)
		return
	}
	x.bytesOut = int64(len(r.Body))
	if len(r.Body) < smallReply {
		x.err = x.c.Answer(append(dst, r.Body...)) // in one write
		return
	}
	if x.err = x.c.Answer(dst); x.err == nil {
		x.err = x.c.AnswerMore(r.Body) // without a copy of it
	}
}
