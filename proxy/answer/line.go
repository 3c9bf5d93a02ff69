package answer

import (
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"
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
	Consumer string // "" = it is not told who it was

	Method, Host, Path, Version string // Path without its query
	Port                        uint16 // told by the egress
	Scheme, Authority           string // what stands in front of Path in the request line

	Status int
	Reason Reason
	Rule   Rule

	Service            string        // told by the gateway
	Instance, Upstream string        // who answered
	Answered           time.Duration // from the first attempt to the answer's head; 0 = there was none
	Tries              int           // told by the gateway
	Connect, Lookup    time.Duration // told by the egress, Connect if an address was dialled

	In, Out        int64 // bytes of the bodies, or of the tunnel
	Referer, Agent string
	Err            error
}

// Rule is the rule that refused, as far as the log tells it.
type Rule struct{ Key, Entry string }

// appendJSON appends the line as a JSON object without its first brace.
func (l *Line) appendJSON(dst []byte) []byte {
	dst = append(dst, `"time": "`...)
	dst = append(appendTime(dst, l.Began), '"')
	if l.Listener != "" {
		dst = appendText(dst, `, "listener": `, l.Listener)
	}
	dst = append(dst, `, "request_id": "`...)
	dst = append(dst, l.ID...)
	dst = append(dst, `", "client": "`...)
	dst = append(l.Client.AppendTo(dst), '"')
	if l.Consumer != "" {
		dst = appendText(dst, `, "consumer": `, l.Consumer)
	}
	dst = appendText(dst, `, "method": `, l.Method)
	dst = appendText(dst, `, "host": `, l.Host)
	if l.Egress {
		dst = appendNumber(dst, `, "port": `, int64(l.Port))
	}
	dst = appendText(dst, `, "path": `, l.Path)
	dst = appendNumber(dst, `, "status": `, int64(l.Status))
	if l.Reason != ReasonNone {
		dst = appendText(dst, `, "reason": `, string(l.Reason))
	}
	if l.Rule.Key != "" {
		dst = appendText(dst, `, "rule": `, l.Rule.Key)
		dst = appendText(dst, `, "entry": `, l.Rule.Entry)
	}
	dst = l.appendUpstream(dst)
	dst = appendNumber(dst, `, "bytes_in": `, l.In)
	dst = appendNumber(dst, `, "bytes_out": `, l.Out)
	dst = appendNumber(dst, `, "took_us": `, l.Took.Microseconds())
	if l.Err != nil {
		dst = appendText(dst, `, "error": `, l.Err.Error())
	}
	return append(dst, '}')
}

// appendUpstream appends where the request went.
func (l *Line) appendUpstream(dst []byte) []byte {
	if !l.Egress {
		dst = appendText(dst, `, "service": `, l.Service)
	}
	if l.Instance != "" {
		dst = appendText(dst, `, "instance": `, l.Instance)
	}
	if l.Upstream != "" {
		dst = appendText(dst, `, "upstream": `, l.Upstream)
	}
	if l.Answered > 0 {
		dst = appendNumber(dst, `, "upstream_us": `, l.Answered.Microseconds())
	}
	if !l.Egress {
		return appendNumber(dst, `, "tries": `, int64(l.Tries))
	}
	if l.Upstream != "" {
		dst = appendNumber(dst, `, "connect_us": `, l.Connect.Microseconds())
	}
	return appendNumber(dst, `, "lookup_us": `, l.Lookup.Microseconds())
}

// appendText appends a string after its key, which is written with all that
// stands around it: one copy for each costs half of what three do.
func appendText(dst []byte, key, value string) []byte {
	return AppendJSON(append(dst, key...), value)
}

func appendNumber(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(dst, key...), n, 10)
}

// appendCommon is the NCSA common log format.
func (l *Line) appendCommon(dst []byte) []byte {
	dst = append(l.Client.AppendTo(dst), " - "...)
	if l.Consumer != "" {
		dst = append(dst, l.Consumer...)
	} else {
		dst = append(dst, '-')
	}
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
