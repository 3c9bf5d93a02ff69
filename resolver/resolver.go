// Package resolver says who can serve: an immutable [Catalog] of services and
// their instances, and the [Source] that keeps one up to date.
//
// A Catalog never changes after it was published; a change makes a new one
// that shares everything that stayed the same, pointers included, so that a
// reader sees by comparing pointers whether a service changed.
//
// The package must not import net, net/http, Consul, HCL or a logger.
package resolver

import "time"

// State is how the registry judges an instance. Its zero value gets no traffic.
type State uint8

const (
	Unknown     State = iota
	Passing           // serves
	Warning           // serves only where the source was told so (passing_only = false)
	Critical          // its own check failed: no new requests
	Maintenance       // drained by an operator: no new requests, running ones go on
	LastResort        // passed last, the registry is in doubt about it (D8): used when nothing else is left
)

var stateNames = [...]string{"unknown", "passing", "warning", "critical", "maintenance", "last_resort"}

// String returns the name used in status, metrics and explanations.
func (s State) String() string { return stateNames[s] }

// Protocol is what an instance speaks.
type Protocol uint8

const (
	HTTP1 Protocol = iota // the default
	H2C                   // HTTP/2 with prior knowledge, plaintext
	H2                    // HTTP/2 over TLS
)

// Instance is one place where a service can be reached. It is immutable and
// comparable; two equal instances are the same instance.
type Instance struct {
	ID       string // unique within the service; Consul: node/service-id
	Address  string // host:port to dial
	TLS      bool   // scheme https
	Mesh     string `json:",omitempty"` // it is reached through Consul's mesh and must be who this SPIFFE id, without its trust domain, says: "/ns/default/dc/dc1/svc/web"; "" = it is not
	Protocol Protocol
	BasePath string // put in front of the forwarded path; "" or "/p" without trailing slash
	Weight   int    // share of traffic; 0 = no new requests
	State    State
	Note     string // why it is not passing, in the registry's words; "" if nothing is known

	Datacenter string `json:",omitempty"` // in which it runs; "" = the registry does not say
	Canary     bool   `json:",omitempty"` // lictor-canary: only requests that are routed to canaries go to it
}

// Usable reports whether new requests may go to the instance.
func (i *Instance) Usable() bool {
	return i.Weight > 0 && (i.State == Passing || i.State == Warning || i.State == LastResort)
}

// Balance names a way to pick an instance. The zero value means the dispatcher's own setting.
type Balance string

const (
	RoundRobin    Balance = "round_robin"
	LeastRequests Balance = "least_requests"
	RandomTwo     Balance = "random_two"
	Hash          Balance = "hash"
)

// MaxHold bounds Options.Hold.
const MaxHold = time.Minute

// Options are a service's own settings (its registry metadata, contract 2).
// The zero value means: as the configuration says.
type Options struct {
	Timeout      time.Duration // to the response head; 0 = the gateway's
	Balance      Balance       // "" = the dispatcher's
	KeepSegment  bool          // lictor-strip = false: the first path segment stays
	UpstreamHost bool          // lictor-host = upstream: Host is the instance's address
	SendProxy    uint8         `json:",omitempty"` // lictor-send-proxy: 1 or 2 is the version of the PROXY header that HTTP/1.1 connections begin with

	// Of the next ones the zero value means the dispatcher's own setting.
	SlowStart   time.Duration `json:",omitempty"` // in which the share of a new instance grows
	MaxRequests int           `json:",omitempty"` // in flight at one instance
	Eject       Faults        `json:",omitzero"`  // answers for which an instance is left out
	Hold        time.Duration `json:",omitempty"` // for which a request waits while no instance is usable

	RewriteLocation Choice `json:",omitempty"` // lictor-rewrite-location: what answers say of the service's paths is put right
}

// Choice is a yes or no that may be left open.
type Choice string

const (
	Open Choice = ""
	Yes  Choice = "true"
	No   Choice = "false"
)

// Or returns the choice, or what stands for one that is open.
func (c Choice) Or(open bool) bool { return c == Yes || c == Open && open }

// Service is a service and its instances as one source sees them. Immutable.
type Service struct {
	Name      string
	Index     uint64      // of the registry's answer; 0 if it has none
	Loaded    bool        // false: the name exists, its instances are not known yet (see Source.Want)
	Instances []*Instance // every one, also those that get no traffic, in a stable order
	Options   Options
	Problems  []string // bad metadata, instances that cannot be dialled and the like, for status

	// Hosts are those that the service claims and may claim, ordered. Of two services
	// that claim one the older claim counts: see [Catalog.Claimed].
	Hosts []Claim `json:",omitempty"`

	// Registered is every host:port at which the registry knows an instance of
	// the service, for sources that are told to note it: further ports and
	// addresses, also those of instances that cannot serve. Ordered.
	Registered []string `json:",omitempty"`

	Held string // why an older list is served than the registry answered; "" = it is not
}

// Usable reports whether any instance may get a request that is not routed to
// canaries.
func (s *Service) Usable() bool { return s.UsableBy(false) }

// UsableBy reports whether any instance may get a request; canary says that it is
// routed to canaries.
func (s *Service) UsableBy(canary bool) bool {
	for _, i := range s.Instances {
		if i.Usable() && (canary || !i.Canary) {
			return true
		}
	}
	return false
}

// Source is one configured resolver. All methods may be called at any time
// from any goroutine.
type Source interface {
	// Kind is the block label, and what tells several of it apart: "consul",
	// "consul dc2", "static", "eureka".
	Kind() string

	// Catalog returns the current catalog, never nil. A request calls it once.
	Catalog() *Catalog

	// Want asks that the instances of a known service be followed, if they
	// are not yet. The channel is closed when the next answer about the
	// service is in, good or bad; it is already closed for names that the
	// catalog does not hold, which leave nothing behind (D8).
	Want(name string) <-chan struct{}

	// Status describes the source for people.
	Status() Status
}

// NoWait returns a closed channel, for [Source.Want] where there is nothing to wait for.
func NoWait() <-chan struct{} { return closed }

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Status is the freshness of a source.
type Status struct {
	Ready     bool      // an answer or a snapshot is loaded
	Contact   time.Time // last good answer of the registry; zero = none since the start
	Since     time.Time // the data is known to be right as of then (a snapshot's age at a cold start); zero = no data
	Snapshot  bool      // the data comes from data_dir, the registry has not answered yet
	Error     string    // the last failure, "" while all is well
	ErrorTime time.Time
	Held      string // why an older list of services is served; "" = it is not
	Watches   int    // open blocking queries
	Mesh      int    // services of the mesh (sidecar proxies, gateways), which no path reaches
	Partial   string // why the list of services may lack some; "" = it does not
}
