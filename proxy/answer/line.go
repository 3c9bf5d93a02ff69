package answer

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"lictor/internal/trace"
	"lictor/policy"
)

// Line is what the access log tells of a request that is over. What a listener
// does not know is left out.
type Line struct {
	Listener string // its name; "" = the gateway's own
	Egress   bool   // it is the egress, which tells other things
	Began    time.Time
	Took     time.Duration
	ID       string
	Client   netip.Addr

	Consumer   string // "" = nobody who is known
	Credential string // id of the key that it presented, also if it has run out; never the key

	Method, Host, Path, Version string // Path without its query
	Port                        uint16 // told by the egress
	Scheme, Authority           string // what stands in front of Path in the request line

	Status int
	Reason Reason
	Ruling Ruling // of the policy

	Service, API       string        // told by the gateway
	Instance, Upstream string        // who answered
	Answered           time.Duration // from the first attempt to the answer's head; 0 = there was none
	UpstreamStatus     int           // of the answer; 0 = there was none
	Tries              int           // told by the gateway
	Connect, Lookup    time.Duration // told by the egress, Connect if an address was dialled

	In, Out        int64 // bytes of the bodies, or of the tunnel
	Referer, Agent string
	Trace          trace.ID // that it belongs to; zero = none that lictor keeps or the client names
	Err            error
}

// Ruling is what the access log tells of the policy's decision: a refusal, or one
// that a rule in report mode would have made.
type Ruling struct {
	Policy string      // first digits of the hash of the policy, "" = there was none
	Rule   policy.Rule // that refused, or would have; the lack of a rule can refuse too
	Mode   policy.Mode // of the rule; "" = nothing refused, or would have
	Would  policy.Reason
	Plugin string // that refused
}

// RulingOf is what the log tells of a verdict by a set.
func RulingOf(set *policy.Set, v *policy.Verdict) (r Ruling) {
	r.Policy = set.Digits()
	would := v.Would()
	switch {
	case !v.Allowed() && v.Reason != policy.ReasonNone:
		r.Rule, r.Mode, r.Plugin = v.Rule, policy.Enforce, v.Plugin
	case len(would) > 0:
		r.Rule, r.Mode, r.Would = would[0].Rule, policy.Report, would[0].Reason
	}
	return r
}

// Refused notes that what the verdict had let pass was refused after all: by a
// later set, or without one by whom the policy had asked.
func (r *Ruling) Refused(by *policy.Set, rule policy.Rule, plugin string) {
	if by != nil {
		r.Policy = by.Digits()
	}
	r.Rule, r.Mode, r.Plugin, r.Would = rule, policy.Enforce, plugin, policy.ReasonNone
}

// appendText appends a string after its key, which is written with all that
// stands around it: one copy for each costs half of what three do.
func appendText(dst []byte, key, value string) []byte {
	return AppendJSON(append(dst, key...), value)
}

// appendKnown appends a name after its key, clipped to maxName; nothing for "".
func appendKnown(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendText(dst, key, clip(value, maxName))
}

func appendNumber(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(dst, key...), n, 10)
}

// appendCommon is the NCSA common log format.
func (l *Line) appendCommon(dst []byte) []byte {
	dst = append(l.Client.AppendTo(dst), " - "...)
	dst = appendWord(dst, l.Consumer)
	dst = append(dst, " ["...)
	dst = l.Began.AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	dst = append(dst, "] \""...)
	dst = append(appendQuoted(dst, l.Method), ' ')
	dst = append(dst, l.Scheme...)
	if l.Authority != "" {
		dst = appendQuoted(dst, l.Authority)
	}
	if l.Path != "" || l.Authority == "" {
		dst = appendQuoted(dst, l.Path)
	}
	dst = append(dst, " HTTP/"...)
	dst = append(dst, l.Version...)
	dst = append(dst, '"', ' ')
	dst = append(strconv.AppendInt(dst, int64(l.Status), 10), ' ')
	return strconv.AppendInt(dst, l.Out, 10)
}

// appendCombined adds the referrer (without its query) and the user agent.
func (l *Line) appendCombined(dst []byte) []byte {
	dst = append(l.appendCommon(dst), ` "`...)
	dst = appendQuoted(dst, withoutQuery(l.Referer))
	dst = append(dst, `" "`...)
	return append(appendQuoted(dst, l.Agent), '"')
}

// appendTime appends a time in UTC with microseconds (RFC 3339). The text of a
// second is made once.
func appendTime(dst []byte, at time.Time) []byte {
	t := seconds.Load()
	if t == nil || t.unix != at.Unix() {
		t = &second{at.Unix(), at.UTC().AppendFormat(nil, "2006-01-02T15:04:05.")}
		seconds.Store(t)
	}
	dst = append(dst, t.text...)
	us := uint32(at.Nanosecond()) / 1000
	return append(dst, digit(us/100_000), digit(us/10_000), digit(us/1000), digit(us/100), digit(us/10), digit(us), 'Z')
}

// digit is the last one of n.
func digit(n uint32) byte { return '0' + byte(n%10) }

type second struct {
	unix int64
	text []byte
}

var seconds atomic.Pointer[second]

// appendWord appends a field of the NCSA formats that stands without quotes, so
// that a blank would end it.
func appendWord(dst []byte, s string) []byte {
	from := len(dst)
	for dst = appendQuoted(dst, s); ; {
		i := bytes.IndexByte(dst[from:], ' ')
		if i < 0 {
			return dst
		}
		dst = slices.Replace(dst, from+i, from+i+1, '\\', 'x', '2', '0')
	}
}

// appendQuoted appends the inside of a quoted field of the NCSA formats,
// clipped; "-" for nothing.
func appendQuoted(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '-')
	}
	s = Clip(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20 || c >= 0x7f:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func withoutQuery(s string) string {
	for i := range len(s) {
		if s[i] == '?' || s[i] == '#' {
			return s[:i]
		}
	}
	return s
}
