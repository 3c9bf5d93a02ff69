package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"syscall"
	"time"

	"lictor/admin/api"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/resolver"
)

// Settings are what a SIGHUP may change (contract 2: dispatch "http"). They are
// immutable once given; a duration is required unless it says what 0 means.
type Settings struct {
	Timeout         time.Duration // to the response head
	Balance         resolver.Balance
	HashOn          string                                                  // "client_ip", "header:NAME", "cookie:NAME"
	Retries         int                                                     // on other instances
	ConnectTimeout  time.Duration                                           // per attempt
	MaxIdle         int                                                     // connections kept per instance
	MaxConnections  int                                                     // to one instance; 0 = no limit
	MaxRequests     int                                                     // in flight at one instance; 0 = no limit
	SlowStart       time.Duration                                           // in which the share of a new instance grows; 0 = it has all of it
	Eject           resolver.Faults                                         // answers for which an instance is left out
	RewriteLocation bool                                                    // what answers say of the service's paths is put right, where their prefix was taken off
	Hold            time.Duration                                           // for which a request waits while no instance is usable; 0 = it does not
	Control         func(network, address string, rc syscall.RawConn) error // may refuse an address of an instance; nil: all are fine
	UpstreamTLS     *tls.Config                                             // for instances with scheme https; nil: the system's authorities, no certificate of ours
	UpstreamRoots   func() *x509.CertPool                                   // the authorities of their certificates at each handshake; nil: as UpstreamTLS says
}

// Exchange is what a request asks of the exchange that it belongs to: which
// header fields go on, and which are added.
type Exchange interface {
	// PassesUp reports whether a field of the request goes to the backend.
	PassesUp(f *message.Field) bool
	// AppendUp appends what lictor adds for the backend; stripped says that the
	// path goes without its first segment.
	AppendUp(dst []byte, stripped bool) []byte
	// PassesDown reports whether a field of the answer goes to the client, and puts
	// right what its value says of paths, if it has to (RewritesLocation);
	// connection are the names that its Connection lists.
	PassesDown(f *message.Field, connection []string) bool
	// AppendDown appends what lictor adds for the client.
	AppendDown(dst []byte) []byte
	// Lasts is called when the request turns out to take long, maybe by another
	// goroutine.
	Lasts()
}

// Request is a request on its way to an instance. All exported fields are
// required, but for Conn in a preview; none changes while it is sent. Its memory
// may be used for the next one.
type Request struct {
	Exchange Exchange
	Settings *Settings
	Conn     *http1.Conn
	Head     *message.RequestHead
	Began    time.Time
	Client   netip.Addr
	Path     *uri.Path
	Stripped bool          // the path goes without its first segment
	Canary   bool          // it goes to a canary of its service, if one is usable
	Query    string        // that goes with the path, if that has one
	Upgrade  string        // the protocol to upgrade to, "" if none
	MaxBody  int64         // bytes of the body; 0 = no limit
	Header   time.Duration // for which a body may take its time at first
	Timed    bool          // when each attempt began is to be told exactly

	progress
	onInterim func(*message.ResponseHead)
}

// progress is how far a request came.
type progress struct {
	s   *Sender
	out *Outcome
	dry bool // nothing is sent, and nothing is used up

	permit   policy.Permit
	group    *group
	stripped bool
	waited   bool   // for the first answer about the service, or for an instance
	resent   bool   // it was sent again: an instance said that it did not act on it, or broke off what only reads
	owed     bool   // a kept connection broke it off: it is sent again, be it without a wait
	anew     bool   // for the same reason, by a new connection: others that are kept may be dead as well
	prepared bool   // what came of the body with the head is ready to be sent
	relays   bool   // an answer is being relayed, by a member that the request counts at until Done
	full     bool   // a member was left out as it has as many requests as it may
	known    bool   // some source knew the service when it was located last
	busy     int    // how many of the tries had as many connections as they may
	sites    uint64 // places of the sources whose instances were tried, a bit for each
	former   int    // how many of the tries were of sites before this one, or before it waited

	came *answer.Refusal // in place of one that says that nobody was reached: a former attempt may have come to somebody

	most  int64     // requests in flight at one instance; 0 = no limit
	slow  int64     // nanoseconds in which the share of a new instance grows; 0 = none is new
	trial *ejection // that the attempt under way may end; nil if it is none

	service *resolver.Service // that was located last; nil if none was loaded
	seen    int64             // changes of catalogs before that
	since   int64             // monotonic time since which it waits for an instance; 0 if it never did
}

// Outcome is what became of a request. It is not changed once Done returned.
type Outcome struct {
	Refusal answer.Refusal // that the client is to be told; zero if it got an answer
	Status  int            // of that answer
	Err     error          // for the log; never for the client

	Service   string             // that it was for, "" if none is known
	Target    string             // the path that went to the backend
	Instance  *resolver.Instance // that answered; nil if none did
	Tries     int                // how many attempts there were
	Answered  time.Duration      // from the first attempt to the answer's head; 0 if there was none
	Waited    time.Duration      // before the first attempt, or between two, for an instance
	Published bool               // it went to the bus
	Out       int64              // bytes of the answer's body

	tries    []try
	triesArr [1]try        // of nearly all requests
	asked    time.Duration // since the request began, when it was published
	member   *member       // that answered
	metrics  *serviceMetrics
}

// Instances are those that were tried, in order.
func (o *Outcome) Instances() []api.InstanceFact {
	all := make([]api.InstanceFact, 0, len(o.tries))
	for i := range o.tries {
		m := o.tries[i].member
		all = append(all, m.fact(m == o.member))
	}
	return all
}

// factOf is what an explanation says of an instance.
func factOf(i *resolver.Instance, chosen bool) api.InstanceFact {
	return api.InstanceFact{ID: i.ID, Address: i.Address, State: i.State.String(), Canary: i.Canary, Chosen: chosen}
}

func (m *member) fact(chosen bool) api.InstanceFact {
	return factOf(m.inst, chosen)
}

// begin readies q for a run through its sender.
func (q *Request) begin(s *Sender, p policy.Permit, o *Outcome, dry bool) {
	*o = Outcome{}
	o.tries = o.triesArr[:0]
	q.progress = progress{} // cleared in place: with values it would be built aside and copied
	q.s, q.out, q.dry, q.stripped = s, o, dry, q.Stripped
	q.permit = p
	o.Target = q.Path.Target(q.Stripped)
	if q.onInterim == nil {
		q.onInterim = q.interim
	}
}

// Release forgets what q was about. Its memory may be used again.
func (q *Request) Release() {
	kept := q.onInterim
	*q = Request{}
	q.onInterim = kept
}

// RewritesLocation reports whether the backend does not know the prefix of its
// paths, for it was taken off, and has what it says of them put right.
func (q *Request) RewritesLocation() bool {
	if !q.stripped {
		return false
	}
	if q.service == nil {
		return q.Settings.RewriteLocation
	}
	return q.service.Options.RewriteLocation.Or(q.Settings.RewriteLocation)
}

// refuse notes that the client is to be told r.
func (q *Request) refuse(r answer.Refusal) { q.out.Refusal = r }
