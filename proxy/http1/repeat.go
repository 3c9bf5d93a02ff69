package http1

// Repeatable reports whether a request whose kept-alive connection turned out
// dead may be sent once more on a new one: that says nothing about the server,
// and nothing was sent, or nothing that acts.
func (f *Failure) Repeatable(method string) bool {
	return f.Kind == Stale || f.Kind == Broken && f.Clean && Safe(method)
}

// Safe reports whether a method only reads (RFC 9110 9.2.1).
func Safe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}
