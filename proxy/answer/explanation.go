package answer

import (
	"net/netip"

	"lictor/admin/api"
	"lictor/policy"
)

// Question is a request that somebody asks about (contract 5).
type Question struct {
	Method  string      `json:"method"` // "" = GET
	URL     string      `json:"url"`    // a path, or absolute: then its authority is the Host
	Headers [][2]string `json:"-"`      // name and value, in order
	From    netip.Addr  `json:"from"`   // the socket's peer; the zero value is 127.0.0.1
	As      string      `json:"as"`     // the consumer whose it is, by id or name, without any credential; "" = as the rest says

	Listener string `json:"listener"` // name of the gateway's listener at which it comes in; "" = its own
}

// Peer is the address that the request would come from.
func (q *Question) Peer() netip.Addr {
	if !q.From.IsValid() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return q.From
}

// NewExplanation is what is known of a request from a client before anything
// was decided: nothing allows it, and nothing refused it.
func NewExplanation(client api.ClientFact) *api.Explanation {
	return &api.Explanation{Status: 200, Client: client, Steps: []policy.Step{}, Plugins: map[string]policy.PluginUse{}}
}

// Refuse notes in e that the request would be answered with r. It returns e.
func Refuse(e *api.Explanation, r Refusal) *api.Explanation {
	e.Allowed, e.Status, e.Reason = false, r.Status, string(r.Reason)
	return e
}

// By says that a version of the policy spoke.
func By(v policy.Version) api.PolicyFact { return api.PolicyFact{Hash: v.Hash, Index: v.Index} }
