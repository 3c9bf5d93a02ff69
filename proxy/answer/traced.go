package answer

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unsafe"

	"lictor/internal/trace"
	"lictor/proxy/http1/message"
)

// Why says why the spans of a request are kept.
type Why uint8

// The reasons to keep them. What is said first counts.
const (
	NotKept Why = iota
	Sampled     // by the trace
	Refused     // by lictor
	Failed      // 5xx
	Retried
	Slow
)

// whys are the texts of Why, as labels of a metric.
var whys = [...]string{NotKept: "", Sampled: "sampled", Refused: "refused", Failed: "failed", Retried: "retried", Slow: "slow"}

// String returns the text of w.
func (w Why) String() string { return whys[w] }

// Traced is a request that is over, as its spans tell it: one for the request, and
// one for each attempt. Its strings may be parts of the request.
type Traced struct {
	Line // what the access log tells of it
	Why  Why

	Place      trace.Place
	Peer       netip.Addr // of the socket
	Proto      string     // http or https, by which the client came
	Server     string     // that the client named, maybe with a port
	ServerPort string     // that it came by
	Route      string     // that led to the service; never the path, nor anything else that clients make up; "" = none

	Attempts []Attempt
	Error    string // the text of Err, once it is kept
}

// Attempt is one try to have a request answered.
type Attempt struct {
	Began, Ended time.Duration // since the request began
	Bus          bool          // it was published; Instance is the exchange then
	TLS          bool
	Instance     string
	Address      string         // host and port, as the request names them
	Dialled      netip.AddrPort // what that was; zero = Address says it
	Path         string         // without its query; "" = the client's own business, as in a tunnel
	Status       int            // of the answer; 0 = there was none
	Failed       Reason         // why there was none, or the answer was not taken
}

// texts are the strings of t that may be parts of the request, or of what is
// reloaded meanwhile.
func (t *Traced) texts() []*string {
	l := &t.Line
	all := []*string{
		&l.ID, &l.Consumer, &l.Credential, &l.Method, &l.Host, &l.Service, &l.API, &l.Instance, &l.Upstream, &l.Agent,
		&l.Ruling.Rule.Key, &l.Ruling.Rule.Entry, &l.Ruling.Plugin, &t.Server, &t.ServerPort, &t.Route, &t.Error,
	}
	for i := range t.Attempts {
		a := &t.Attempts[i]
		all = append(all, &a.Instance, &a.Address)
	}
	return all
}

// kept returns t in memory of its own, and how much that is, in bytes. Clients send
// bytes that are no text, of which protobuf would not take a single one in the whole
// batch: U+FFFD stands for them.
func (t *Traced) kept() (own *Traced, size int) {
	c := *t
	c.Attempts = slices.Clone(t.Attempts)
	if c.Err != nil {
		c.Error, c.Err = c.Err.Error(), nil
	}
	c.Referer, c.Authority, c.Scheme, c.Ruling.Rule.Note = "", "", "", ""
	size = int(unsafe.Sizeof(c)) + len(c.Attempts)*int(unsafe.Sizeof(Attempt{}))
	keep := func(s *string, most int) {
		*s = strings.Clone(strings.ToValidUTF8(clip(*s, most), "\uFFFD"))
		size += len(*s)
	}
	for _, s := range c.texts() {
		keep(s, maxName)
	}
	keep(&c.Path, maxText)
	for i := range c.Attempts {
		keep(&c.Attempts[i].Path, maxText)
	}
	return &c, size
}

// Join finds where a request stands in its trace, and whether that goes on one that
// the client began: a traceparent that is not valid, or one of several, begins a new
// trace (Trace Context 4.3). believed says that the client is one whose word on what
// is kept counts. A nil Traces keeps none, and passes on what the client says.
func (t *Traces) Join(p *trace.Place, fields []message.Field, believed bool) (goesOn bool) {
	var parent *message.Field
	several := false
	for i := range fields {
		if f := &fields[i]; f.ID == message.FieldTraceparent {
			several = parent != nil
			parent = f
		}
	}
	var share trace.Share
	if t != nil {
		share = t.set.Load().Share
	}
	if parent != nil && !several {
		if c, ok := trace.Parse(parent.Value); ok {
			p.Join(&c, c.Sampled && (believed || t == nil) || !believed && share.HasStranger(c.Trace))
			return true
		}
	}
	p.Begin(share)
	return false
}

// AppendState appends the tracestate that goes on with a request, as a field; nothing
// if it has none.
func AppendState(dst []byte, fields []message.Field) []byte {
	var s trace.State
	begun := len(dst)
	for i := range fields {
		if f := &fields[i]; f.ID == message.FieldTracestate {
			if len(dst) == begun {
				dst = append(dst, "tracestate: "...)
			}
			dst = s.Append(dst, f.Value)
		}
	}
	if s.Empty() {
		return dst[:begun]
	}
	return append(dst, "\r\n"...)
}
