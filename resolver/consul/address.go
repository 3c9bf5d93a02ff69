package consul

import (
	"fmt"
	"slices"

	"lictor/resolver"
)

// address returns where to dial: the tagged address if one is asked for and
// there, else the service's own, else that of its node. If nothing can be
// dialled, why says so: a guess would send requests to whatever listens there.
func (r *Resolver) address(e *entry) (address, why string) {
	host, port := e.Service.Address, e.Service.Port
	tagged, ok := e.Service.TaggedAddresses[r.cfg.TaggedAddress]
	switch {
	case ok && tagged.Address != "":
		host = tagged.Address
		if tagged.Port != 0 {
			port = tagged.Port
		}
	case host == "":
		host = e.Node.Address
		if a := e.Node.TaggedAddresses[r.cfg.TaggedAddress]; a != "" {
			host = a
		}
	}
	switch {
	case port == 0 && e.Service.SocketPath != "":
		return "", "it listens on a socket only, which cannot be dialled from here"
	case port == 0:
		return "", "it is registered without a port"
	case port < 0 || port > 65535:
		return "", fmt.Sprintf("its port is %d", port)
	}
	return resolver.JoinAddress(host, port)
}

// registered returns every host:port at which the entries are reached, ordered,
// if that is wanted: an instance may have several ports and addresses.
func (r *Resolver) registered(entries []entry) []string {
	if !r.cfg.Everywhere {
		return nil
	}
	var all []string
	for i := range entries {
		all = append(all, entries[i].places()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// places returns every host:port of an instance, up to a bound.
func (e *entry) places() []string {
	s := &e.Service
	var further []int
	for _, p := range s.Ports {
		further = append(further, p.Port)
	}
	var all []string
	add := func(host string, ports ...int) {
		for _, port := range ports {
			if port <= 0 || port > 65535 || len(all) == maxPlaces {
				continue
			}
			if address, why := resolver.JoinAddress(host, port); why == "" {
				all = append(all, address)
			}
		}
	}
	own := append([]int{s.Port}, further...)
	if s.Address != "" {
		add(s.Address, own...)
	} else {
		add(e.Node.Address, own...)
		for _, a := range e.Node.TaggedAddresses {
			add(a, own...)
		}
	}
	for _, t := range s.TaggedAddresses {
		if t.Port == 0 {
			add(t.Address, own...)
		} else {
			add(t.Address, append([]int{t.Port}, further...)...)
		}
	}
	return all
}

// union returns what is in any of the two ordered lists.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
