package answer

import (
	"net/netip"

	"lictor/policy"
)

// Question is a request that somebody asks about (contract 5).
type Question struct {
	Method  string      `json:"method"` // "" = GET
	URL     string      `json:"url"`    // a path, or absolute: then its authority is the Host
	Headers [][2]string `json:"-"`      // name and value, in order
	From    netip.Addr  `json:"from"`   // the socket's peer; the zero value is 127.0.0.1
}

// Peer is the address that the request would come from.
func (q *Question) Peer() netip.Addr {
	if !q.From.IsValid() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return q.From
}

// Explanation says what would become of a request, step by step (contract 5).
// It is told by the evaluation that serves traffic.
type Explanation struct {
	Allowed  bool                        `json:"allowed"`
	Status   int                         `json:"status"` // of the refusal; 200 where a backend would answer
	Reason   Reason                      `json:"reason,omitempty"`
	Path     PathFact                    `json:"path"`
	Client   ClientFact                  `json:"client"`
	Route    *policy.RouteFact           `json:"route"`
	Consumer *policy.ConsumerFact        `json:"consumer"`
	Steps    []policy.Step               `json:"steps"`
	Plugins  map[string]policy.PluginUse `json:"plugins"`
	Dispatch *DispatchFact               `json:"dispatch"`
	Policy   PolicyFact                  `json:"policy"`
}

// NewExplanation is what is known of a request from a client before anything
// was decided: nothing allows it, and nothing refused it.
func NewExplanation(client ClientFact) *Explanation {
	return &Explanation{Status: 200, Client: client, Steps: []policy.Step{}, Plugins: map[string]policy.PluginUse{}}
}

// Refuse notes that r is what the request would be answered with. It returns e.
func (e *Explanation) Refuse(r Refusal) *Explanation {
	e.Allowed, e.Status, e.Reason = false, r.Status, r.Reason
	return e
}

// PathFact is a path as it came, as rules see it, and as the backend gets it.
type PathFact struct {
	Received  string `json:"received"`
	Canonical string `json:"canonical"`
	Forwarded string `json:"forwarded,omitempty"`
}

// ClientFact is the client's address and where it was taken from.
type ClientFact struct {
	Address string `json:"address"`
	From    string `json:"from"` // socket, x-forwarded-for, forwarded
}

// DispatchFact is where a request would go.
type DispatchFact struct {
	Kind      string         `json:"kind"` // http, rabbitmq, egress
	Instances []InstanceFact `json:"instances"`
}

// InstanceFact is an instance that might serve.
type InstanceFact struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
	Note    string `json:"note,omitempty"` // until when and why it is ejected
	Chosen  bool   `json:"chosen"`
}

// PolicyFact says which policy spoke.
type PolicyFact struct {
	Hash       string   `json:"hash"`
	Index      uint64   `json:"index"`
	AgeSeconds *float64 `json:"age_seconds"` // for the admin listener to fill in
}

// By says that a version of the policy spoke.
func By(v policy.Version) PolicyFact { return PolicyFact{Hash: v.Hash, Index: v.Index} }
