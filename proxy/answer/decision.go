package answer

import (
	"net/netip"
	"strconv"
	"strings"

	"lictor/policy"
)

// DecisionVersion is the version of the lines of the decision log.
const DecisionVersion = 1

// Decided is what the decision log tells of a request beside its [Line]. It holds no
// value that a client sent in a field, and no query.
type Decided struct {
	Line  *Line
	Host  string // as it was decided on; Line.Host if it could not be read
	Port  uint16
	Names []string // of the client's certificate
	Body  bool     // one was announced
	Clean bool     // the path was read, so that it can be cut

	Country      string // of the client
	KnowsCountry bool   // Country was looked up

	Passed   bool // the decision let it pass, and an authority if one was asked
	Answered bool // a preflight, which lictor answers
	Verdict  *policy.Verdict
	Route    *policy.Route // nil: of the egress
	Claimed  [2]string     // the service that claims Host and how it does, where that is not the route; "" = none does
	Alias    string        // another name by which it was decided on
	Identity *policy.Identity

	Preflight bool
	Headers   []string     // middleware whose match.headers fit
	Matched   []string     // middleware that matched; nil: it did not run
	Routed    []string     // services that middleware sent it to instead, in this order
	Ran       bool         // middleware ran
	Addrs     []netip.Addr // of the target of the egress, once they are known
}

// Mask says what of a request the decision log does not tell. The zero Mask hides
// nothing.
type Mask struct {
	Client4, Client6 int // bits of an address that are kept; 0 = all
	Segments         int // of a path that are kept; 0 = all
}

// mask hides what is to be hidden. It reports false if that cannot be done.
func (m *Mask) mask(d *Decided, rec *masked) bool {
	if !m.hide(d, rec) {
		return false
	}
	if rec.entry = d.Line.Ruling.Rule.Entry; rec.bits > 0 && !d.Line.Egress && bitsOf(rec.entry) > rec.bits || rec.cut != "" && m.cuts(rec.entry) {
		rec.entry = "" // it matches what is hidden, and would tell it
	}
	return true
}

// bitsOf is how much of a client's address an entry of a list says, 0 if it does not
// speak of one.
func bitsOf(entry string) int {
	if strings.Trim(entry, "0123456789abcdefABCDEF.:/") != "" || entry == "" {
		return 0 // without an error, which would be made for each decision
	}
	if a, err := netip.ParseAddr(entry); err == nil {
		return a.Unmap().BitLen()
	}
	p, _ := netip.ParsePrefix(entry)
	return max(p.Bits(), 0)
}

// cuts reports whether an entry of a list says more of a path than is told.
func (m *Mask) cuts(entry string) bool {
	if bitsOf(entry) > 0 {
		return false
	}
	_, url, ok := strings.Cut(entry, "://")
	if !ok {
		url = entry
	}
	slash := strings.IndexByte(url, '/')
	return slash >= 0 && endOfSegments(url[slash:], m.Segments) < len(url)-slash
}

// hide is mask without the rule.
func (m *Mask) hide(d *Decided, rec *masked) bool {
	client := d.Line.Client.Unmap().WithZone("")
	rec.client, rec.path, rec.cut = client, d.Line.Path, ""
	if m.Client4 > 0 || m.Client6 > 0 {
		bits := m.Client6
		if client.Is4() {
			bits = m.Client4
		}
		if !client.IsValid() {
			return false
		}
		if bits > 0 && bits < client.BitLen() {
			p, err := client.Prefix(bits)
			if err != nil {
				return false
			}
			rec.client, rec.bits = p.Addr(), bits
		}
	}
	if m.Segments == 0 || rec.path == "" {
		return true
	}
	if !d.Clean {
		return false
	}
	if end := endOfSegments(rec.path, m.Segments); end < len(rec.path) {
		rec.cut = "plain"
		if strings.ContainsAny(rec.path[end:], `%;\`) || strings.Contains(rec.path[end:], "//") || strings.Contains(rec.path[end:], "/.") {
			rec.cut = "odd" // what is hidden may lead elsewhere
		}
		rec.path = rec.path[:end]
	}
	return true
}

// endOfSegments is where the first n segments of a path end.
func endOfSegments(path string, n int) int {
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if n--; n == 0 {
				return i
			}
		}
	}
	return len(path)
}

// masked is what is left of a request.
type masked struct {
	client netip.Addr
	bits   int // of client that are told; 0 = all
	path   string
	entry  string // of the rule
	cut    string // how what was cut off path looks: plain or odd; "" = nothing was
}

// append appends the line of a decision, which ends in a newline.
func (d *Decided) append(dst []byte, rec *masked, share float64) []byte {
	l := d.Line
	dst = append(dst, `{"v":1,"time":"`...)
	dst = append(appendTime(dst, l.Began), `","id":"`...)
	dst = append(append(dst, l.ID...), `","listener":"`...)
	if l.Egress {
		dst = append(dst, `egress"`...)
	} else {
		dst = append(dst, `gateway"`...)
	}
	if share < 1 {
		dst = strconv.AppendFloat(append(dst, `,"sample":`...), share, 'g', -1, 64)
	}
	dst = appendExact(dst, `,"method":`, l.Method)
	dst = appendExact(dst, `,"host":`, d.Host)
	dst = appendNumber(dst, `,"port":`, int64(d.Port))
	dst = appendExact(dst, `,"path":`, rec.path)
	dst = appendSet(dst, `,"cut":`, rec.cut)
	dst = append(dst, `,"client":"`...)
	dst = rec.client.AppendTo(dst)
	if rec.bits > 0 {
		dst = strconv.AppendInt(append(dst, '/'), int64(rec.bits), 10)
	}
	dst = append(dst, '"')
	if d.KnowsCountry {
		dst = appendExact(dst, `,"country":`, d.Country)
	}
	dst = d.appendWho(dst)
	dst = d.appendBasis(dst)
	word := "refuse"
	switch {
	case d.Passed:
		word = "pass"
	case d.Answered:
		word = "answer"
	}
	dst = appendSet(dst, `,"verdict":`, word)
	dst = appendSet(dst, `,"reason":`, string(l.Reason))
	dst = appendSet(dst, `,"rule":`, l.Ruling.Rule.Key)
	dst = appendSet(dst, `,"entry":`, rec.entry)
	dst = appendSet(dst, `,"plugin":`, l.Ruling.Plugin)
	dst = appendSet(dst, `,"policy":`, l.Ruling.Policy)
	dst = appendNumber(dst, `,"status":`, int64(l.Status))
	return append(dst, "}\n"...)
}

// appendWho appends who asked.
func (d *Decided) appendWho(dst []byte) []byte {
	v := d.Verdict
	if d.Identity != nil {
		dst = appendSet(dst, `,"consumer":`, d.Identity.ID)
		dst = appendSet(dst, `,"mark":`, d.Identity.Mark)
	}
	dst = appendSet(dst, `,"credential":`, d.Line.Credential)
	if sum := v.Rests.KeySum; sum != 0 {
		dst = append(appendSum(append(dst, `,"key_sum":"`...), sum), '"')
	}
	if v.ByToken() {
		dst = append(dst, `,"token":true`...)
	}
	return appendList(dst, `,"names":`, d.Names)
}

// appendBasis appends what the decision rested on.
func (d *Decided) appendBasis(dst []byte) []byte {
	rests := &d.Verdict.Rests
	if t := d.Route; t != nil && t.By != policy.ByNothing {
		dst = appendSet(dst, `,"by":`, t.By.String())
		dst = appendSet(dst, `,"api":`, t.API)
		dst = appendSet(dst, `,"service":`, t.Service)
		dst = appendSet(dst, `,"claim":`, t.Claim)
		dst = appendSet(dst, `,"alias":`, d.Alias)
		if t.AnyCase {
			dst = append(dst, `,"any_case":true`...)
		}
		if d.Claimed[0] != "" {
			dst = appendList(dst, `,"claimed":`, d.Claimed[:])
		}
	}
	dst = appendList(dst, `,"key_names":`, rests.KeyNames)
	dst = appendSet(dst, `,"key":`, rests.Key)
	first := true
	rests.Plugins(func(name string, sum uint32) {
		if first {
			dst = append(dst, `,"plugins":{`...)
		} else {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(append(dst, '"'), name...), `":"`...)
		dst = append(appendSum(dst, sum), '"')
	})
	if !first {
		dst = append(dst, '}')
	}
	if d.Body {
		dst = append(dst, `,"body":true`...)
	}
	if d.Preflight {
		dst = append(dst, `,"preflight":true`...)
	}
	dst = appendList(dst, `,"headers":`, d.Headers)
	if d.Ran {
		dst = appendList(append(dst, `,"ran":true`...), `,"matched":`, d.Matched)
		dst = appendList(dst, `,"routed":`, d.Routed)
	}
	for i, a := range d.Addrs {
		if i == 0 {
			dst = append(dst, `,"addrs":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(a.AppendTo(append(dst, '"')), '"')
		if i == len(d.Addrs)-1 {
			dst = append(dst, ']')
		}
	}
	return dst
}

// appendSum appends 8 hex digits.
func appendSum(dst []byte, sum uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[sum>>shift&15])
	}
	return dst
}

// appendExact appends a text that is not cut: what was decided on is nothing else.
func appendExact(dst []byte, key, value string) []byte {
	return appendWhole(append(dst, key...), value)
}

// appendSet is appendExact for what is left out if there is none.
func appendSet(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendExact(dst, key, value)
}

func appendList(dst []byte, key string, values []string) []byte {
	if len(values) == 0 {
		return dst
	}
	dst = append(append(dst, key...), '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendWhole(dst, v)
	}
	return append(dst, ']')
}

// tooLong reports whether some text of the decision is longer than a record may be.
func (d *Decided) tooLong(rec *masked) bool {
	most := maxDecision - 1<<10
	sum := len(rec.path) + len(d.Host) + len(d.Line.Method) + len(rec.entry) + len(d.Line.Ruling.Rule.Key)
	for _, list := range [...][]string{d.Names, d.Headers, d.Matched, d.Routed} {
		for _, s := range list {
			sum += len(s) + 3
		}
	}
	return sum > most
}
