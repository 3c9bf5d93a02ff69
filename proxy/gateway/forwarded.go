package gateway

import (
	"net/netip"
	"strconv"
	"strings"

	"lictor/proxy/http1/message"
)

// hop is one element of Forwarded (RFC 7239): what a proxy says of the
// connection by which it got the request.
type hop struct {
	node  string // for: an address, maybe with a port; "unknown"; or a made-up name with an underscore
	proto string
	host  string
	told  bool // it has a parameter, of whatever name
}

// addr is the address of a hop, not ok if it does not tell.
func (h *hop) addr() (netip.Addr, bool) {
	node := h.node
	if i := strings.LastIndex(node, ":_"); i > 0 { // a made-up port
		node = node[:i]
	}
	return hopAddr(node)
}

// readForwarded reads all fields Forwarded, nil if there is none, or one that
// does not follow the grammar: of such a one nothing is believed.
func readForwarded(fields []message.Field) []hop {
	var hops []hop
	for i := range fields {
		f := &fields[i]
		if f.ID != message.FieldForwarded {
			continue
		}
		for rest, more := f.Value, true; more; {
			var h hop
			var ok bool
			if h, rest, more, ok = readHop(rest); !ok {
				return nil
			}
			if h.told { // RFC 9110 5.6.1.2: empty members count for nothing
				hops = append(hops, h)
			}
		}
	}
	return hops
}

// readHop cuts the first element off a value. more says that a comma follows it.
func readHop(s string) (h hop, rest string, more, ok bool) {
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" {
			return h, "", false, true
		}
		switch s[0] {
		case ',':
			return h, s[1:], true, true
		case ';':
			s = s[1:]
			continue
		}
		name, value, after, ok := readPair(s)
		if !ok || !h.set(name, value) {
			return hop{}, "", false, false
		}
		if s = strings.TrimLeft(after, " \t"); s != "" && s[0] != ',' && s[0] != ';' {
			return hop{}, "", false, false
		}
	}
}

// set takes in a parameter. It fails if that was there before.
func (h *hop) set(name, value string) bool {
	h.told = true
	var to *string
	switch {
	case message.EqualFold(name, "for"):
		to = &h.node
	case message.EqualFold(name, "proto"):
		to = &h.proto
	case message.EqualFold(name, "host"):
		to = &h.host
	default:
		return true // "by", and extensions
	}
	if *to != "" {
		return false
	}
	*to = value
	return true
}

// readPair reads token "=" ( token / quoted-string ).
func readPair(s string) (name, value, rest string, ok bool) {
	name, s, ok = strings.Cut(s, "=")
	if !ok || !message.ValidFieldName(name) || s == "" {
		return "", "", "", false
	}
	if s[0] == '"' {
		value, rest, ok = readQuoted(s[1:])
		return name, value, rest, ok
	}
	end := strings.IndexAny(s, ",; \t")
	if end < 0 {
		end = len(s)
	}
	// Many send addresses with ports and brackets without the quotes that the
	// grammar wants. They can be read in one way only.
	for i := range end {
		if c := s[i]; c == '"' || c == '\\' || c == '=' || c == '(' || c == ')' {
			return "", "", "", false
		}
	}
	return name, s[:end], s[end:], end > 0
}

// readQuoted reads a quoted-string behind its first quote.
func readQuoted(s string) (value, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return s[:i], s[i+1:], true
		case '\\':
			return unquote(s)
		}
	}
	return "", "", false
}

// unquote is readQuoted of a string that has quoted characters.
func unquote(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// members yields the members of the lists in all fields of an id, in order.
func members(fields []message.Field, id message.FieldID) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range fields {
			f := &fields[i]
			if f.ID != id {
				continue
			}
			for s := range strings.SplitSeq(f.Value, ",") {
				if s = strings.Trim(s, " \t"); s != "" && !yield(s) {
					return
				}
			}
		}
	}
}

// first returns the first of them: what the outermost proxy said.
func first(fields []message.Field, id message.FieldID) string {
	for s := range members(fields, id) {
		return s
	}
	return ""
}

// agree reports whether Forwarded names the same addresses as X-Forwarded-For. A
// proxy that writes one of them and passes the other one on as the client sent
// it does not make the client's believed.
func agree(hops []hop, fields []message.Field) bool {
	i := 0
	for s := range members(fields, message.FieldXForwardedFor) {
		if i == len(hops) {
			return false
		}
		a, ok := hopAddr(s)
		b, same := hops[i].addr()
		if ok != same || a != b {
			return false
		}
		i++
	}
	return i == len(hops)
}

// told is what a trusted proxy said of how the client came: of X-Forwarded-*
// what stands first, that of the outermost proxy, else what Forwarded says.
func (in *inbound) told() (proto, host, port string) {
	own, _ := in.scheme()
	proto, host = own, in.req.Host
	said := false // of proto or host
	if p, ok := schemeOf(first(in.req.Fields, message.FieldXForwardedProto)); ok {
		proto, said = p, true
	} else if p, ok := schemeOf(in.hopsSay(func(h *hop) string { return h.proto })); ok {
		proto, said = p, true
	}
	for _, h := range [...]string{first(in.req.Fields, message.FieldXForwardedHost), in.hopsSay(func(h *hop) string { return h.host })} {
		if h = strings.TrimSuffix(h, ":"); message.ValidHost(h) {
			host, said = h, true
			break
		}
	}
	port = first(in.req.Fields, message.FieldXForwardedPort)
	if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
		return proto, host, strings.TrimLeft(port, "0")
	}
	switch port = message.PortOf(host); {
	case port != "":
	case !said: // it only said who the client is
	case proto == "https":
		port = "443"
	default:
		port = "80"
	}
	return proto, host, port
}

// hopsSay returns what the first of the hops says that says anything.
func (in *inbound) hopsSay(of func(*hop) string) string {
	for i := range in.hops {
		if s := of(&in.hops[i]); s != "" {
			return s
		}
	}
	return ""
}

// schemeOf reads a scheme; that of a WebSocket is the one it began with.
func schemeOf(s string) (string, bool) {
	switch {
	case message.EqualFold(s, "https"), message.EqualFold(s, "wss"):
		return "https", true
	case message.EqualFold(s, "http"), message.EqualFold(s, "ws"):
		return "http", true
	}
	return "", false
}

// appendFor appends the addresses of X-Forwarded-For.
func (in *inbound) appendFor(dst []byte) []byte {
	if in.trusted {
		for s := range members(in.req.Fields, message.FieldXForwardedFor) {
			dst = append(append(dst, s...), ", "...)
		}
		if !in.forwardedFor() {
			for i := range in.hops {
				dst = appendPlain(dst, &in.hops[i])
				dst = append(dst, ", "...)
			}
		}
	}
	return append(dst, in.peerText()...)
}

// peerText is the address of the socket's peer as text, which is made once.
func (in *inbound) peerText() []byte {
	if in.peerWord == nil {
		in.peerWord = in.peer.AppendTo(in.peerBytes[:0])
	}
	return in.peerWord
}

// appendClient appends the client's address, which mostly is the peer's.
func (in *inbound) appendClient(dst []byte) []byte {
	if in.client == in.peer {
		return append(dst, in.peerText()...)
	}
	return in.client.AppendTo(dst)
}

// appendPlain appends a hop in the manner of X-Forwarded-For.
func appendPlain(dst []byte, h *hop) []byte {
	if a, ok := h.addr(); ok {
		return a.AppendTo(dst)
	}
	return append(dst, "unknown"...)
}

// appendElements appends the elements of Forwarded: as they came, or made of
// X-Forwarded-For, and ours, which says the same as X-Forwarded-*.
func (in *inbound) appendElements(dst []byte, proto, host string) []byte {
	if in.trusted {
		if in.hops != nil {
			for i := range in.req.Fields {
				if f := &in.req.Fields[i]; f.ID == message.FieldForwarded && f.Value != "" {
					dst = append(append(dst, f.Value...), ", "...)
				}
			}
		} else {
			for s := range members(in.req.Fields, message.FieldXForwardedFor) {
				dst = append(appendElement(dst, s), ", "...)
			}
		}
	}
	dst = append(dst, "for="...)
	dst = appendNode(dst, in.peer, in.peerText())
	dst = append(dst, ";proto="...)
	dst = append(dst, proto...)
	if host != "" {
		dst = append(dst, ";host=\""...)
		dst = append(append(dst, host...), '"')
	}
	return dst
}

// appendElement appends a member of X-Forwarded-For in the notation of RFC 7239 6.
func appendElement(dst []byte, s string) []byte {
	dst = append(dst, "for="...)
	if a, ok := hopAddr(s); ok {
		var text [64]byte
		return appendNode(dst, a, a.AppendTo(text[:0]))
	}
	return append(dst, "unknown"...)
}

// appendNode appends an address, of which text is the text.
func appendNode(dst []byte, a netip.Addr, text []byte) []byte {
	if a.Is6() {
		return append(append(append(dst, `"[`...), text...), `]"`...)
	}
	return append(dst, text...)
}

// forwardedFor reports whether the request has an address in X-Forwarded-For.
func (in *inbound) forwardedFor() bool { return first(in.req.Fields, message.FieldXForwardedFor) != "" }
