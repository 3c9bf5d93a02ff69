package upstream

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

	"lictor/internal/monotonic"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
	"lictor/proxy/rabbitmq"
)

// Bus carries a whole request and brings a whole answer. Call keeps neither ctx nor r,
// but for the request's body.
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
	Memory   int64         // bytes of requests that may be held at once, and as many of replies; 0 = 256 MiB

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

// Held returns how many bytes of requests and of replies are in memory.
func (b *BusRoute) Held() (requests, replies int64) { return b.bodies.held(), b.replies.held() }

// Carries reports whether a service is reached over the bus, however it was found. Backends that are written into the policy are not. A
// nil BusRoute carries nothing.
func (b *BusRoute) Carries(service string, backends *policy.Backends) bool {
	return b != nil && service != "" && backends == nil && slices.ContainsFunc(b.now().Services, func(glob string) bool {
		ok, _ := path.Match(glob, service) // the configuration checked the glob
		return ok
	})
}

// publish sends the request over the bus and answers with the reply (D12-D17).
func (q *Request) publish() {
	b := q.s.bus
	name := strings.Clone(q.permit.Service())
	q.out.Service = name
	if q.Upgrade != "" {
		q.refuse(refuseUpgrade)
		return
	}
	set := b.now()
	var held *holding
	if q.Conn.HasBody() {
		held = b.bodies.hold(q.Client, q.Conn)
		defer held.giveBack()
	}
	body, err := q.readWhole(set.MaxBody, held)
	if err != nil {
		q.refuseBody(err)
		return
	}
	began := time.Now()
	q.out.Published, q.out.asked = true, began.Sub(q.Began)
	reply, gone, err := q.call(rabbitmq.Request{
		Exchange: name, Method: q.Head.Method, Path: q.out.Target, Query: q.Query,
		Body: body, Deadline: began.Add(set.Timeout),
	})
	if g := q.s.busGroup(name, err == nil); g != nil {
		q.out.metrics = g.metrics
	}
	if err != nil {
		q.busFailed(gone, err)
		return
	}
	q.out.Answered = time.Since(began)
	body = nil
	held.giveBack()
	q.deliverReply(reply)
}

// busRequests are empty but for the room for fields.
var busRequests = sync.Pool{New: func() any { return new(rabbitmq.Request) }}

// mostFieldsKept is the room for fields that one of them has at most.
const mostFieldsKept = 128

// call sends what is asked, with the fields of q, and waits for the reply; gone says
// that the client left meanwhile, or the exchange was cut.
func (q *Request) call(asked rabbitmq.Request) (reply *rabbitmq.Reply, gone bool, err error) {
	r := busRequests.Get().(*rabbitmq.Request)
	asked.Fields = q.appendBusFields(r.Fields)
	*r = asked
	w := q.wait()
	defer func() { gone = w.end() }() // after a panic as well
	reply, err = q.s.bus.Bus.Call(w.ctx, r)
	if cap(r.Fields) <= mostFieldsKept {
		clear(r.Fields) // which lie in the client's head
		*r = rabbitmq.Request{Fields: r.Fields[:0]}
		busRequests.Put(r)
	}
	return reply, false, err
}

// deliverReply answers with r, and takes room for it until the client has it.
func (q *Request) deliverReply(r *rabbitmq.Reply) {
	if len(r.Body) < smallReply {
		q.answerReply(r)
		return
	}
	held := q.s.bus.replies.hold(q.Client, q.Conn)
	defer held.giveBack()
	if !held.take(int64(len(r.Body))) {
		q.refuse(refuseReplyFull)
		return
	}
	q.Exchange.Lasts()
	held.waits()
	q.answerReply(r)
	if !held.resumes() {
		q.out.Err = errBusFull
	}
}

// smallReply is what a socket takes at once, so that nobody holds it.
const smallReply = 16 << 10

// appendBusFields appends the header fields as a backend would get them by HTTP.
func (q *Request) appendBusFields(fields []rabbitmq.Field) []rabbitmq.Field {
	for i := range q.Head.Fields {
		if f := &q.Head.Fields[i]; q.Exchange.PassesUp(f) {
			fields = append(fields, rabbitmq.Field{Name: f.Name, Value: f.Value})
		}
	}
	if q.Head.Host != "" {
		fields = append(fields, rabbitmq.Field{Name: "Host", Value: q.Head.Host})
	}
	added := q.Exchange.AppendUp(q.Conn.Scratch(), q.stripped)
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
func (s *Sender) busGroup(name string, answered bool) *group {
	if !answered && !slices.Contains(s.bus.now().Services, name) {
		return (*s.groups.Load())[name]
	}
	grp := s.group(name)
	grp.onBus.Store(true)
	grp.used.Store(monotonic.Now())
	return grp
}

// busFailed answers a request that got no reply.
func (q *Request) busFailed(gone bool, err error) {
	q.out.Err = err
	failure, ok := errors.AsType[*rabbitmq.Error](err)
	if !ok || gone {
		q.refuse(answer.Left)
		return
	}
	message := cmp.Or(failure.Message, busMessages[failure.Reason])
	q.refuse(answer.Refusal{Status: failure.Status, Reason: answer.Reason(failure.Reason), Message: message, Repeatable: failure.RetryAfter})
}

var busMessages = map[string]string{
	"no_service":           NoServiceMessage,
	"unknown_service":      RefuseUnknown.Message,
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
func (q *Request) answerReply(r *rabbitmq.Reply) {
	q.out.Status = r.Status
	dst := message.AppendStatusLine(q.Conn.Scratch(), r.Status)
	dated := false
	for i := range r.Fields {
		f := message.Field{Name: r.Fields[i].Name, Value: r.Fields[i].Value, ID: message.IDOf(r.Fields[i].Name)}
		if !message.ValidFieldName(f.Name) || !message.ValidFieldValue(f.Value) || !q.Exchange.PassesDown(&f, nil) {
			continue
		}
		dated = dated || f.ID == message.FieldDate
		dst = message.AppendField(dst, f.Name, f.Value)
	}
	if !dated {
		dst = message.AppendDate(dst)
	}
	bodyless, head := r.Status == 204 || r.Status == 304, q.Head.Method == "HEAD"
	if !bodyless && !(head && len(r.Body) == 0) { // of a HEAD it would speak of the GET (RFC 9110 8.6)
		dst = message.AppendLength(dst, int64(len(r.Body)))
	}
	dst = q.Exchange.AppendDown(dst)
	dst = q.Conn.AppendPersistence(dst)
	dst = append(dst, "\r\n"...)
	if bodyless || head {
		q.out.Err = q.Conn.Answer(dst)
		return
	}
	q.out.Out = int64(len(r.Body))
	if len(r.Body) < smallReply {
		q.out.Err = q.Conn.Answer(append(dst, r.Body...)) // in one write
		return
	}
	if q.out.Err = q.Conn.Answer(dst); q.out.Err == nil {
		q.out.Err = q.Conn.AnswerMore(r.Body) // without a copy of it
	}
}
