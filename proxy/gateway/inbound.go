package gateway

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"lictor/internal/trace"
	"lictor/internal/uri"
	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// inbound is what came: a request as its client and the proxies in front of
// lictor tell it. It is read once, before the decision, and not changed after.
type inbound struct {
	set *Settings
	c   *http1.Conn // nil in an explanation
	req *message.RequestHead

	listener int            // that it came by; 0 = the gateway's own
	proxies  []netip.Prefix // that are trusted there

	version string // of HTTP, that the client speaks
	began   time.Time
	id      string // request id
	idBytes [32]byte
	peer    netip.Addr // of the socket
	client  netip.Addr // behind trusted proxies
	from    string     // where client was taken from
	trusted bool       // the peer is a trusted proxy
	inside  bool       // the client is in a trusted network
	place   trace.Place
	traced  bool  // lictor's own spans may be sent, so that place is told instead of what came
	goesOn  bool  // the trace of place is one that the client began
	hops    []hop // of its Forwarded; nil if it sent none that is believed

	path     uri.Path
	scratch  []byte // of path
	upgrade  string // the protocol to upgrade to, "" if none
	counted  bool   // the client counts who passes the request on
	forwards uint64 // how many may

	peerWord  []byte // the peer as text, nil as long as nobody wants it
	peerBytes [64]byte
}

// read makes the one reading of the path that everything goes by (D22), and
// refuses what can be refused by the head alone.
func (in *inbound) read() answer.Refusal {
	target := in.req.OriginForm()
	var err error
	in.path, in.scratch, err = uri.ParsePath(target, in.scratch)
	if err != nil {
		in.path.Received, _, _ = strings.Cut(target, "?") // for the log
		r := refuseBadPath
		if target == "*" {
			r = refuseNoService
		}
		return r.Because(err)
	}
	if in.path.TooOdd() {
		return refuseOddPath
	}
	if in.set.MaxBody > 0 && in.req.ContentLength > in.set.MaxBody {
		return answer.RefuseTooLarge
	}
	in.upgrade = upgradeOf(in.req)
	in.forwards, in.counted = hops.MaxForwards(in.req)
	return answer.Refusal{}
}

// Field implements policy.Fields.
func (in *inbound) Field(name string) (value string, count int) { return in.req.Get(name) }

// upgradeOf is the protocol that the request asks to switch to. h2c is never
// passed on: a backend that agrees would be spoken to behind our back (D20).
// Nor is an upgrade that comes by HTTP/1.0.
func upgradeOf(req *message.RequestHead) string {
	if req.Upgrade == "" || req.Minor == 0 {
		return ""
	}
	for p := range strings.SplitSeq(req.Upgrade, ",") {
		name, _, _ := strings.Cut(strings.Trim(p, " \t"), "/")
		if message.EqualFold(name, "h2c") || message.EqualFold(name, "h2") {
			return ""
		}
	}
	return req.Upgrade
}

// nameRequest gives the request its id: the one that a trusted proxy gave it,
// or a new one.
func (in *inbound) nameRequest() {
	if in.trusted {
		for i := range in.req.Fields {
			if f := &in.req.Fields[i]; f.ID == message.FieldXRequestID && validID(f.Value) {
				in.id = f.Value
				return
			}
		}
	}
	answer.AppendHex(in.idBytes[:0], rand.Uint64(), rand.Uint64())
	in.id = unsafe.String(&in.idBytes[0], len(in.idBytes))
}

func validID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// joinTrace finds where the request stands in its trace. What the client says of
// keeping it counts if it comes from inside, or by a trusted proxy.
func (in *inbound) joinTrace(t *answer.Traces) {
	in.traced = t != nil
	in.goesOn = t.Join(&in.place, in.req.Fields, in.trusted || in.inside)
}

// traceID is what logs and exemplars call the trace: none where neither the client
// named one nor lictor sends spans.
func (in *inbound) traceID() trace.ID {
	if !in.traced && !in.goesOn {
		return trace.ID{}
	}
	return in.place.Trace
}

// scheme is that by which the client came.
func (in *inbound) scheme() (name string, port uint16) {
	if in.c != nil && in.c.Secure() { // there is none in an explanation
		return "https", 443
	}
	return "http", 80
}
