package policy

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"lictor/internal/uri"
)

// Check completes an object from its key (a missing name or id, defaults,
// upper case where case does not count) and returns what is wrong with it.
// Entries of lists are not judged here: a bad one does not spoil the others.
func Check(name string, o Object) Problems {
	var wrong Problems
	check(name, o, func(field, format string, args ...any) {
		if len(wrong) < maxProblems {
			wrong = append(wrong, Problem{Field: field, Text: fmt.Sprintf(format, args...)})
		}
	})
	return wrong
}

// check judges an object by the table of its kind, then by what a table cannot
// say.
func check(name string, o Object, wrong wrongFunc) {
	TableOf(o.Kind()).checkFields(o, wrong)
	o.check(name, wrong)
}

// maxProblems bounds what is told of one object: if everything in it is wrong,
// a line about each helps nobody.
const maxProblems = 100

// CheckEntry returns what is wrong with an entry of a list, nil if nothing is (A4).
func CheckEntry(s string) error {
	_, err := parseEntry(s)
	return err
}

// ValidName reports whether s may name an object (C33): it fits a URL, a store
// key and a file name.
func ValidName(s string) bool {
	if s == "" || s[0] == '.' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._~-", c) >= 0) {
			return false
		}
	}
	return true
}

type wrongFunc = func(field, format string, args ...any)

// named checks the name of the key, and that the object does not say another.
func named(field string, value *string, name string, wrong wrongFunc) {
	switch {
	case !ValidName(name):
		wrong("", "the key's name %q does not fit, want letters, digits and ._~- without a leading dot", name)
	case *value == "":
		*value = name
	case *value != name:
		wrong(field, "is %q, want the key's own name %q", *value, name)
	}
}

func (l *List) check(_ string, wrong wrongFunc) {
	if l.hasSubject() && (!l.Allow || l.Direction != Egress) {
		wrong("consumers", "consumers and groups belong to a whitelist of the direction egress")
	}
}

func (l *List) hasSubject() bool { return len(l.Consumers)+len(l.Groups) > 0 }

func (c *Consumer) check(name string, wrong wrongFunc) {
	named("name", &c.Name, name, wrong)
	if c.ID == "" {
		c.ID = c.Name
	}
	for _, f := range []struct{ field, value string }{
		{"id", c.ID}, {"custom_id", c.CustomID}, {"groups", strings.Join(c.Groups, "")},
	} {
		if strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			wrong(f.field, "has a control character, which no header can carry")
		}
	}
}

func (c *Credential) check(name string, wrong wrongFunc) {
	if b, err := hex.DecodeString(name); err != nil || len(b) != 32 || name != strings.ToLower(name) {
		wrong("", "the key's name %q is no SHA-256 in lower-case hex", name)
	}
	if c.Consumer == "" {
		wrong("consumer", "is missing, want the id or name of a consumer")
	}
}

func (g *Group) check(name string, wrong wrongFunc) {
	named("name", &g.Name, name, wrong)
}

func (f *Filter) check(name string, wrong wrongFunc) {
	named("name", &f.Name, name, wrong)
	if len(f.Methods)+len(f.Hosts)+len(f.Paths)+len(f.IPs)+len(f.Locations) == 0 {
		wrong("", "At least one property needs to be specified")
	}
	f.Methods, f.Locations = upper(f.Methods), upper(f.Locations)
	for i, m := range f.Methods {
		if !isMethod(m) {
			wrong(fmt.Sprintf("methods[%d]", i), "%q is no method", m)
		}
	}
	for i, h := range f.Hosts {
		if _, err := compileHost(strings.TrimPrefix(h, "*.")); err != nil {
			wrong(fmt.Sprintf("hosts[%d]", i), "%v", err)
		}
	}
	for i, p := range f.Paths {
		if _, err := pathKeys(p); err != nil {
			wrong(fmt.Sprintf("paths[%d]", i), "%v, want one that begins with /", err)
		}
	}
	for i, ip := range f.IPs {
		if _, err := parsePrefix(ip); err != nil {
			wrong(fmt.Sprintf("ips[%d]", i), "%v", err)
		}
	}
	for i, c := range f.Locations {
		if !isCountry(c) {
			wrong(fmt.Sprintf("locations[%d]", i), "%q is no ISO 3166-1 alpha-2 country", c)
		}
	}
}

func upper(list []string) []string {
	list = slices.Clone(list)
	for i, s := range list {
		list[i] = strings.ToUpper(s)
	}
	return list
}

func (p *Plugin) check(name string, wrong wrongFunc) {
	named("id", &p.ID, name, wrong)
	t := pluginTypeOf(p.Name)
	if t < 0 {
		wrong("name", "Plugin %q not found", p.Name)
		return
	}
	pluginTypes[t].compile(p.Config, wrong)
}

func (a *ACL) check(name string, wrong wrongFunc) {
	named("id", &a.ID, name, wrong)
	if a.API == "" {
		wrong("api", "is missing")
	} else {
		checkAPI(a.API, wrong)
	}
	if len(a.Consumers)+len(a.Groups)+len(a.Filters) == 0 {
		wrong("", "want consumers, groups or filters") // C8
	}
}

// checkAPI refuses a name that no request's API can have (X3, C33, D22), such
// as "/shop": an ACL under it would look as if it closed something.
func checkAPI(name string, wrong wrongFunc) {
	if !uri.IsServiceName(name) && !ValidName(strings.TrimPrefix(name, "*.")) {
		wrong("api", "is %q, want the name of a service, an API or a mapped domain", name)
	}
}

func (m *PluginMapping) check(name string, wrong wrongFunc) {
	named("id", &m.ID, name, wrong)
	if m.API != "" {
		checkAPI(m.API, wrong)
	}
	if len(m.Plugins)+len(m.Groups) == 0 {
		wrong("plugins", "is missing, want plugins or groups that hold some")
	}
}

func (a *API) check(name string, wrong wrongFunc) {
	if domain, ok := strings.CutPrefix(name, "*."); !ok || !ValidName(domain) {
		named("name", &a.Name, name, wrong)
	} else if a.Name == "" {
		a.Name = name
	}
	checkBackends(a.Backends, wrong)
	switch {
	case a.Service != "" && !uri.IsServiceName(a.Service):
		wrong("service", "%q is no service name", a.Service)
	case a.Service != "" && len(a.Backends) > 0 && serviceIn(a.Backends) != a.Service:
		wrong("service", "is %q, and the backends are others: want one of them", a.Service)
	}
	for i, h := range a.ProtectedHeaders {
		if !isToken(strings.TrimSuffix(h, "*")) {
			wrong(fmt.Sprintf("protected_headers[%d]", i), "%q is no header name", h)
		}
	}
}

func (m *Mapping) check(name string, wrong wrongFunc) {
	if m.Domain == "" {
		m.Domain = name
	}
	domain, err := uri.ParseDomain(m.Domain)
	switch {
	case err != nil:
		wrong("domain", "%v", err)
	case domain != name:
		wrong("domain", "is %q, want the key's own name %q", domain, name)
	}
	m.Domain = domain
	if len(m.Backends) == 0 {
		wrong("backends", "is missing, want at least one http or https URL, or service:NAME")
	}
	checkBackends(m.Backends, wrong)
}

func checkBackends(list []string, wrong wrongFunc) {
	for i, b := range list {
		if err := CheckBackend(b, len(list)); err != nil {
			wrong(fmt.Sprintf("backends[%d]", i), "%v", err)
		}
	}
}

// ParseBackend reads the URL of a backend (B13).
func ParseBackend(s string) (Backend, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return Backend{}, fmt.Errorf("%q is no absolute http or https URL", s)
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#") {
		return Backend{}, fmt.Errorf("%q has a user, query or fragment", s)
	}
	host, err := uri.CompileHost(u.Hostname())
	if err != nil {
		return Backend{}, fmt.Errorf("%q has no valid host", s)
	}
	port := u.Port()
	if port != "" {
		if _, err := parsePort(port); err != nil {
			return Backend{}, err
		}
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	b := Backend{URL: s, TLS: u.Scheme == "https", Host: host, BasePath: strings.TrimRight(u.EscapedPath(), "/")}
	if port != "" {
		b.Host = host + ":" + port
	}
	b.Address = b.Host
	if port == "" {
		b.Address += map[bool]string{false: ":80", true: ":443"}[b.TLS]
	}
	return b, nil
}

// compileBackends turns checked URLs into backends, each once. A service is none.
func compileBackends(name string, urls []string) *Backends {
	if len(urls) == 0 || serviceIn(urls) != "" {
		return nil
	}
	list := &Backends{Name: name}
	for i, s := range urls {
		if b, err := ParseBackend(s); err == nil && !slices.Contains(urls[:i], s) {
			list.List = append(list.List, b)
		}
	}
	return list
}
