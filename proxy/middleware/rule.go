package middleware

import (
	"regexp"
	"slices"
	"strings"
)

// Rule is a middleware block of the configuration.
type Rule struct {
	Name   string
	Match  Match
	Effect Effect
	Report bool // tell what Block and Route would have done, and do not do it (X13)
}

// Match says which requests a rule is for: all of its parts must fit, of a
// list one element. The zero Match fits every request.
type Match struct {
	Methods   []string        // upper case
	Hosts     []string        // as uri.CompileHost gives them, or "*.x" for its subdomains
	Paths     []string        // prefixes by whole segments, canonical
	Headers   []HeaderPattern // all must fit
	Services  []string        // that the request is routed to by now
	Consumers []string        // names or ids
	Share     float64         // of the requests, above 0 to below 1; 0 = all. Sticky by consumer, else by address
}

// HeaderPattern is a value that some field of a name must have. Value "" with
// no expression wants the field to be there.
type HeaderPattern struct {
	Name   string
	Value  string
	Regexp *regexp.Regexp // in place of Value
}

// CompilePattern reads a value of match.headers: "~" begins a regular expression.
func CompilePattern(name, value string) (HeaderPattern, error) {
	expr, ok := strings.CutPrefix(value, "~")
	if !ok {
		return HeaderPattern{Name: name, Value: value}, nil
	}
	re, err := regexp.Compile(expr)
	return HeaderPattern{Name: name, Regexp: re}, err
}

func (m *Match) fits(r *Request, name string, denies bool) bool {
	return oneMethod(m.Methods, r.Method) && m.fitsHost(r.Host) && m.fitsPath(r, denies) && m.fitsService(r) && m.fitsConsumer(r) && m.FitsHeaders(r.Fields) && m.fitsShare(r, name)
}

// oneMethod compares without case, as lists and filters do where they deny:
// many a backend takes "delete" for DELETE.
func oneMethod(list []string, method string) bool {
	for _, one := range list {
		if strings.EqualFold(one, method) {
			return true
		}
	}
	return len(list) == 0
}

func (m *Match) fitsHost(host string) bool {
	for _, h := range m.Hosts {
		if suffix, ok := strings.CutPrefix(h, "*"); h == host || ok && len(host) > len(suffix) && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return len(m.Hosts) == 0
}

// fitsPath sees the canonical path; a rule that denies sees every reading that
// a backend could make of it (D22).
func (m *Match) fitsPath(r *Request, denies bool) bool {
	if len(m.Paths) == 0 || m.fitsReading(r.Path.Canonical, r.Named) {
		return true
	}
	if !denies || !r.Path.Odd() {
		return false
	}
	return slices.ContainsFunc(r.Readings.Of(r.Path), func(path string) bool { return m.fitsReading(path, r.Named) })
}

func (m *Match) fitsReading(path string, named bool) bool {
	for _, p := range m.Paths {
		if below(path, p, named) {
			return true
		}
	}
	return false
}

// below reports whether a path lies below a prefix, by whole segments. The first one
// counts in any case where it names a service whose registry does not mind: an operator
// spells it as the registry shows it, and a client as it likes.
func below(path, prefix string, named bool) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	if len(path) < len(prefix) || len(path) > len(prefix) && path[len(prefix)] != '/' {
		return false
	}
	name := 0
	if named {
		if name = strings.IndexByte(strings.TrimPrefix(prefix, "/"), '/') + 1; name == 0 {
			name = len(prefix)
		}
	}
	return strings.EqualFold(path[:name], prefix[:name]) && path[name:len(prefix)] == prefix[name:]
}

func (m *Match) fitsService(r *Request) bool {
	for _, s := range m.Services {
		if s == r.Service || r.Folded && strings.EqualFold(s, r.Service) {
			return true
		}
	}
	return len(m.Services) == 0
}

func (m *Match) fitsConsumer(r *Request) bool {
	return len(m.Consumers) == 0 || r.Consumer != "" && (slices.Contains(m.Consumers, r.Name) || slices.Contains(m.Consumers, r.Consumer))
}

// FitsHeaders reports whether the header is as the match wants it.
func (m *Match) FitsHeaders(fields Fields) bool {
	for i := range m.Headers {
		if !m.Headers[i].fits(fields) {
			return false
		}
	}
	return true
}

// fits looks at every field of the name: one more of them must not hide one.
func (h *HeaderPattern) fits(fields Fields) bool {
	for n := 0; ; n++ {
		value, ok := fields.Nth(h.Name, n)
		if !ok {
			return false
		}
		if h.Regexp != nil && h.Regexp.MatchString(value) || h.Regexp == nil && (h.Value == "" || h.Value == value) {
			return true
		}
	}
}

// fitsShare draws a share of the clients: the same ones for as long as the
// rule has its name.
func (m *Match) fitsShare(r *Request, name string) bool {
	if m.Share <= 0 || m.Share >= 1 {
		return true
	}
	h := hash(fnvBasis, name)
	if r.Consumer != "" {
		h = hash(h, r.Consumer)
	} else {
		a := r.Client.As16()
		h = hashBytes(h, a[:])
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return float64(h>>11)/(1<<53) < m.Share
}

const fnvBasis = uint64(14695981039346656037)

func hash(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func hashBytes(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
