package message

import "lictor/internal/field"

// ConnectionSpecific reports whether the field called name, which is in lower
// case, speaks of the connection that it came by and of nothing else: HTTP/2 has
// no such fields (RFC 9113 8.2.2).
func ConnectionSpecific[T string | []byte](name T) bool {
	switch string(name) {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// ConnectionSpecific is the function of that name for a field's id.
func (id FieldID) ConnectionSpecific() bool { return connectionSpecific>>id&1 != 0 }

// ConnectionNames returns the names of the fields that are connection-specific.
func ConnectionNames() (names []string) {
	for name, id := range knownNames {
		if id.ConnectionSpecific() {
			names = append(names, name)
		}
	}
	return names
}

// HopByHop reports whether a field is between two neighbours and is never passed
// on (RFC 9110 7.6.1): what is connection-specific, TE, and what a proxy and its
// client tell each other of who the client is. What a Connection field lists is
// hop-by-hop too: see [Listed].
func (id FieldID) HopByHop() bool { return hopByHop>>id&1 != 0 }

const hopByHop = connectionSpecific | 1<<FieldTE | 1<<FieldProxyAuthenticate | 1<<FieldProxyAuthorization

const connectionSpecific uint64 = 1<<FieldConnection | 1<<FieldKeepAlive | 1<<FieldProxyConnection | 1<<FieldTransferEncoding | 1<<FieldUpgrade

// Listed reports whether name is one of names, as they stand in a Connection
// field: in whatever case, and with any mark in place of a dash, as the most
// careless reader takes them.
func Listed(names []string, name string) bool {
	for _, n := range names {
		if field.Same(n, name) {
			return true
		}
	}
	return false
}

// Means returns the id of the field that a careless reader takes f for: that of
// f, or if it is FieldAlias, the one that f is an alias of.
func (f *Field) Means() FieldID {
	if f.ID != FieldAlias {
		return f.ID
	}
	return meantID(f.Name)
}
