package message

import "bytes"

// HeadEnd looks for the end of the head at the start of b, of which the first
// from bytes were scanned before (0 at first). It returns the length of the
// head, or n == 0 without an error while the end is not there: then next is the
// from of the next call. What can no longer become a head of HTTP/1 is refused
// at once and not at the end of the peer's patience: garbage in place of a
// method, a first line without a version, a bare CR or LF, NUL.
func HeadEnd(b []byte, from int) (n, next int, err error) {
	for i := from; ; {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			break
		}
		i += j + 1
		if i < 2 || b[i-2] != '\r' {
			return 0, 0, ErrBareLF
		}
		if i == 2 {
			return 0, 0, errEmpty
		}
		if b[i-3] == '\n' {
			return i, i, nil // Parse checks all the rest
		}
	}
	if err := checkPartial(b, from); err != nil {
		return 0, 0, err
	}
	next = len(b)
	if next > 0 && b[next-1] == '\r' {
		next-- // its LF may come
	}
	return 0, next, nil
}

// SkipEmptyLines returns how many bytes of empty lines, at most two, stand at
// the start of b: RFC 9112 2.2 lets a server ignore them before a request.
func SkipEmptyLines(b []byte) int {
	n := 0
	for n < 4 && len(b) >= n+2 && b[n] == '\r' && b[n+1] == '\n' {
		n += 2
	}
	return n
}

// TooLarge returns the refusal of a head that does not end in the b that was
// read of it: 414 if not even its first line does, else 431.
func TooLarge(b []byte) *ParseError {
	if bytes.IndexByte(b, '\n') < 0 {
		return ErrLineTooLong
	}
	return ErrHeadTooLarge
}

// checkPartial refuses the beginning of a head that cannot become one.
func checkPartial(b []byte, from int) error {
	if from <= maxMethod {
		if err := checkStart(b); err != nil {
			return err
		}
	}
	if bytes.IndexByte(b[:from], '\n') < 0 {
		if i := bytes.IndexByte(b, '\n'); i > 0 && !looksLikeFirstLine(b[:i-1]) {
			return errRequestLine
		}
	}
	rest := b[from:]
	if bytes.IndexByte(rest, 0) >= 0 {
		return errNUL
	}
	for {
		i := bytes.IndexByte(rest, '\r')
		if i < 0 || i == len(rest)-1 {
			return nil
		}
		if rest[i+1] != '\n' {
			return errBareCR
		}
		rest = rest[i+2:]
	}
}

// checkStart refuses what begins with neither a method nor an HTTP version.
func checkStart(b []byte) error {
	const version = "HTTP/"
	if n := min(len(b), len(version)); n == 0 || string(b[:n]) == version[:n] {
		return nil
	}
	if b[0] == 0x16 {
		return ErrTLS
	}
	if bytes.HasPrefix(b, []byte("PRI * HTTP/2")) {
		return ErrHTTP2Preface
	}
	for i, c := range b {
		switch {
		case i > 0 && c == ' ':
			return nil
		case c == '\r' && i == 0 && len(b) == 1:
			return nil // may be an empty line that is to be skipped
		case classes[c]&isToken == 0, i == maxMethod:
			return errMethod
		}
	}
	return nil
}

// looksLikeFirstLine reports whether line has an HTTP version where a request
// line or a status line has it.
func looksLikeFirstLine(line []byte) bool {
	if bytes.HasPrefix(line, []byte("HTTP/")) {
		return true
	}
	return len(line) >= 9 && string(line[len(line)-9:len(line)-3]) == " HTTP/"
}
