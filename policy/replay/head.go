package replay

import (
	"encoding/json"
	"strings"

	"lictor/proxy/middleware"
)

// Head is what the decisions that follow rest on beside the policy.
type Head struct {
	BindConsumers bool   `json:"bind_consumers"`
	Prefix        string `json:"prefix"`
	Countries     bool   `json:"countries"`
	Middleware    []struct {
		Name      string   `json:"name"`
		Methods   []string `json:"methods"`
		Hosts     []string `json:"hosts"`
		Paths     []string `json:"paths"`
		Services  []string `json:"services"`
		Consumers []string `json:"consumers"`
		Reads     []string `json:"reads"`
		Share     float64  `json:"share"`
		Block     bool     `json:"block"`
		Route     string   `json:"route"`
		Path      bool     `json:"path"`
		Program   bool     `json:"program"`
	} `json:"middleware"`

	acts []act
}

// act is a middleware that may refuse a request, or send it elsewhere.
type act struct {
	link    *middleware.Link // matches but for the header
	name    string
	reads   []string
	share   bool
	block   bool
	program bool
	service bool // looks at the service
}

// ParseHead reads the line that a file of the log begins with.
func ParseHead(line []byte) (*Head, error) {
	var h struct {
		Version int    `json:"v"`
		Kind    string `json:"kind"`
		Head
	}
	if err := json.Unmarshal(line, &h); err != nil || h.Kind != "head" {
		return nil, ErrGarbage
	}
	if h.Version != Version {
		return nil, ErrVersion
	}
	head := &h.Head
	for _, m := range head.Middleware {
		if !m.Block && m.Route == "" && !m.Path && !m.Program {
			continue
		}
		rule := middleware.Rule{Name: m.Name, Match: middleware.Match{
			Methods: m.Methods, Hosts: m.Hosts, Paths: m.Paths, Services: m.Services, Consumers: m.Consumers, Share: m.Share,
		}}
		if m.Block {
			rule.Effect.Block = &middleware.Block{}
		}
		a := act{name: m.Name, reads: m.Reads, share: m.Share > 0 && m.Share < 1, block: m.Block, program: m.Program, service: len(m.Services) > 0}
		if !m.Program {
			a.link = middleware.New([]middleware.Rule{rule})[0]
		}
		head.acts = append(head.acts, a)
	}
	return head, nil
}

// plain is the key of a rule without the prefix of the store.
func (h *Head) plain(rule string) string {
	if h == nil {
		return rule
	}
	return strings.TrimPrefix(rule, h.Prefix)
}
