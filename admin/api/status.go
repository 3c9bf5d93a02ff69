package api

import (
	"time"

	"lictor/policy"
)

// Status is the body of /status: what lictor knows, for people.
type Status struct {
	Version       string           `json:"version"`
	Commit        string           `json:"commit"`
	Go            string           `json:"go"`
	Started       time.Time        `json:"started"`
	UptimeSeconds int64            `json:"uptime_seconds"`
	Ready         bool             `json:"ready"`
	NotReady      []string         `json:"not_ready"`  // why, if it is not
	Generation    uint64           `json:"generation"` // of the configuration: 1, and one more for each reload
	Listeners     []Listener       `json:"listeners"`
	Certificates  []Certificate    `json:"certificates"` // of the listeners, by listener and who expires first
	Resolvers     []ResolverStatus `json:"resolvers"`    // in the order they are asked in
	Services      []ServiceStatus  `json:"services"`     // by name
	Policy        *PolicyStatus    `json:"policy"`
	Problems      []string         `json:"problems"`     // what an operator should look at
	DecisionLog   string           `json:"decision_log"` // path of it on lictor's machine; "" = there is none

	Dispatchers []DispatcherStatus `json:"dispatchers"`
	Middleware  []MiddlewareStatus `json:"middleware"` // in its order
	KeySets     []KeySetStatus     `json:"key_sets"`   // that tokens are verified with, by URL
	Feeds       []FeedStatus       `json:"feeds"`      // by name
	Mesh        *MeshStatus        `json:"mesh"`       // null = no resolver wants Consul's mesh
	Lictors     *LictorsStatus     `json:"lictors"`    // that share the Consul; null = there is none, or it has not said yet
}

// LictorsStatus is who serves beside this lictor, as Consul says.
type LictorsStatus struct {
	AgeSeconds float64        `json:"age_seconds"` // since Consul said so last, which it does every half a minute at least
	Live       []LictorStatus `json:"live"`        // by id, this one among them
}

// LictorStatus is one lictor.
type LictorStatus struct {
	ID         string     `json:"id"`
	Node       string     `json:"node"`
	Datacenter string     `json:"datacenter"`
	Address    string     `json:"address"`       // of its gateway; "" = it cannot be told
	Self       bool       `json:"self"`          // it is the one that answers
	Policy     string     `json:"policy"`        // first 8 digits of the hash of its policy, as of a few seconds ago; "" = it has none or does not tell
	Differs    *time.Time `json:"differs_since"` // that is another policy than here since then; null = it is the same, or not known
}

// FeedStatus is how a feed stands.
type FeedStatus struct {
	Name       string    `json:"name"`
	Source     string    `json:"source"` // the path or URL, without what stands behind a ?
	Known      bool      `json:"known"`  // false: it was never read; from a start on it closes what it guards until it is
	Entries    int       `json:"entries"`
	BadLines   int       `json:"bad_lines"`   // of what is in force
	Bad        []BadLine `json:"bad"`         // the first ten of them
	AgeSeconds *float64  `json:"age_seconds"` // since what is in force was known to be right; null = never
	LastGood   bool      `json:"last_good"`   // the copy in data_dir, the source was not read since the start
	Error      string    `json:"error"`       // what went wrong last, "" while all is well
}

// BadLine is a line of a feed that could not be read.
type BadLine struct {
	Line int    `json:"line"`
	Text string `json:"text"` // its beginning, and what is wrong with it
}

// KeySetStatus is how the JWK set of a URL stands.
type KeySetStatus struct {
	URL        string   `json:"url"`
	Keys       int      `json:"keys"`
	LeftOut    int      `json:"left_out"`    // keys of the last answer that are of no use here
	AgeSeconds *float64 `json:"age_seconds"` // since the last good answer; null = there was none
	LastGood   bool     `json:"last_good"`   // from data_dir, the URL has not answered since the start
	Error      string   `json:"error"`       // what went wrong last, "" while all is well
}

// MeshStatus is how lictor stands in Consul's mesh.
type MeshStatus struct {
	ID          string     `json:"id"`           // of lictor, "" = it has no certificate
	TrustDomain string     `json:"trust_domain"` // "" = not known
	NotAfter    *time.Time `json:"not_after"`    // of the certificate; null = there is none
	Authorities int        `json:"authorities"`  // that are trusted
	Contact     *time.Time `json:"contact"`      // last good answer of Consul; null = none since the start
	LastGood    bool       `json:"last_good"`    // the certificate comes from data_dir, Consul has not given one yet
}

// PolicyStatus says which policy is in force and how fresh it is. Two lictors
// with the same hash decide the same.
type PolicyStatus struct {
	Hash       string              `json:"hash"`
	Index      uint64              `json:"index"`       // the store's
	AgeSeconds *float64            `json:"age_seconds"` // since the last good exchange with the store; null = there was none
	Store      string              `json:"store"`       // consul, file, memory
	Live       bool                `json:"live"`        // the last exchange went well
	LastGood   bool                `json:"last_good"`   // from data_dir, the store has not answered yet
	Objects    int                 `json:"objects"`
	Held       int                 `json:"held"` // in force although the store no longer shows them
	Rejected   []*policy.Rejection `json:"rejected"`
	Closings   []policy.Closing    `json:"closings"` // what is refused until an object is repaired
	Notes      []policy.Note       `json:"notes"`    // what refers to nothing, or can match nothing
}

// Listener is an address that lictor serves.
type Listener struct {
	Name    string `json:"name"` // gateway, admin
	Address string `json:"address"`
}

// Certificate is one that a listener shows to clients.
type Certificate struct {
	Listener string    `json:"listener"`
	Name     string    `json:"name"`    // the first in it
	Expires  time.Time `json:"expires"` // it, or one of its chain
	Days     int       `json:"days"`    // whole ones until then, below 0 afterwards
}

// ResolverStatus says how fresh a resolver is.
type ResolverStatus struct {
	Kind       string     `json:"kind"`
	Ready      bool       `json:"ready"`
	Services   int        `json:"services"`
	Watches    int        `json:"watches"`
	Mesh       int        `json:"mesh"`        // services of the mesh (sidecar proxies, gateways), which no path reaches
	AgeSeconds *float64   `json:"age_seconds"` // of what it knows; null = it knows nothing
	Contact    *time.Time `json:"contact"`     // last good answer; null = none since the start
	Snapshot   bool       `json:"snapshot"`    // serving from data_dir
	Held       string     `json:"held"`        // why an older list is served, "" = it is not
	Error      string     `json:"error"`       // the last failure, "" while all is well
	ErrorTime  *time.Time `json:"error_time"`
}

// ServiceStatus is a service as one resolver knows it.
type ServiceStatus struct {
	Name      string           `json:"name"`
	Resolver  string           `json:"resolver"`
	Loaded    bool             `json:"loaded"` // false: the name is known, its instances were never asked for
	Usable    bool             `json:"usable"`
	Index     uint64           `json:"index"`
	Held      string           `json:"held"`
	Hosts     []string         `json:"hosts,omitempty"` // that go to it by its registration
	Instances []InstanceStatus `json:"instances"`
	Problems  []string         `json:"problems"`
}

// InstanceStatus is one instance of a service.
type InstanceStatus struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
	Weight  int    `json:"weight"`
	Canary  bool   `json:"canary,omitempty"`
	Note    string `json:"note"`           // why it is not passing, and what its check printed; why it is ejected
	Mesh    string `json:"mesh,omitempty"` // who it must be in Consul's mesh; "" = it is not reached through it

	Datacenter string     `json:"datacenter,omitempty"` // in which it runs; "" = the registry does not say
	Since      *time.Time `json:"since"`                // it is in this state since then; null = for longer than this lictor knows it
	InFlight   int        `json:"in_flight"`            // requests of the gateway that it works on
	Answers    uint64     `json:"answers"`              // of the last five to ten minutes; the next two are theirs, 0 without any
	P50MS      float64    `json:"p50_ms"`               // from the attempt to the answer's head: of half of them at most
	P99MS      float64    `json:"p99_ms"`               // of 99 in 100 at most
}

// DispatcherStatus says how a way to services is doing.
type DispatcherStatus struct {
	Kind     string   `json:"kind"`     // http, rabbitmq
	Services []string `json:"services"` // globs of those that go this way; null = all that no other one takes
	Address  string   `json:"address"`  // of the broker, "" for http
	Ready    bool     `json:"ready"`    // requests are taken
	InFlight int      `json:"in_flight"`
	Error    string   `json:"error"` // why it is not ready
}

// MiddlewareStatus is a middleware in its place.
type MiddlewareStatus struct {
	Name    string `json:"name"`
	Mode    string `json:"mode"`   // enforce, report
	Action  string `json:"action"` // what its block does
	Matched uint64 `json:"matched"`
}

// Age is how long ago t was, in seconds; nil of the zero time.
func Age(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	age := time.Since(t).Seconds()
	return &age
}
