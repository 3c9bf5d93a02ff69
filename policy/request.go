package policy

import (
	"net/netip"
	"time"

	"lictor/internal/uri"
)

// Fields gives access to the header of a request.
type Fields interface {
	// Field returns the first value of a field and how often it occurs. Names
	// are compared without case.
	Field(name string) (value string, count int)
}

// Locator knows where addresses are (F). It is asked only when a rule needs it.
type Locator interface {
	// Country returns the ISO 3166-1 alpha-2 code in upper case, "" for an
	// address that belongs to none, and CountryUnknown if it cannot tell.
	Country(netip.Addr) string
}

// Hosts knows which hosts services claim where they are registered (K2).
type Hosts interface {
	// ClaimOf returns the service that a host goes to, and the claim, which may be a
	// wildcard; both "" if no service claims it.
	ClaimOf(host string) (service, claim string)
}

// CountryUnknown is what a [Locator] returns if the look-up failed. It is the
// country of no rule that grants, and of every rule that restricts.
const CountryUnknown = "?"

// Request is what the gateway knows about a request. Its strings need to live
// no longer than the call; to decide again later, see [Facts]. A Request may be
// used for one request after the other, so that its buffers are kept.
type Request struct {
	Method  string
	Host    string // as uri.Host gives it
	Port    uint16 // of Host; by scheme if Host has none
	Path    *uri.Path
	Client  netip.Addr // after trusted proxies (C17)
	Names   []string   // of the client's verified certificate; the custom_id of a consumer identifies it
	Fields  Fields     // nil = no header
	Length  int64      // of the body in bytes, as the head tells it; 0 or less = none, or not told
	Locator Locator    // nil = no country is known
	Hosts   Hosts      // nil = no service claims any
	Tokens  Tokens     // nil = no token can be verified, so where one is demanded nobody passes
	Now     time.Time
	Limiter *Limiter // nil = rate limits are not applied
	Dry     bool     // look at the counters, do not raise them (explain)
	As      string   // of a dry question: the consumer who asks, by id or name, without any credential; "" = as the rest says
	Shown   Shown    // of a dry question: what was shown of who it is from; nil = as Fields and Path say
	Again   bool     // it was let pass before, for another service or path: no limit is used up twice

	scratch scratch
}

// Readings are those of the path that was decided on last, for others who look
// at it.
func (r *Request) Readings() *uri.ReadingSet { return &r.scratch.readings }

// scratch is what a decision works in.
type scratch struct {
	decision decision
	inquiry  inquiry
	readings uri.ReadingSet // of the path
	arg      []byte         // a decoded query argument
	client   netip.Addr
	limited  limited
	drop     [][]string // of the verdict
	looked   [][]string // its Credentials
	country  string
	asked    bool // country is known for this decision

	named         []byte // buffer of namedPath
	namedPath     uri.Path
	namedReadings uri.ReadingSet

	assumed, assumedNamed []string // see Assume
}

// Destination is what the egress knows about a request or tunnel (A2, A12).
type Destination struct {
	Method   string
	Host     string // as uri.Host gives it; the canonical spelling if it is an address
	Port     uint16
	Path     *uri.Path    // nil for a tunnel, in which path and method are invisible
	Addrs    []netip.Addr // what the name resolved to; empty before DNS
	Registry Registry     // nil = no service is registered
	Identity *Identity    // of the client, nil = anonymous; a whitelist may ask for it

	readings uri.ReadingSet
}

// Registry knows which services are registered where. The slices are not changed.
type Registry interface {
	// ServicesAt returns the services with an instance at an address and port.
	ServicesAt(netip.AddrPort) []string
	// ServicesNamed returns the services with an instance whose address is a
	// host name.
	ServicesNamed(host string, port uint16) []string
	// AnyCase reports whether a service is one whose registry does not mind the case
	// of names (E7).
	AnyCase(service string) bool
}

// Facts are a request's facts in memory of its own, to decide again when the
// policy changes while the answer is still running (X14). They also hold what
// was decided: the route, and who the client was.
type Facts struct {
	Method    string
	Host      string
	Port      uint16
	Preflight bool // it was one of a plugin cors, for which nobody has to be identified
	Identity  bool // the client was identified by Digest or Names
	Path      uri.Path
	Client    netip.Addr
	Locator   Locator
	Route     Route
	Digest    [32]byte // of the key that was accepted
	Names     []string // of the certificate that was accepted instead of a key
	Token     *Token   // that was accepted; nil = none was demanded
	Tokens    Tokens   // who verified it

	asked []*ForwardAuth // whose yes let it pass
}
