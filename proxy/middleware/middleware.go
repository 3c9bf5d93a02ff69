// Package middleware lets operators, and people who write Go, edit, block,
// route and record requests that the policy let pass (D19).
//
// A [Chain] runs in the order of the configuration. What is written in a block
// of the configuration is a [Rule]; a middleware of your own is a Go file:
//
//  1. write a type with the method Apply, as stamp.go does;
//  2. add one line to the table in registered.go;
//  3. enable it, where in the order you want it, by a block of that name:
//     middleware "stamp" {}. What its match does not fit passes it by.
//
// The package knows no network and no logger, and allocates nothing for a
// request that no rule matches.
package middleware

import (
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"lictor/internal/uri"
)

// Request is what a middleware may look at. Its strings are valid during the call.
type Request struct {
	Method   string
	Host     string // without port, lower case
	Path     *uri.Path
	Service  string     // that it is routed to, as its resolver calls it; "" if to backends of the policy. Changes where a rule routes it elsewhere
	Folded   bool       // the registry of Service does not mind the case of names (E7)
	Named    bool       // the first segment of Path names a service whose registry does not mind
	Client   netip.Addr // behind trusted proxies
	Consumer string     // id, "" = anonymous
	Name     string     // of the consumer
	Fields   Fields
	// Readings are what rules that deny go by besides Path.
	Readings *uri.ReadingSet
}

// Fields gives access to the header of a request. Names are compared without
// case, and all marks in them are alike. What the client may not say of itself is not in it: identity, protected
// fields, X-Forwarded-* of a peer that is not trusted.
type Fields interface {
	// Nth returns the n-th field called name, from 0 on; not ok if there are fewer.
	Nth(name string, n int) (value string, ok bool)
}

// Effect is what a middleware wants to happen. The zero Effect is nothing.
// What it points to must not change. Edits must keep away from fields that
// frame a message or that lictor sets itself, as those of a block must.
type Effect struct {
	Request  *Edit  // of the header as it goes to the backend
	Response *Edit  // of the header as it goes to the client
	Block    *Block // answer, and go no further
	Route    string // go to this service instead; it is decided on anew
	Path     string // go on with this path, as [CheckPath] wants it; it is decided on anew; "" = as it came
	Canary   bool   // go to a canary of the service, if one is usable
	Record   bool   // write a line about the request, and count it
}

// Block is an answer in place of the service's.
type Block struct {
	Status  int
	Message string
}

// Middleware looks at a request and says what is to happen. It is called from
// many goroutines at once.
type Middleware interface {
	Apply(r *Request) Effect
}

// Link is one middleware in its place in the chain.
type Link struct {
	Rule Rule
	own  Middleware // of the registered type, nil for a plain rule

	Matched atomic.Uint64 // requests it matched, counted by the gateway
}

// Chain is the middleware of a configuration, in its order. Immutable.
type Chain []*Link

// New returns the chain of rules, each complete as [Rule.Check] wants it.
func New(rules []Rule) Chain {
	c := make(Chain, 0, len(rules))
	for _, r := range rules {
		l := &Link{Rule: r}
		if make, ok := registered[r.Name]; ok {
			l.own = make()
		}
		c = append(c, l)
	}
	return c
}

// Apply asks one link. fits is false if the request passes it by.
func (l *Link) Apply(r *Request) (e Effect, fits bool) {
	denies := l.own != nil || l.Rule.Effect.Block != nil
	if !l.Rule.Match.fits(r, l.Rule.Name, denies) {
		return Effect{}, false
	}
	e = l.Rule.Effect
	if l.own != nil {
		e = l.Rule.Effect.with(l.own.Apply(r))
	}
	return e, true
}

// with adds the effect of a middleware in Go to that of its block.
func (e Effect) with(own Effect) Effect {
	e.Request = e.Request.then(own.Request)
	e.Response = e.Response.then(own.Response)
	if own.Block != nil {
		e.Block = own.Block
	}
	if own.Route != "" {
		e.Route = own.Route
	}
	if own.Path != "" {
		e.Path = own.Path
	}
	e.Canary = e.Canary || own.Canary
	e.Record = e.Record || own.Record
	return e
}

// String says what the effect does to a request, for people; "" if nothing.
func (e Effect) String() string {
	var does []string
	if e.Block != nil {
		does = append(does, "block with "+strconv.Itoa(e.Block.Status))
	}
	if e.Route != "" {
		does = append(does, "route to "+e.Route)
	}
	if e.Path != "" {
		does = append(does, "send the path "+e.Path)
	}
	if e.Canary {
		does = append(does, "route to canaries")
	}
	if !e.Request.Empty() {
		does = append(does, "edit the request")
	}
	if !e.Response.Empty() {
		does = append(does, "edit the response")
	}
	if e.Record {
		does = append(does, "record")
	}
	return strings.Join(does, ", ")
}

// Registered reports whether name is a middleware written in Go.
func Registered(name string) bool {
	_, ok := registered[name]
	return ok
}
