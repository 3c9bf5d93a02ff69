package answer

import (
	"encoding/json"

	"lictor/proxy/middleware"
)

// DecisionHead is what decisions rest on beside the policy and the request. The
// decision log tells it at the beginning of each file, and when it changes.
type DecisionHead struct {
	Version       int              `json:"v"`
	Kind          string           `json:"kind"` // head
	BindConsumers bool             `json:"bind_consumers"`
	Prefix        string           `json:"prefix"`    // of the keys of rules
	Countries     bool             `json:"countries"` // are looked up
	Middleware    []MiddlewareHead `json:"middleware,omitempty"`
}

// MiddlewareHead is what of a middleware a replay goes by (D19).
type MiddlewareHead struct {
	Name      string   `json:"name"`
	Methods   []string `json:"methods,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`
	Paths     []string `json:"paths,omitempty"`
	Services  []string `json:"services,omitempty"`
	Consumers []string `json:"consumers,omitempty"`
	Reads     []string `json:"reads,omitempty"` // names of header fields
	Share     float64  `json:"share,omitempty"`
	Block     bool     `json:"block,omitempty"`   // it answers in place of the service
	Route     string   `json:"route,omitempty"`   // the service that it sends requests to
	Path      bool     `json:"path,omitempty"`    // it sends them on with another path
	Program   bool     `json:"program,omitempty"` // it is written in Go, and may do anything
}

// HeadOf tells of a middleware. One that only reports decides nothing.
func HeadOf(r *middleware.Rule) MiddlewareHead {
	m := &r.Match
	h := MiddlewareHead{Name: r.Name, Methods: m.Methods, Hosts: m.Hosts, Paths: m.Paths, Services: m.Services, Consumers: m.Consumers, Share: m.Share}
	for _, p := range m.Headers {
		h.Reads = append(h.Reads, p.Name)
	}
	if !r.Report {
		h.Block, h.Route, h.Path = r.Effect.Block != nil, r.Effect.Route, r.Effect.Path != ""
		h.Program = middleware.Registered(r.Name)
	}
	return h
}

// Line is the head as a line of the log.
func (h DecisionHead) Line() []byte {
	h.Version, h.Kind = DecisionVersion, "head"
	text, err := json.Marshal(h)
	if err != nil {
		return nil // of these types there is no error
	}
	return append(text, '\n')
}
