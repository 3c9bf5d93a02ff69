package policy

import (
	"net/netip"
	"strings"
)

// Mentions are what an entry of a list or a filter compares a request with: two
// requests of which none is told apart by any of them are the same to it. Empty
// lists compare nothing.
type Mentions struct {
	Methods   []string // in upper case; a rule that denies takes them in any case
	Hosts     []HostMention
	Paths     []string // prefixes by whole segments, without last slash; "" covers every path
	Prefixes  []netip.Prefix
	Countries []string
	Port      uint16 // that an entry which admits compares; 0 = none
	Service   string
}

// HostMention is a host, what lies below it, or both.
type HostMention struct {
	Host        string // as [uri.CompileHost] gives it
	Apex, Below bool
}

// Covers reports whether a host, as [uri.Host] gives it, is one of those.
func (m HostMention) Covers(host string) bool {
	return m.Apex && host == m.Host || m.Below && strings.HasSuffix(host, "."+m.Host)
}

// Mentions returns what the filter, which [Check] has found good, compares.
func (f *Filter) Mentions() Mentions {
	m := Mentions{Methods: f.Methods, Countries: f.Locations}
	for _, h := range f.Hosts {
		rest, wild := strings.CutPrefix(h, "*.")
		host, _ := compileHost(rest)
		m.Hosts = append(m.Hosts, HostMention{Host: host, Apex: !wild, Below: wild})
	}
	for _, p := range f.Paths {
		keys, _ := pathKeys(p)
		m.Paths = append(m.Paths, keys...)
	}
	for _, ip := range f.IPs {
		if p, err := parsePrefix(ip); err == nil {
			m.Prefixes = append(m.Prefixes, p)
		}
	}
	return m
}

// EntryMentions returns what an entry of a list compares at the gateway (A17); an
// entry that cannot match there, or cannot be read, mentions nothing.
func EntryMentions(entry string) (m Mentions, speaks bool) {
	e, err := parseEntry(entry)
	if r := (listRule{entry: e}); err != nil || !r.speaksAt(gateway) {
		return Mentions{}, false
	}
	m = Mentions{Paths: e.paths, Service: e.service}
	if e.portSaid {
		m.Port = e.port
	}
	if e.method != "" {
		m.Methods = []string{e.method}
	}
	if e.prefix.IsValid() {
		m.Prefixes = []netip.Prefix{e.prefix}
	}
	if e.host != "" {
		m.Hosts = []HostMention{{Host: e.host, Apex: e.scope != hostSubdomains, Below: e.scope != hostExact}}
	}
	return m, true
}
