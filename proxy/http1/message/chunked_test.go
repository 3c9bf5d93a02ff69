package message

import (
	"errors"
	"strings"
	"testing"
)

// decodeAll decodes s in pieces of the given size; 0 is all at once.
func decodeAll(t *testing.T, s string, piece int) (data, rest string, d *ChunkDecoder, err error) {
	t.Helper()
	d = new(ChunkDecoder)
	var out []byte
	for s != "" && !d.Done() {
		n := len(s)
		if piece > 0 {
			n = min(piece, n)
		}
		dst := make([]byte, n)
		nDst, nSrc, err := d.Decode(dst, []byte(s[:n]))
		out = append(out, dst[:nDst]...)
		s = s[nSrc:]
		if err != nil {
			return string(out), s, d, err
		}
		if nSrc < n && !d.Done() {
			t.Fatalf("Decode read %d of %d bytes and is not done", nSrc, n)
		}
	}
	return string(out), s, d, nil
}

func TestChunkedBodies(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name string
		body string
		data string // what is decoded, up to the mistake if there is one
		want error  // nil: complete
	}{
		{"an empty body", "0\r\n\r\n", "", nil},
		{"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", nil},
		{"a size in capitals", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", nil},
		{"a size in small letters", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789", nil},
		{"a size with leading zeros", "0000000000000005\r\nhello\r\n000\r\n\r\n", "hello", nil},
		{"CRLF in the data is data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", nil},
		{"an extension", "5;a\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"an extension with a value", "5;a=b\r\nhello\r\n0;c=d\r\n\r\n", "hello", nil},
		{"an extension with blanks", "5; a = b\t;\tc\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"an extension with a quoted value", "5;a=\"b;\\\"\xe9=\\\\\";c\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"an extension with an empty quoted value", "5;a=\"\"\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"trailers", "0\r\nA: b\r\nC:\r\n\r\n", "", nil},

		{"no size", "\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a sign before the size", "+5\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a negative size", "-1\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a blank before the size", " 5\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a blank after the size", "5 \r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a tab after the size", "5\t\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a blank between the size and an extension", "5 ;a\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"0x before the size", "0x5\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"an underscore in the size", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", "", errChunkSize},
		{"a comma in the size", "5,5\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a dot in the size", "5.0\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"NUL in the size", "5\x00\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a size of more than 16 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a size that overflows int64", "8000000000000000\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a size that overflows uint64", "10000000000000005\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a bare LF after the size", "5\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"a bare CR after the size", "5\rhello\r\n0\r\n\r\n", "", errChunkSize},
		{"two CR after the size", "5\r\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"CR and an extension after the size", "5\r;a\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"more data than the size says", "5\r\nhello!\r\n0\r\n\r\n", "hello", errChunkEnd},
		{"no CRLF after the data", "5\r\nhello0\r\n\r\n", "hello", errChunkEnd},
		{"a bare LF after the data", "5\r\nhello\n0\r\n\r\n", "hello", errChunkEnd},
		{"a bare CR after the data", "5\r\nhello\r0\r\n\r\n", "hello", errChunkEnd},
		{"an empty line between chunks", "5\r\nhello\r\n\r\n0\r\n\r\n", "hello", errChunkSize},

		{"an extension without a name", "5;\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"two semicolons", "5;;a\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an extension without a semicolon", "5 a\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"an extension with a bad name", "5;a[=b\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an extension with two names", "5;a b\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an extension without the value", "5;a=\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an extension with two values", "5;a=b=c\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an extension that ends in a blank", "5;a \r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an extension with text after a blank", "5;a=b c\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an extension whose value ends in a blank", "5;a=b \r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"a quote that does not end", "5;a=\"b\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"more after a quote", "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"a bare LF in an extension", "5;a\nhello\r\n0\r\n\r\n", "", errExtension},
		{"a bare LF in a quote", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an escaped LF in a quote", "5;a=\"\\\n\"\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", "", errChunkSize},
		{"NUL in an extension", "5;a\x00\r\nhello\r\n0\r\n\r\n", "", errExtension},
		{"an extension past the limit", "5;" + long + "\r\nhello\r\n0\r\n\r\n", "", errExtensions},

		{"a trailer without a colon", "0\r\nA\r\n\r\n", "", errFieldName},
		{"a trailer with a blank before the colon", "0\r\nA : b\r\n\r\n", "", errFieldName},
		{"a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", "", errFold},
		{"a trailer without a name", "0\r\n: b\r\n\r\n", "", errFieldName},
		{"NUL in a trailer", "0\r\nA: \x00\r\n\r\n", "", errFieldValue},
		{"a bare CR in a trailer", "0\r\nA: b\rc\r\n\r\n", "", errFieldValue},
		{"a bare LF in a trailer", "0\r\nA: b\nC: d\r\n\r\n", "", ErrBareLF},
		{"a bare LF for the end", "0\r\n\n", "", ErrBareLF},
		{"a bare LF after trailers", "0\r\nA: b\r\n\n", "", ErrBareLF},
		{"trailers past the limit", "0\r\n" + strings.Repeat("A: "+long+"\r\n", 2+maxTrailers/len(long)) + "\r\n", "", errTrailerSize},
		{"too many trailers", "0\r\n" + strings.Repeat("A:\r\n", MaxFields+1) + "\r\n", "", ErrTooManyField},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{0, 1, 2, 3, 7} {
				body := tt.body
				if tt.want == nil {
					body += "GET /next"
				}
				data, rest, d, err := decodeAll(t, body, piece)
				if data != tt.data || !errors.Is(err, tt.want) || d.Done() != (err == nil) {
					t.Fatalf("in pieces of %d: got %q, %v, done %v, want %q, %v", piece, data, err, d.Done(), tt.data, tt.want)
				}
				if err == nil && rest != "GET /next" {
					t.Errorf("in pieces of %d: %q is left, want the next request", piece, rest)
				}
			}
		})
	}
}

func TestChunkedBodyThatEndsEarlyIsNotDone(t *testing.T) {
	whole := "5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"
	for n := range len(whole) {
		if _, _, d, err := decodeAll(t, whole[:n], 0); err != nil || d.Done() {
			t.Errorf("%q: got done %v, %v, want neither", whole[:n], d.Done(), err)
		}
	}
}

func TestExtensionsMayNotOutweighTheData(t *testing.T) {
	ext := ";" + strings.Repeat("x", 200)
	small := strings.Repeat("1"+ext+"\r\nx\r\n", 100)
	if _, _, _, err := decodeAll(t, small, 0); !errors.Is(err, errExtensions) {
		t.Errorf("20 KB of extensions over 100 bytes: got %v, want %v", err, errExtensions)
	}
	signed := strings.Repeat("200"+ext+"\r\n"+strings.Repeat("x", 512)+"\r\n", 1000)
	if _, _, _, err := decodeAll(t, signed, 0); err != nil {
		t.Errorf("a signature on each of 1000 chunks: got %v, want none", err)
	}
}

// Fields that matter before the body is read cannot arrive after it (D6, D18).
func TestTrailersThatMustNotBeAreDropped(t *testing.T) {
	for _, name := range []string{
		"Host", "Transfer-Encoding", "Content-Length", "Content-Type", "Content-Encoding", "Content-Range",
		"Content-MD5", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "Expect", "Proxy",
		"Proxy-Authorization", "Authorization", "Cookie", "Set-Cookie", "Cache-Control", "If-Match", "Range",
		"Location", "Date", "Vary", "Age", "Max-Forwards", "WWW-Authenticate", "Forwarded", "Via",
		"X-Forwarded-For", "X-Forwarded-Anything", "X-Real-IP", "X-Consumer-ID", "X-WASP-STATUS", "X-Request-Id",
		"Traceparent", "x_forwarded_for", "X_WASP_METHOD", "content_length", "tRANSFER-eNCODING",
	} {
		_, _, d, err := decodeAll(t, "0\r\nX-Sum: 1\r\n"+name+": a\r\nContent-Digest: b\r\n\r\n", 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if tr := d.Trailers(); len(tr) != 2 || tr[0].Name != "X-Sum" || tr[1].Name != "Content-Digest" {
			t.Errorf("%s: got trailers %v, want the other two", name, tr)
		}
	}
}

func TestTrailersKeepOrderCaseAndRepetition(t *testing.T) {
	_, _, d, err := decodeAll(t, "0\r\ngrpc-status:  0 \r\nX-b: 2\r\nX-B: 1\r\nServer: x\r\n\r\n", 1)
	if err != nil {
		t.Fatal(err)
	}
	got := string(AppendLastChunk(nil, d.Trailers()))
	if want := "0\r\ngrpc-status: 0\r\nX-b: 2\r\nX-B: 1\r\nServer: x\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChunkDecoderIsReusableWithoutAllocation(t *testing.T) {
	body := []byte("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
	dst := make([]byte, len(body))
	var d ChunkDecoder
	n := testing.AllocsPerRun(100, func() {
		d.Reset()
		if n, _, err := d.Decode(dst, body); err != nil || n != 5 || !d.Done() || len(d.Trailers()) != 1 {
			t.Fatal(n, err, d.Trailers())
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations per body, want 0", n)
	}
}
