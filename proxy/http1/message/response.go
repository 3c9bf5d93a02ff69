package message

import "bytes"

// ResponseHead is the head of a response. The reason phrase is not kept.
type ResponseHead struct {
	Head
	Status int // 100 to 999
}

// Parse reads b, a whole head as HeadEnd measured it: the answer to a request
// with that method. It takes what sloppy servers send where only one meaning is
// possible: equal lengths, identity as a coding, blanks before a colon. Statuses
// past 599 are no standard's, and the client's to judge. Close is also set when the end
// of the connection is the end of the body, and when an answer that has no body
// speaks of one, so that what may follow is not taken for the next answer.
func (h *ResponseHead) Parse(b []byte, method string) error {
	h.Head.reset()
	h.Status = 0
	h.lenient, h.maxFields = true, MaxAnswerFields
	if !wholeHead(b) {
		return ErrIncomplete
	}
	n := bytes.IndexByte(b, '\n')
	if n < 1 || b[n-1] != '\r' {
		return ErrBareLF
	}
	if err := h.parseLine(b[:n-1]); err != nil {
		return err
	}
	if err := h.parseFields(b, n+1); err != nil {
		return err
	}
	switch framing := h.Framing(method); {
	case framing == UntilClose:
		h.Close = true
	case framing == NoBody && (h.Status < 200 || h.Status == 204) && (h.Chunked || h.ContentLength > 0):
		h.Close = true
	}
	return nil
}

// Framing returns how the body of an answer to a request with that method ends
// (RFC 9112 6.3). After a 101, or a 2xx to CONNECT, the bytes are not HTTP.
func (h *ResponseHead) Framing(method string) Framing {
	switch {
	case h.Status < 200, h.Status == 204, h.Status == 304, method == "HEAD",
		method == "CONNECT" && h.Status < 300:
		return NoBody
	case h.Chunked:
		return Chunked
	case h.ContentLength > 0:
		return Length
	case h.ContentLength == 0:
		return NoBody
	}
	return UntilClose
}

// parseLine reads the status line. The reason phrase, and with it the space
// before it, may be missing.
func (h *ResponseHead) parseLine(line []byte) error {
	if len(line) < 12 || line[8] != ' ' {
		return errStatusLine
	}
	minor, err := parseVersion(line[:8])
	if err != nil {
		return err
	}
	h.Minor = minor
	for _, c := range line[9:12] {
		d := c - '0'
		if d > 9 {
			return errStatusLine
		}
		h.Status = h.Status*10 + int(d)
	}
	if h.Status < 100 || h.Status > 999 {
		return errStatusLine
	}
	reason := line[12:]
	if len(reason) > 0 && (reason[0] != ' ' || !ValidFieldValue(view(reason))) {
		return errStatusLine
	}
	return nil
}

// HeadOfLines takes an answer's head at the start of b in which every line ends
// with LF alone, as small devices send it. It returns a copy whose lines end as they
// should, and how many bytes of b it was: 0 while the end is not there. One that has
// both ends is refused: there LF is more likely what somebody smuggled into a field.
func HeadOfLines(b []byte) (head []byte, used int, err error) {
	end := bytes.Index(b, []byte("\n\n"))
	head = b
	if end >= 0 {
		used = end + 2
		head = b[:used]
	}
	switch {
	case bytes.IndexByte(head, '\r') >= 0, end == 0:
		return nil, 0, ErrBareLF
	case end < 0:
		return nil, 0, nil
	}
	return bytes.ReplaceAll(head, []byte("\n"), []byte("\r\n")), used, nil
}
