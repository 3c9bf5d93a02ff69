package message

// Some logins belong to the connection on which they were made and not to the
// request: who uses it next is taken for the one who logged in (RFC 9110 3.3
// names the trouble). So a connection to an instance on which such a login was
// asked for or tried is the client connection's alone, and ends with it.

// connectionSchemes are the schemes of such logins.
var connectionSchemes = [...]string{"ntlm", "negotiate", "kerberos", "nego2"}

// BindsLogin reports whether the request tries a login that belongs to its connection.
func (h *RequestHead) BindsLogin() bool {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == FieldAuthorization && namesConnectionScheme(f.Value) {
			return true
		}
	}
	return false
}

// BindsLogin reports whether the answer asks for a login that belongs to its connection.
func (h *ResponseHead) BindsLogin() bool {
	if h.Status != 401 && h.Status != 407 {
		return false
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if (f.ID == FieldProxyAuthenticate || f.ID == Other && EqualFold(f.Name, "www-authenticate")) && namesConnectionScheme(f.Value) {
			return true
		}
	}
	return false
}

// namesConnectionScheme reports whether a member of list, credentials or
// challenges, begins with one of the schemes. It may see one inside a quoted
// string, which costs no more than the sharing of a connection.
func namesConnectionScheme(list string) bool {
	for list != "" {
		var member string
		member, list = nextMember(list)
		scheme := member
		for i := range len(member) {
			if isBlank(member[i]) {
				scheme = member[:i]
				break
			}
		}
		for _, s := range connectionSchemes {
			if EqualFold(scheme, s) {
				return true
			}
		}
	}
	return false
}
