package message

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// seeds are messages from which the fuzzers start, whole ones and odd ones.
var seeds = []string{
	browserHead,
	serverHead,
	"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.0\r\n\r\n",
	"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\nGET",
	"GET http://a:1/b?c HTTP/1.1\r\nHost: h\r\nConnection: close, x\r\nPragma: no-cache\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nX: \t y \r\nx: z\r\nX_Forwarded_For: 1\r\n\r\n",
	"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n",
	"GET /%zz\xc3\xa9 HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost : h\r\nX: y\r\n z\r\nA: b\nC: d\re\x00\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"HTTP/1.0 404\r\nConnection: keep-alive\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nno",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
	"HTTP/1.1 204 \r\nContent-Length: 3\r\n\r\nabc",
}

var chunkedSeeds = []string{
	"0\r\n\r\n",
	"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 1\r\nHost: h\r\n\r\nrest",
	"000A; a = \"b\\\";\" ;c\r\n0123456789\r\n0;z\r\n\r\n",
	"FFFFFFFFFFFFFFFF\r\n",
	"5 \r\nhello\r\n0\r\n\n",
	"3\r\nab\r\n0\r\n",
}

// parseRequest reads the head at the start of b as it arrives in pieces that
// end at the given places, and returns its length.
func parseRequest(h *RequestHead, b []byte, ends ...int) (n int, err error) {
	from := 0
	for _, end := range append(ends, len(b)) {
		if n, from, err = HeadEnd(b[:end], from); err != nil || n > 0 {
			break
		}
	}
	if err == nil && n > 0 {
		err = h.Parse(b[:n])
	}
	return n, err
}

// FuzzRequestHead checks that a head is read the same however it arrives, that
// nothing gets through that could split or smuggle, and that writing what was
// read gives the same request.
func FuzzRequestHead(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint16(len(s)/2))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		var h, again RequestHead
		n, err := parseRequest(&h, b)
		at := int(cut) % (len(b) + 1)
		n2, err2 := parseRequest(&again, b, at, at+(len(b)-at)/2)
		if n2 > n || (err == nil) != (err2 == nil) || err == nil && n != n2 {
			t.Fatalf("in one piece %d, %v; cut at %d: %d, %v", n, err, at, n2, err2)
		}
		if err != nil {
			if _, ok := errors.AsType[*ParseError](err); !ok {
				t.Fatalf("%v is not a ParseError", err)
			}
			return
		}
		if n == 0 {
			return
		}
		checkHead(t, &h.Head)
		hosts := 0
		for i := range h.Fields {
			if h.Fields[i].ID == FieldHost {
				hosts++
			}
		}
		if h.Minor == 1 && hosts != 1 || !validTarget(h.Target) || !ValidFieldName(h.Method) {
			t.Fatalf("accepted %+v", h)
		}
		out := fmt.Appendf(nil, "%s %s HTTP/1.%d\r\n", h.Method, h.Target, h.Minor)
		if err := again.Parse(appendFields(out, h.Fields)); err != nil || describe(&again) != describe(&h) {
			t.Fatalf("%q reads as %v %+v, want %+v", out, err, again, h)
		}
	})
}

func describe(h *RequestHead) string {
	c := *h
	c.Len = 0
	return fmt.Sprintf("%+v", c)
}

func appendFields(dst []byte, fields []Field) []byte {
	for _, f := range fields {
		dst = AppendField(dst, f.Name, f.Value)
	}
	return append(dst, "\r\n"...)
}

// checkHead checks what must hold for any head that is accepted.
func checkHead(t *testing.T, h *Head) {
	t.Helper()
	lengths, codings := 0, 0
	for _, f := range h.Fields {
		if !ValidFieldName(f.Name) || !ValidFieldValue(f.Value) || f.Value != trim(f.Value) || f.ID != IDOf(f.Name) {
			t.Fatalf("accepted the field %+v", f)
		}
		switch strings.ToLower(f.Name) {
		case "content-length":
			lengths++
		case "transfer-encoding":
			codings++
		}
	}
	if lengths+codings > 1 || h.Chunked != (codings == 1) || (h.ContentLength >= 0) != (lengths == 1) || len(h.Fields) > MaxFields {
		t.Fatalf("accepted %+v", h)
	}
}

// FuzzResponseHead checks the same of response heads, and that net/http reads
// the same message: whatever is accepted has for it the same status and body,
// and ends at the same byte.
func FuzzResponseHead(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		var h ResponseHead
		n, _, err := HeadEnd(b, 0)
		if err != nil || n == 0 || h.Parse(b[:n], method) != nil {
			return
		}
		checkHead(t, &h.Head)
		framing := h.Framing(method)
		if framing == UntilClose && !h.Close {
			t.Fatalf("a body until the end on a connection that stays: %+v", h)
		}
		in := bufio.NewReaderSize(bytes.NewReader(b), 1<<16)
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		if refusesTrailer(&h.Head, err) {
			return
		}
		if err != nil {
			t.Fatalf("accepted what net/http refuses: %v", err)
		}
		if r.StatusCode != h.Status || r.ProtoMinor != int(h.Minor) {
			t.Fatalf("net/http reads %+v, we %+v", r, h)
		}
		compareBody(t, b[n:], framing, h.ContentLength, r.Body, in)
	})
}

// refusesTrailer reports whether net/http refused a Trailer field for what it
// announces. We drop such trailers when they come.
func refusesTrailer(h *Head, err error) bool {
	_, n := h.Get("Trailer")
	return n > 0 && err != nil && strings.Contains(err.Error(), "bad trailer key")
}

// compareBody checks that a body which ends for us has the same bytes and the
// same end for net/http.
func compareBody(t *testing.T, b []byte, framing Framing, length int64, body io.Reader, in *bufio.Reader) {
	t.Helper()
	var want, rest []byte
	switch framing {
	case NoBody:
		rest = b
	case Length:
		if int64(len(b)) < length {
			return
		}
		want, rest = b[:length], b[length:]
	case UntilClose:
		want = b
	case Chunked:
		var d ChunkDecoder
		data := make([]byte, len(b))
		nDst, nSrc, err := d.Decode(data, b)
		if err != nil || !d.Done() {
			return
		}
		want, rest = data[:nDst], b[nSrc:]
	}
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("net/http reads the body %q, %v, we %q", got, err, want)
	}
	if left, _ := io.ReadAll(in); !bytes.Equal(left, rest) {
		t.Fatalf("net/http leaves %q, we %q", left, rest)
	}
}

// FuzzAgainstNetHTTP checks that net/http reads any accepted request as the
// same one. It may accept more, and refuse only what is refused later anyway:
//
//   - a target that is no URL, as with "%zz": the canonical path refuses it (D22);
//   - a Trailer field that announces what must not be one: such trailers are dropped.
//
// It also adds a Cache-Control where a request has only the Pragma of HTTP/1.0.
func FuzzAgainstNetHTTP(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h RequestHead
		n, err := parseRequest(&h, b)
		if err != nil || n == 0 {
			return
		}
		in := bufio.NewReaderSize(bytes.NewReader(b), 1<<16)
		r, err := http.ReadRequest(in)
		if err != nil {
			if _, notURL := url.ParseRequestURI(h.Target); notURL != nil && h.Method != "CONNECT" {
				return
			}
			if refusesTrailer(&h.Head, err) {
				return
			}
			t.Fatalf("accepted what net/http refuses: %v", err)
		}
		chunked := slices.Equal(r.TransferEncoding, []string{"chunked"})
		sameHost := r.Host == h.Host || r.Host == h.Host+":" // an empty port is none (RFC 3986 3.2.3)
		if r.Method != h.Method || r.RequestURI != h.Target || !sameHost || r.ProtoMinor != int(h.Minor) ||
			r.Close != h.Close || chunked != h.Chunked || !chunked && r.ContentLength != max(0, h.ContentLength) {
			t.Fatalf("net/http reads %+v, we %+v", r, h)
		}
		if got, want := fieldsOf(r), fieldsAsNetHTTP(&h); got != want {
			t.Fatalf("net/http reads the fields %s, we %s", got, want)
		}
		compareBody(t, b[n:], h.Framing(), h.ContentLength, r.Body, in)
	})
}

// fieldsOf prints the fields that net/http read.
func fieldsOf(r *http.Request) string {
	fields := r.Header.Clone()
	delete(fields, "Trailer")
	if slices.Equal(fields["Cache-Control"], []string{"no-cache"}) {
		delete(fields, "Cache-Control")
	}
	return fmt.Sprintf("%q", fields)
}

// fieldsAsNetHTTP prints the fields that we read as fieldsOf would: without
// those that net/http takes out.
func fieldsAsNetHTTP(h *RequestHead) string {
	fields := http.Header{}
	for _, f := range h.Fields {
		switch f.ID {
		case FieldHost, FieldTransferEncoding, FieldTrailer:
		default:
			fields.Add(f.Name, f.Value)
		}
	}
	if slices.Equal(fields["Cache-Control"], []string{"no-cache"}) {
		delete(fields, "Cache-Control")
	}
	return fmt.Sprintf("%q", fields)
}

// FuzzChunked checks that a body is decoded the same at once, in pieces, in
// place, and after it was encoded again, and as net/http decodes it.
func FuzzChunked(f *testing.F) {
	for _, s := range chunkedSeeds {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		var d ChunkDecoder
		data := make([]byte, len(b))
		nDst, nSrc, err := d.Decode(data, b)
		data = data[:nDst]

		pieces, rest, d2, err2 := decodeAll(t, string(b), int(piece))
		if pieces != string(data) || !errors.Is(err2, err) || d2.Done() != d.Done() || err == nil && len(rest) != len(b)-nSrc {
			t.Fatalf("at once %q, %v; in pieces of %d %q, %v", data, err, piece, pieces, err2)
		}
		inPlace := bytes.Clone(b)
		var d3 ChunkDecoder
		if n, _, err3 := d3.Decode(inPlace, inPlace); !bytes.Equal(inPlace[:n], data) || !errors.Is(err3, err) || d3.Done() != d.Done() {
			t.Fatalf("%q, %v; in place %q, %v", data, err, inPlace[:n], err3)
		}
		if err != nil || !d.Done() {
			return
		}
		encoded := AppendLastChunk(AppendChunk(nil, data), d.Trailers())
		again, left, d4, err := decodeAll(t, string(encoded), 0)
		if again != string(data) || left != "" || err != nil || fmt.Sprint(d4.Trailers()) != fmt.Sprint(d.Trailers()) {
			t.Fatalf("%q reads as %q, %v with %v", encoded, again, err, d4.Trailers())
		}
		if theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(b))); err != nil || !bytes.Equal(theirs, data) {
			t.Fatalf("net/http decodes %q, %v, we %q", theirs, err, data)
		}
	})
}
