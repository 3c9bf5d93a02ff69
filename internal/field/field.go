// Package field compares the names of header fields as the most careless reader
// of them does.
package field

// Same reports whether two names are one for a backend that gets them by CGI,
// WSGI or the like: there case is lost, and '_', '.' and every other mark is
// the same as '-'. What sets, removes or protects a field has to go by this,
// or another spelling gets round it.
func Same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

// HasPrefix reports whether name begins with prefix, compared as by [Same].
func HasPrefix(name, prefix string) bool {
	return len(name) >= len(prefix) && Same(name[:len(prefix)], prefix)
}

func fold(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return '-'
}
