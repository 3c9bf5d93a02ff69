package policy

import (
	"slices"
	"sync/atomic"
	"time"
)

// Action is what a verdict asks for. Its zero value denies.
type Action uint8

const (
	Deny   Action = iota // refuse with the Verdict's Status and Reason
	Allow                // go on
	Answer               // lictor itself answers with the Status, and nothing is refused: a preflight (P1)
)

// Reason says why a verdict was given. The set is closed and small, so that a
// Reason may be used as a metric label (X5).
type Reason string

const (
	ReasonNone              Reason = ""                   // allowed
	ReasonPolicyUnavailable Reason = "policy_unavailable" // no policy is loaded, or what cannot be read closes this
	ReasonBlacklist         Reason = "blacklist"          // an entry of a blacklist matches
	ReasonWhitelist         Reason = "whitelist"          // there are whitelists, and no entry matches
	ReasonNoCredentials     Reason = "no_credentials"     // a key is demanded, and there is none
	ReasonBadCredentials    Reason = "bad_credentials"    // the key is unknown, has run out or is given twice
	ReasonACL               Reason = "acl"                // no ACL of the API names the consumer
	ReasonBoundConsumer     Reason = "bound_consumer"     // ACLs that name the consumer name other APIs only (C6)
	ReasonRateLimit         Reason = "rate_limit"         // the limit of a window is used up
	ReasonBadPath           Reason = "bad_path"           // some reading of the request is one for another API (K2)
	ReasonBodyTooLarge      Reason = "body_too_large"     // the head tells a length over the limit (P4)
	ReasonTerminated        Reason = "terminated"         // a plugin answers in place of the service (P5)
	ReasonForwardAuth       Reason = "forward_auth"       // an authority says no, or nothing in time (P3)
	ReasonCORS              Reason = "cors"               // browsers would hide the answer from the page; in report mode only (P1)
)

// Rule names the stored rule that spoke. The zero Rule is none: the lack of a
// rule can refuse too, as with a whitelist.
type Rule struct {
	Key   string `json:"key"`   // with the store's prefix
	Index uint64 `json:"index"` // the store's, when the object was last changed
	Entry string `json:"entry,omitempty"`
	Note  string `json:"-"` // the operator's reason
}

// Would is what a rule in report mode would have done (X13).
type Would struct {
	Reason Reason
	Rule   Rule
}

// maxWould bounds the report-mode refusals that a verdict carries; one a step is usual.
const maxWould = 4

// Verdict is the outcome of a decision. Its zero value denies.
//
// Strings and slices belong to the Set and may be kept, but for Drop and Credentials.
type Verdict struct {
	Action  Action
	Reason  Reason
	Status  int    // of the refusal or answer; 0 when allowed
	Message string // of the refusal, literal (X5)
	Rule    Rule   // that refused
	Page    *Page  // the body of the refusal; nil: one that says the message
	Plugin  string // that refused, the ACL among them; "" = none did

	Challenge   string        // value of WWW-Authenticate on a 401 (C20)
	Identity    *Identity     // who it is, nil = anonymous; also set when a known consumer is refused
	Credential  string        // id of the key that was presented, also if it has run out; "" = none that is known, or it has no id
	Hide        []string      // headers and query arguments that the backend must not see (C24)
	Claims      []ClaimHeader // headers that are made of claims, each with its value; "" = none is set
	Drop        [][]string    // lists of headers, with an optional * at the end, that the client's are dropped of; they live until the Request is decided on again
	Credentials [][]string    // lists of headers that it was looked in for who it is: other spellings of their names are dropped; they live as Drop does
	Limits      Limits        // for the headers of C18; empty if no limit applies
	HideCookies []string      // cookies that the backend must not see
	MaxBody     int64         // bytes that the request's body may have; 0 = no limit of the policy's
	Watch       BodyWatch     // of a limit in report mode on it

	CORS CrossOrigin // what the answer, a refusal as well, tells browsers

	Rests Rests // for a record of the decision

	would  [maxWould]Would
	digest [32]byte             // of the accepted key
	token  *Token               // that was accepted
	spoken spoken               // for Count
	used   *atomic.Int64        // see liveCredential; nil: no key said who it is
	asks   [maxAsks]*livePlugin // of forward-auth

	// Small and side by side: every request in flight holds a verdict.
	nwould, nspoken, nasks uint8
	keyed                  bool // a key or a certificate said who it is
}

// known is what a verdict says of who it is, and of what rules in report mode would
// have done.
type known struct {
	identity          *Identity
	credential        string
	hide, hideCookies []string
	claims            []ClaimHeader
	digest            [32]byte
	keyed             bool
	token             *Token
	nwould, nspoken   uint8
	rests             Rests
}

func (v *Verdict) known() known {
	return known{v.Identity, v.Credential, v.Hide, v.HideCookies, v.Claims, v.digest, v.keyed, v.token, v.nwould, v.nspoken, v.Rests}
}

// restore takes back what the rules of another API made of a verdict that they let
// pass or refused. What is to be kept from the backend, for it may be reached under
// that API, stays.
func (v *Verdict) restore(k known) {
	v.Identity, v.Credential, v.Claims = k.identity, k.credential, k.claims
	v.Hide, v.HideCookies = Union(k.hide, v.Hide), Union(k.hideCookies, v.HideCookies)
	v.digest, v.keyed, v.token, v.nwould, v.Rests = k.digest, k.keyed, k.token, k.nwould, v.Rests.behind(k.rests)
	if v.Status == 0 { // else it is the rules of the other API that refuse
		v.nspoken = k.nspoken
	}
}

// Union returns what is in one list of names or the other. It allocates only where
// there are two that differ.
func Union(a, b []string) []string {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0 || slices.Equal(a, b):
		return a
	}
	return slices.Concat(a, b)
}

// Allowed reports whether the request may pass.
func (v *Verdict) Allowed() bool { return v.Action == Allow }

// Would returns what rules in report mode would have done.
func (v *Verdict) Would() []Would { return v.would[:v.nwould] }

// Identity is a consumer as the backend gets to know it (C24). It is immutable.
type Identity struct {
	ID         string // X-Consumer-ID
	Name       string // X-Consumer-Username
	CustomID   string // X-Consumer-Custom-ID, "" = none
	GroupsText string // X-Consumer-Groups, joined with ", "
	Groups     []string
	Mark       string // a sum of ID, Name and CustomID
}

// Window is a calendar window of a rate limit, in UTC (C16).
type Window uint8

// The windows, shortest first.
const (
	Second Window = iota
	Minute
	Hour
	Day
	Month
	Year
	windows
)

var windowNames = [windows]string{"second", "minute", "hour", "day", "month", "year"}

// String returns the name used in configurations and explanations.
func (w Window) String() string { return windowNames[w] }

// Title returns the name used in headers: X-RateLimit-Limit-Second (C18).
func (w Window) Title() string { return windowTitles[w] }

var windowTitles = [windows]string{"Second", "Minute", "Hour", "Day", "Month", "Year"}

// Limits is the state of the rate limit that applies to a request.
type Limits struct {
	Refused bool
	Tight   Limit // the window with the least left: RateLimit-Limit, -Remaining, -Reset; on refusal the one that lasts longest

	all [windows]Limit
	n   int
}

// Limit is the state of one window.
type Limit struct {
	Window    Window
	Limit     int           // requests a window, this process's share of them (C17)
	Remaining int           // 0 in a window that refused
	Reset     time.Duration // to the end of the window, whole seconds, at least one
}

// All returns the windows that are limited, shortest first; empty if none is.
func (l *Limits) All() []Limit { return l.all[:l.n] }

// RouteBy says how a request found its API (X2).
type RouteBy uint8

const (
	ByNothing      RouteBy = iota // no service can be named: 404 no_service
	ByHost                        // a mapped host
	ByFilter                      // an API's filter
	BySegment                     // the first path segment
	ByRegistration                // a host that the service claims (K2)
)

var routeNames = [...]string{"", "host", "filter", "segment", "registration"}

// String returns the name used in explanations.
func (b RouteBy) String() string { return routeNames[b] }

// Route is where a request goes. Name, Service and Rest may be parts of the
// request's path.
type Route struct {
	By        RouteBy
	Stripped  bool      // Rest is the path without its first segment
	AnyCase   bool      // the registry of the service does not mind the case of names (E7)
	API       string    // the name that ACLs and plugins go by (X3)
	Service   string    // to look up in discovery, unless there are Backends; "" by host with Backends
	Rest      string    // the path for the backend, without the service's segment
	Backends  *Backends // in place of discovery; nil = discovery
	Protected []string  // further protected headers of the API
	Rule      Rule      // the mapping or API object; zero if there is none
	Claim     string    // by registration: the host as the service claims it
	Alias     string    // the API's own name, where this is another one that rules call it by; "" = this is its own

	closed Rule // what can not be read of it, and therefore closes it (X6)
}

// Backends are fixed addresses written into a mapping or an API. A change of
// the object makes new ones, so the pointer tells whether they are the same.
type Backends struct {
	Name string // of the API
	List []Backend
}

// Backend is one address.
type Backend struct {
	URL      string // as written
	TLS      bool   // https
	Host     string // host, with the port if one was written: what a Host header would say
	Address  string // host:port to dial
	BasePath string // put in front of the path; "" or "/p" without trailing slash
}
