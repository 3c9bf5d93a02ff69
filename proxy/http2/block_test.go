package http2

import (
	"strings"
	"testing"
	"testing/quick"

	"golang.org/x/net/http2/hpack"

	"lictor/proxy/http1/message"
)

// TestHeadsThatMustNotBecomeText sends heads that a text of HTTP/1.1 would
// carry as something else (D20): none reaches the handler.
func TestHeadsThatMustNotBecomeText(t *testing.T) {
	ok := []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "gw.test"}
	swap := func(name, value string) []string {
		out := append([]string(nil), ok...)
		for i := 0; i < len(out); i += 2 {
			if out[i] == name {
				out[i+1] = value
			}
		}
		return out
	}
	add := func(pairs ...string) []string { return append(append([]string(nil), ok...), pairs...) }
	const refused = "reset PROTOCOL_ERROR"
	tests := []struct {
		name string
		head []string
		want string
	}{
		{"a plain request", ok, "200"},
		{"a line end in the path", swap(":path", "/ HTTP/1.1\r\nX: y"), refused},
		{"a space in the path", swap(":path", "/a b"), refused},
		{"NUL in the path", swap(":path", "/a\x00b"), refused},
		{"a path that is none", swap(":path", "evil"), refused},
		{"a whole URL as path", swap(":path", "http://evil/"), refused},
		{"a star without OPTIONS", swap(":path", "*"), refused},
		{"an empty path", swap(":path", ""), refused},
		{"a line end in the method", swap(":method", "GET / HTTP/1.1\r\n"), refused},
		{"a space in the method", swap(":method", "GET /x"), refused},
		{"a line end in the authority", swap(":authority", "a\r\nX: y"), refused},
		{"a user in the authority", swap(":authority", "me@gw.test"), refused},
		{"a path in the authority", swap(":authority", "gw.test/x"), refused},
		{"a strange scheme", swap(":scheme", "ht tp"), refused},
		{"a line end in a value", add("x", "a\r\nevil: 1"), refused},
		{"a bare LF in a value", add("x", "a\nevil: 1"), refused},
		{"a bare CR in a value", add("x", "a\rb"), refused},
		{"NUL in a value", add("x", "a\x00"), refused},
		{"a blank before a value", add("x", " a"), refused},
		{"a tab behind a value", add("x", "a\t"), refused},
		{"a line end in a name", add("x\r\ny", "a"), refused},
		{"a colon in a name", add("x:y", "a"), refused},
		{"a space in a name", add("x y", "a"), refused},
		{"capitals in a name", add("X-Y", "a"), refused},
		{"an empty name", add("", "a"), refused},
		{"an unknown pseudo-header", add(":evil", "a"), refused},
		{"a pseudo-header behind a field", add("x", "y", ":path", "/evil"), refused},
		{"a pseudo-header twice", append([]string{":path", "/a"}, ok...), refused},
		{"a status in a request", append([]string{":status", "200"}, ok...), refused},
		{"Transfer-Encoding", add("transfer-encoding", "chunked"), refused},
		{"Connection", add("connection", "x-forwarded-for"), refused},
		{"Keep-Alive", add("keep-alive", "1"), refused},
		{"Proxy-Connection", add("proxy-connection", "keep-alive"), refused},
		{"Upgrade", add("upgrade", "h2c"), refused},
		{"TE that is not trailers", add("te", "gzip"), refused},
		{"TE: trailers", add("te", "trailers"), "200"},
		{"a Host that agrees", add("host", "GW.test"), "200"},
		{"a Host that does not agree", add("host", "evil.test"), refused},
		{"two Hosts", add("host", "gw.test", "host", "gw.test"), refused},
		{"a Host that says nothing, beside an authority", add("host", ""), refused},
		{"a Host behind one that says nothing", append(ok[:6:6], "host", "", "host", "gw.test"), refused},
		{"a Host instead of the authority", append(ok[:6:6], "host", "gw.test"), "200"},
		{"neither", ok[:6:6], "400"},
		{"Content-Length without a body", add("content-length", "5"), refused},
		{"Content-Length: 0", add("content-length", "0"), "200"},
		{"Content-Length that is no number", add("content-length", "5x"), refused},
		{"a negative Content-Length", add("content-length", "-1"), refused},
		{"a Content-Length with a sign", add("content-length", "+0"), refused},
		{"two Content-Lengths", add("content-length", "0", "content-length", "0"), refused},
		{"CONNECT with a path", swap(":method", "CONNECT"), refused},
		{":protocol without CONNECT", append([]string{":protocol", "websocket"}, ok...), refused},
		{"too many fields", add(strings.Fields(strings.Repeat("a b ", 300))...), "431"},
		{"a field that is too large", add("x", strings.Repeat("y", 9<<10)), "431"},
		{"a path that is too large", swap(":path", "/"+strings.Repeat("y", 9<<10)), "414"},
		{"cookies that are too large", add(strings.Fields(strings.Repeat("cookie "+strings.Repeat("y", 500)+" ", 20))...), "431"},
	}
	p := hello(t, nil)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := uint32(2*i + 1)
			p.headers(id, true, tt.head...)
			if got := p.outcome(id).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestCookiesBecomeOne joins the crumbs of a Cookie (RFC 9113 8.2.3).
func TestCookiesBecomeOne(t *testing.T) {
	p := hello(t, nil)
	p.request(1, true, "/", "cookie", "a=1", "x", "1", "cookie", "b=2", "x", "2")
	if o := p.outcome(1); !strings.Contains(o.body, "cookie: a=1; b=2\n") || !strings.Contains(o.body, "x: 1\nx: 2\n") {
		t.Errorf("got %q", o.body)
	}
}

// TestBodiesAreAsLongAsWasTold holds Content-Length against the data.
func TestBodiesAreAsLongAsWasTold(t *testing.T) {
	tests := []struct {
		name   string
		length string
		data   []string
		want   string
	}{
		{"as told", "5", []string{"he", "llo"}, "200"},
		{"more than told", "4", []string{"hello"}, "reset PROTOCOL_ERROR"},
		{"less than told", "6", []string{"hello"}, "reset PROTOCOL_ERROR"},
		{"nothing although told", "1", []string{""}, "reset PROTOCOL_ERROR"},
		{"not told", "", []string{"hello"}, "200"},
		{"nothing, not told", "", []string{""}, "200"},
	}
	p := hello(t, nil)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := uint32(2*i + 1)
			var more []string
			if tt.length != "" {
				more = []string{"content-length", tt.length}
			}
			p.request(id, false, "/", more...)
			for k, d := range tt.data {
				p.fr.WriteData(id, k == len(tt.data)-1, []byte(d))
			}
			o := p.outcome(id)
			if o.String() != tt.want || tt.want == "200" && !strings.HasSuffix(o.body, "\n"+strings.Join(tt.data, "")) {
				t.Errorf("got %s %q, want %s", o, o.body, tt.want)
			}
		})
	}
}

// TestTrailersOfARequest pass if they are fields and nothing else.
func TestTrailersOfARequest(t *testing.T) {
	tests := []struct {
		name, field, value, want string
	}{
		{"a field", "x-sum", "1", "200"},
		{"a pseudo-header", ":path", "/evil", "reset PROTOCOL_ERROR"},
		{"a length", "content-length", "4", "reset PROTOCOL_ERROR"},
		{"a line end", "x", "a\r\nb", "reset PROTOCOL_ERROR"},
		{"a Host", "host", "evil", "reset PROTOCOL_ERROR"},
	}
	p := hello(t, nil)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := uint32(2*i + 1)
			p.request(id, false, "/")
			p.fr.WriteData(id, false, []byte("body"))
			p.headers(id, true, tt.field, tt.value)
			o := p.outcome(id)
			if o.String() != tt.want || tt.want == "200" && !strings.HasSuffix(o.body, "body\nx-sum: 1") {
				t.Errorf("got %s %q, want %s", o, o.body, tt.want)
			}
		})
	}
}

// FuzzHead holds that a head which becomes text becomes one that the parser of
// HTTP/1.1 reads as the same request, or refuses.
func FuzzHead(f *testing.F) {
	f.Add("GET", "/", "gw.test", "x", "y")
	f.Add("CONNECT", "", "gw.test:443", "", "")
	f.Add("POST", "/a?b", "", "host", "gw.test")
	f.Add("GET", "/ HTTP/1.1\r\nX: y", "gw.test", "content-length", "0")
	f.Add("PRI", "*", "gw.test", "transfer-encoding", "chunked")
	f.Add("GET", "/", "gw.test", "x\r\nhost: evil\r\n", "y\r\n\r\nGET / HTTP/1.1")
	f.Fuzz(func(t *testing.T, method, path, authority, name, value string) {
		b := &block{}
		st := &stream{declared: -1}
		b.begin(st, false, true, nil, 8<<10)
		for _, f := range []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: path}, {Name: ":authority", Value: authority}, {Name: name, Value: value}} {
			if f.Value != "" || !f.IsPseudo() {
				b.field(f)
			}
		}
		b.finish()
		if b.malformed != "" || b.over() {
			return
		}
		text := append(b.text, "\r\n"...)
		n, _, err := message.HeadEnd(text, 0)
		if err != nil {
			return
		}
		if n != len(text) {
			t.Fatalf("the head ends after %d of %d bytes: %q", n, len(text), text)
		}
		var req message.RequestHead
		if req.Parse(text) != nil {
			return
		}
		want := path
		if method == "CONNECT" {
			want = authority
		}
		if req.Method != method || req.Target != want || req.Framing() != message.NoBody || req.Upgrade != "" || req.Close {
			t.Errorf("%q %q became %q", method, path, text)
		}
		for _, f := range req.Fields {
			if f.Name != name && f.Name != "host" && f.Name != "cookie" {
				t.Errorf("a field %q came about: %q", f.Name, text)
			}
		}
	})
}

// TestWhatWeCompressIsReadAlike decodes our header blocks with the library.
func TestWhatWeCompressIsReadAlike(t *testing.T) {
	check := func(value string, status uint16) bool {
		code := 100 + int(status)%500
		value = strings.Map(func(r rune) rune { return 'a' + r%26 }, value)
		head := "HTTP/1.1 " + "200" + " OK\r\nContent-Type: " + value + "\r\nX-Long-Name-That-Is-Not-Static: " + strings.Repeat(value, 20) + "\r\nConnection: close\r\n\r\n"
		block, _, n := appendBlock(nil, []byte(head+"a: body"), code, false)
		if n != len(head) {
			return false
		}
		fields, err := hpack.NewDecoder(4096, nil).DecodeFull(block)
		return err == nil && len(fields) == 3 && fields[1] == hpack.HeaderField{Name: "content-type", Value: value} &&
			fields[0].Value == string([]byte{byte('0' + code/100), byte('0' + code/10%10), byte('0' + code%10)}) &&
			fields[2].Value == strings.Repeat(value, 20)
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestNoFieldOfTheConnectionBecomesOneOfHTTP2(t *testing.T) {
	for _, name := range []string{"Connection", "keep-alive", "Proxy-Connection", "TRANSFER-ENCODING", "upgrade", "Sec-WebSocket-Accept"} {
		text := name + ": x\r\n\r\n"
		if got, n := appendFields(nil, []byte(text), nil); len(got) > 0 || n != len(text) {
			t.Errorf("%s becomes %q, %d bytes", name, got, n)
		}
	}
	size := int64(-1)
	text := "Content-Length: 5\r\nX-One:  two\r\nETag:\r\n\r\n"
	got, n := appendFields(nil, []byte(text+"body: no field\r\n"), &size)
	if want := "\x0f\x0d\x015\x00\x05x-one\x04 two\x0f\x13\x00"; string(got) != want || size != 5 || n != len(text) {
		t.Errorf("got %q, a length of %d and %d bytes, want %q, 5 and %d", got, size, n, want, len(text))
	}
	for _, cut := range []string{"", "A: b", "A: b\r\n", "A\r\n\r\n"} {
		if _, n := appendFields(nil, []byte(cut), nil); n != -1 {
			t.Errorf("%q is %d bytes of fields, want -1", cut, n)
		}
	}
}
