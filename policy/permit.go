package policy

import "net/netip"

// Permit proves that a Set let a request pass, and says where it may go. Only
// [Set.Decide] and [Set.PermitDial] fill one, and a [ForwardAuth] for its questions, and nobody can change it: whoever sends
// a request wants a Permit, so what was not decided on is not sent. The zero
// Permit permits nothing.
//
// Its strings may be parts of the request: it is valid for as long as that.
type Permit struct {
	grant    grant
	by       RouteBy
	port     uint16
	service  string
	backends *Backends
	identity *Identity
	addrs    []netip.Addr
}

// grant is what a Permit is good for.
type grant uint8

const (
	grantNothing grant = iota
	grantLook          // at what would become of the request
	grantForward       // to an instance of the service
	grantDial          // the addresses
	grantAsk           // an authority, in lictor's own name
)

// permit is the Permit of a request that was let pass.
func (r *Request) permit(t *Route, v *Verdict) Permit {
	p := Permit{grant: grantForward, by: t.By, service: t.Service, backends: t.Backends, identity: v.Identity}
	if r.Dry {
		p.grant = grantLook
	}
	return p
}

// Forwards reports whether the request may be sent to an instance of Service. A
// dry decision does not permit that.
func (p *Permit) Forwards() bool { return p.grant == grantForward }

// Looks reports whether it may be asked where the request would go.
func (p *Permit) Looks() bool { return p.grant == grantLook || p.grant == grantForward }

// Asks reports whether a question of lictor's own may be sent to Service or
// Backends.
func (p *Permit) Asks() bool { return p.grant == grantAsk }

// Service is the name to look up in discovery, unless there are Backends.
func (p *Permit) Service() string { return p.service }

// Backends are what to use in place of discovery; nil = discovery.
func (p *Permit) Backends() *Backends { return p.backends }

// By says how the service was found.
func (p *Permit) By() RouteBy { return p.by }

// Identity is who the request comes from; nil = anonymous.
func (p *Permit) Identity() *Identity { return p.identity }

// Addrs are the addresses that may be connected to on behalf of a request through
// the egress, and no others; nil if it is none. They are not to be changed.
func (p *Permit) Addrs() []netip.Addr { return p.addrs }

// Port is the port of Addrs.
func (p *Permit) Port() uint16 { return p.port }
