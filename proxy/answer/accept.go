package answer

import (
	"strings"

	"lictor/proxy/http1/message"
)

// PrefersHTML reports whether a request asks rather for text/html than for
// application/json (RFC 9110 12.5.1). Who likes both alike, as curl with its */*,
// who likes neither and who says nothing does not. A member of the list that
// cannot be read says nothing. It allocates nothing.
func PrefersHTML(fields []message.Field) bool {
	html, json := liking{main: "text", sub: "html"}, liking{main: "application", sub: "json"}
	for i := range fields {
		if fields[i].ID != message.FieldAccept {
			continue
		}
		for rest := fields[i].Value; rest != ""; {
			var member string
			member, rest = cutUnquoted(rest, ',')
			if r, ok := readRange(member); ok {
				html.take(&r)
				json.take(&r)
			}
		}
	}
	return html.weight > json.weight
}

// mediaRange is a member of Accept.
type mediaRange struct {
	main, sub string
	charset   bool // it wants UTF-8, which our bodies are
	weight    int  // in thousandths
}

// liking is how much a client wants a media type: the weight of the most specific
// range that it is in.
type liking struct {
	main, sub string
	precision int // of that range
	weight    int
}

func (l *liking) take(r *mediaRange) {
	precision := 0
	switch {
	case r.main == "*":
		precision = 2
	case !message.EqualFold(r.main, l.main):
		return
	case r.sub == "*":
		precision = 4
	case message.EqualFold(r.sub, l.sub):
		precision = 6
	default:
		return
	}
	if r.charset {
		precision++
	}
	if precision > l.precision || precision == l.precision && r.weight > l.weight {
		l.precision, l.weight = precision, r.weight
	}
}

// readRange reads a member of Accept. It is false for what is no media range, for
// one with a weight that is none, and for one that wants a parameter which our
// bodies do not have.
func readRange(member string) (r mediaRange, ok bool) {
	media, rest := cutUnquoted(member, ';')
	r.main, r.sub, ok = strings.Cut(strings.Trim(media, " \t"), "/")
	if !ok || !message.ValidFieldName(r.main) || !message.ValidFieldName(r.sub) || r.main == "*" && r.sub != "*" {
		return r, false
	}
	r.weight = 1000
	for rest != "" {
		var parameter string
		parameter, rest = cutUnquoted(rest, ';')
		name, value, _ := strings.Cut(strings.Trim(parameter, " \t"), "=")
		switch {
		case name == "" && value == "":
		case message.EqualFold(name, "q"): // wherever it stands
			if r.weight, ok = readWeight(value); !ok {
				return r, false
			}
		case message.EqualFold(name, "charset") && message.EqualFold(strings.Trim(value, `"`), "utf-8"):
			r.charset = true
		default:
			return r, false
		}
	}
	return r, true
}

// readWeight reads a qvalue (RFC 9110 12.4.2), in thousandths.
func readWeight(s string) (int, bool) {
	if s == "" || len(s) > len("0.000") || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	weight := int(s[0]-'0') * 1000
	for i, digit := 2, 100; i < len(s); i, digit = i+1, digit/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		weight += int(s[i]-'0') * digit
	}
	return weight, weight <= 1000
}

// cutUnquoted cuts s at the first separator that stands in no quoted string. Of one
// that does not end nothing is left.
func cutUnquoted(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
