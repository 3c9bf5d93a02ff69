package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"lictor/policy"
)

// Question is what is asked about at /explain.
type Question struct {
	Method  string  `json:"method,omitempty"` // "" = GET
	URL     string  `json:"url"`              // a path, or absolute: then its authority is the Host
	Headers Headers `json:"headers,omitempty"`
	From    string  `json:"from,omitempty"`   // the address that the request comes from; "" = 127.0.0.1
	Egress  bool    `json:"egress,omitempty"` // ask the forward proxy instead of the gateway

	Listener string `json:"listener,omitempty"` // of the gateway, at which the request comes in; "" = its own

	Consumer string `json:"consumer,omitempty"` // whose the request is, by id or name, without any credential; "" = as the rest says; of the gateway alone
}

// Headers are header fields, by name: a string, or a list of them.
type Headers map[string][]string

// UnmarshalJSON implements [json.Unmarshaler].
func (h *Headers) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return errors.New("headers: want an object of strings or lists")
	}
	*h = make(Headers, len(raw))
	for name, value := range raw {
		var one string
		var many []string
		if json.Unmarshal(value, &one) == nil {
			many = []string{one}
		} else if json.Unmarshal(value, &many) != nil {
			return fmt.Errorf("headers: %s: want a string or a list of strings", name)
		}
		(*h)[name] = many
	}
	return nil
}

// Pairs returns the fields as names and values, sorted by name.
func (h Headers) Pairs() (pairs [][2]string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			pairs = append(pairs, [2]string{name, value})
		}
	}
	return pairs
}

// Explanation is the answer of /explain: what would become of a request, step by
// step (contract 5). The evaluation that serves traffic makes it.
type Explanation struct {
	Allowed  bool                        `json:"allowed"`
	Status   int                         `json:"status"` // of the refusal; 200 where a backend would answer
	Reason   string                      `json:"reason,omitempty"`
	Path     PathFact                    `json:"path"`
	Client   ClientFact                  `json:"client"`
	Route    *policy.RouteFact           `json:"route"`
	Consumer *policy.ConsumerFact        `json:"consumer"`
	Steps    []policy.Step               `json:"steps"`
	Plugins  map[string]policy.PluginUse `json:"plugins"`
	Dispatch *DispatchFact               `json:"dispatch"`
	Policy   PolicyFact                  `json:"policy"`
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
	Intention string         `json:"intention,omitempty"` // of Consul's mesh: allowed, denied, or unknown and why; "" where the instances are not in it
}

// InstanceFact is an instance that might serve.
type InstanceFact struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
	Canary  bool   `json:"canary,omitempty"`
	Note    string `json:"note,omitempty"` // until when and why it is ejected
	Chosen  bool   `json:"chosen"`
}

// PolicyFact says which policy spoke.
type PolicyFact struct {
	Hash       string   `json:"hash"`
	Index      uint64   `json:"index"`
	AgeSeconds *float64 `json:"age_seconds"` // for the admin listener to fill in
}
