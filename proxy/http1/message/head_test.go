package message

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const browserHead = "GET /shop/items/42?x=1 HTTP/1.1\r\n" +
	"Host: www.example.org\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Referer: https://www.example.org/shop\r\n" +
	"Connection: keep-alive\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n" +
	"Upgrade-Insecure-Requests: 1\r\n" +
	"Sec-Fetch-Dest: document\r\n\r\n"

const serverHead = "HTTP/1.1 200 OK\r\n" +
	"Date: Mon, 02 Jun 2025 10:00:00 GMT\r\n" +
	"Content-Type: application/json; charset=utf-8\r\n" +
	"Content-Length: 1024\r\n" +
	"Server: example/1.0\r\n" +
	"Cache-Control: no-store\r\n" +
	"ETag: \"0123456789abcdef\"\r\n" +
	"Vary: Accept-Encoding\r\n\r\n"

// TestHeadsAreFoundHoweverTheyArrive cuts a head at every place.
func TestHeadsAreFoundHoweverTheyArrive(t *testing.T) {
	for _, whole := range []string{browserHead, serverHead} {
		b := []byte(whole + "body\x00\n\r")
		for cut := 1; cut < len(whole); cut++ {
			n, next, err := HeadEnd(b[:cut], 0)
			if n != 0 || err != nil || next > cut {
				t.Fatalf("%q: got %d, %d, %v, want an incomplete head", b[:cut], n, next, err)
			}
			n, next, err = HeadEnd(b[:(cut+len(whole))/2], next)
			if n != 0 || err != nil {
				t.Fatalf("after %q: got %d, %v, want an incomplete head", b[:cut], n, err)
			}
			if n, _, err = HeadEnd(b, next); n != len(whole) || err != nil {
				t.Fatalf("after %q: got %d, %v, want %d", b[:cut], n, err, len(whole))
			}
		}
	}
}

// TestHopelessHeadsAreRefusedAtOnce feeds a byte at a time what can never
// become a head, and wants the refusal at the byte that says so.
func TestHopelessHeadsAreRefusedAtOnce(t *testing.T) {
	tests := []struct {
		name string
		good string // acceptable up to here
		bad  string // refused with this
		want error
	}{
		{"a TLS handshake", "", "\x16", ErrTLS},
		{"an HTTP/2 preface", "PRI * HTTP/", "2", ErrHTTP2Preface},
		{"garbage for a method", "GE", "\x00", errMethod},
		{"a method that is too long", strings.Repeat("A", 32), "A", errMethod},
		{"HTTP/0.9", "GET /a\r", "\n", errRequestLine},
		{"another protocol", "USER anonymous\r", "\n", errRequestLine},
		{"a bare LF in the first line", "GET /a HTTP/1.1", "\n", ErrBareLF},
		{"a bare LF in a field", "GET /a HTTP/1.1\r\nHost: h", "\n", ErrBareLF},
		{"a bare LF for the end", "GET /a HTTP/1.1\r\nHost: h\r\n", "\n", ErrBareLF},
		{"a bare CR", "GET /a HTTP/1.1\r\nHost: h\r", "x", errBareCR},
		{"two CR", "GET /a HTTP/1.1\r\nHost: h\r", "\r", errBareCR},
		{"NUL", "GET /a HTTP/1.1\r\nHost: h", "\x00", errNUL},
		{"an empty line that was not skipped", "\r", "\n", errEmpty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, from := []byte(tt.good+tt.bad), 0
			for n := 1; n <= len(tt.good); n++ {
				end, next, err := HeadEnd(b[:n], from)
				if end != 0 || err != nil {
					t.Fatalf("%q: got %d, %v, want an incomplete head", b[:n], end, err)
				}
				from = next
			}
			if _, _, err := HeadEnd(b, from); !errors.Is(err, tt.want) {
				t.Errorf("%q: got %v, want %v", b, err, tt.want)
			}
			if _, _, err := HeadEnd(b, 0); !errors.Is(err, tt.want) {
				t.Errorf("%q at once: got %v, want %v", b, err, tt.want)
			}
		})
	}
}

func TestTooLargeNamesWhatIsTooLarge(t *testing.T) {
	if got := TooLarge([]byte("GET /aaaa")); got != ErrLineTooLong {
		t.Errorf("within the first line: got %v, want %v", got, ErrLineTooLong)
	}
	if got := TooLarge([]byte("GET / HTTP/1.1\r\nX: aaaa")); got != ErrHeadTooLarge {
		t.Errorf("after the first line: got %v, want %v", got, ErrHeadTooLarge)
	}
}

func TestGetCountsFieldsInAnyCase(t *testing.T) {
	var h RequestHead
	if err := h.Parse([]byte(get("X-a: 1\r\nY: 2\r\nx-A: 3"))); err != nil {
		t.Fatal(err)
	}
	if v, n := h.Get("X-A"); v != "1" || n != 2 {
		t.Errorf("got %q, %d, want the first of two", v, n)
	}
	if v, n := h.Get("Z"); v != "" || n != 0 {
		t.Errorf("got %q, %d, want none", v, n)
	}
}

func TestParseForgetsTheLastRequest(t *testing.T) {
	var h RequestHead
	long := "POST http://other/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close, upgrade, X-a\r\n" +
		"Upgrade: x\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n"
	if err := h.Parse([]byte(long)); err != nil {
		t.Fatal(err)
	}
	if !h.Expect100 || !h.TETrailers || !h.Chunked || !h.Close || h.Upgrade != "x" {
		t.Fatalf("got %+v, want all of it noted", h)
	}
	if err := h.Parse([]byte(get("X: y"))); err != nil {
		t.Fatal(err)
	}
	if h.Expect100 || h.TETrailers || h.Chunked || h.Close || h.Upgrade != "" || h.ContentLength != -1 || h.Host != "h" ||
		len(h.Fields) != 2 || len(h.ConnectionNames) != 0 || h.Framing() != NoBody || h.Len != len(get("X: y")) {
		t.Errorf("got %+v, want nothing of the request before", h)
	}
}

// A client that speaks HTTP/1.0 is never asked to go on (RFC 9110 10.1.1).
func TestExpectations(t *testing.T) {
	tests := []struct {
		name, head string
		expect, te bool
	}{
		{"100-continue in any case", get("Expect: 100-Continue"), true, false},
		{"100-continue in a list", get("Expect: a=b, 100-continue"), true, false},
		{"another expectation", get("Expect: 200-ok"), false, false},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false, false},
		{"trailers in a second TE", get("TE: gzip\r\nTE: deflate, Trailers"), false, true},
		{"something like trailers", get("TE: trailersx"), false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h RequestHead
			if err := h.Parse([]byte(tt.head)); err != nil || h.Expect100 != tt.expect || h.TETrailers != tt.te {
				t.Errorf("got %v, %v, %v, want %v, %v", err, h.Expect100, h.TETrailers, tt.expect, tt.te)
			}
		})
	}
}

func TestParseRefusesWhatIsNotOneHead(t *testing.T) {
	for _, b := range []string{"", "\r\n", "\r\n\r\n", "\n\r\n\r\n", get("X: y")[1:20], get("X: y") + "body", get("X: y") + get("X: y")} {
		var req RequestHead
		if err := req.Parse([]byte(b)); err == nil {
			t.Errorf("request %q: got no error", b)
		}
		var resp ResponseHead
		if err := resp.Parse([]byte(b), "GET"); err == nil {
			t.Errorf("response %q: got no error", b)
		}
	}
}

func TestRequestHeadIsReusableWithoutAllocation(t *testing.T) {
	for name, head := range map[string]string{
		"a browser's":  browserHead,
		"a refused":    host("h/"),
		"an IPv6":      host("[2001:db8::1]:80"),
		"an aliased":   get("X_Forwarded_For: 1\r\nConnection: X-a, X-b"),
		"a TLS client": "\x16\x03\x01\x00\r\n\r\n",
	} {
		b := []byte(head)
		var h RequestHead
		if n := testing.AllocsPerRun(100, func() {
			n, _, err := HeadEnd(b, 0)
			if err == nil && n == len(b) {
				_ = h.Parse(b)
			}
		}); n != 0 {
			t.Errorf("%s head: got %v allocations, want 0", name, n)
		}
	}
}

func BenchmarkRequestHead(b *testing.B) {
	in := []byte(browserHead)
	var h RequestHead
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		n, _, err := HeadEnd(in, 0)
		if err == nil {
			err = h.Parse(in[:n])
		}
		if err != nil || len(h.Fields) != 10 {
			b.Fatal(err, h)
		}
	}
}

func BenchmarkResponseHead(b *testing.B) {
	in := []byte(serverHead)
	var h ResponseHead
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		n, _, err := HeadEnd(in, 0)
		if err == nil {
			err = h.Parse(in[:n], "GET")
		}
		if err != nil || h.Framing("GET") != Length {
			b.Fatal(err, h)
		}
	}
}

// readRequests says how lictor reads a connection on which s arrives: each
// request, and the refusal that ends it, or "..." if more would have to come.
func readRequests(s string) string {
	var out []string
	b := []byte(s)
	for {
		b = b[SkipEmptyLines(b):]
		if len(b) == 0 {
			return strings.Join(out, " | ")
		}
		var h RequestHead
		n, _, err := HeadEnd(b, 0)
		if err == nil && n > 0 {
			err = h.Parse(b[:n])
		}
		if err != nil || n == 0 {
			return strings.Join(append(out, refusal(err)), " | ")
		}
		body, rest, err := readBody(b[n:], h.Framing(), h.ContentLength)
		out = append(out, fmt.Sprintf("%s %s @%s%s%s", h.Method, h.Target, h.Host, remarks(&h.Head), body))
		if rest == nil {
			return strings.Join(append(out, refusal(err)), " | ")
		}
		b = rest
	}
}

// readResponse says how lictor reads s as the answer to a request.
func readResponse(s, method string) string {
	b := []byte(s)
	var h ResponseHead
	n, _, err := HeadEnd(b, 0)
	if err == nil && n > 0 {
		err = h.Parse(b[:n], method)
	}
	if err != nil || n == 0 {
		return refusal(err)
	}
	framing := h.Framing(method)
	body, rest, err := readBody(b[n:], framing, h.ContentLength)
	out := fmt.Sprintf("%d%s%s", h.Status, remarks(&h.Head), body)
	switch {
	case rest == nil:
		return out + " | " + refusal(err)
	case len(rest) > 0:
		return out + fmt.Sprintf(" | left %q", rest)
	}
	return out
}

// readBody returns the body, quoted, and what follows it; nil if it does not end.
func readBody(b []byte, framing Framing, length int64) (body string, rest []byte, err error) {
	switch framing {
	case Length:
		if int64(len(b)) < length {
			return fmt.Sprintf(" %q", b), nil, nil
		}
		return fmt.Sprintf(" %q", b[:length]), b[length:], nil
	case Chunked:
		var d ChunkDecoder
		nDst, nSrc, err := d.Decode(b, b)
		body = fmt.Sprintf(" chunked %q", b[:nDst])
		for _, f := range d.Trailers() {
			body += fmt.Sprintf(" %s=%q", f.Name, f.Value)
		}
		if err != nil || !d.Done() {
			return body, nil, err
		}
		return body, b[nSrc:], nil
	case UntilClose:
		return fmt.Sprintf(" until close %q", b), b[len(b):], nil
	}
	return "", b, nil
}

// remarks are what else a head says that is worth a remark.
func remarks(h *Head) string {
	var s strings.Builder
	if h.Close {
		s.WriteString(" close")
	}
	if h.Upgrade != "" {
		s.WriteString(" upgrade=" + h.Upgrade)
	}
	for _, name := range h.ConnectionNames {
		s.WriteString(" hop=" + name)
	}
	for _, f := range h.Fields {
		switch {
		case f.ID == FieldAlias:
			s.WriteString(" alias=" + f.Name)
		case f.ID == Other, f.ID >= FieldKeepAlive && f.ID <= FieldXWASP:
			fmt.Fprintf(&s, " %s=%q", f.Name, f.Value)
		}
	}
	return s.String()
}

func refusal(err error) string {
	if e, ok := errors.AsType[*ParseError](err); ok {
		return fmt.Sprintf("%d %s", e.Status, e.Reason)
	}
	return "..."
}
