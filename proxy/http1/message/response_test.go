package message

import (
	"strings"
	"testing"
)

// TestMalformedResponses shows what a client may see of the answers of a
// backend that is broken or wicked.
func TestMalformedResponses(t *testing.T) {
	ok := func(lines, body string) string { return "HTTP/1.1 200 OK\r\n" + lines + "\r\n\r\n" + body }
	tests := []struct{ name, method, response, want string }{
		{"an answer with a length", "GET", ok("Content-Length: 5", "hello"), `200 "hello"`},
		{"more than the length", "GET", ok("Content-Length: 5", "hello!"), `200 "hello" | left "!"`},
		{"less than the length", "GET", ok("Content-Length: 5", "hell"), `200 "hell" | ...`},
		{"a length of zero", "GET", ok("Content-Length: 0", ""), "200"},
		{"a chunked answer with trailers", "GET", ok("Transfer-Encoding: chunked", "2\r\nhi\r\n0\r\nX: y\r\n\r\n"), `200 chunked "hi" X="y"`},
		{"neither length nor coding", "GET", ok("X: y", "hello"), `200 close X="y" until close "hello"`},
		{"no fields at all", "GET", "HTTP/1.1 200 OK\r\n\r\n", `200 close until close ""`},
		{"no reason", "GET", "HTTP/1.1 204 \r\n\r\n", "204"},
		{"no reason and no blank", "GET", "HTTP/1.1 204\r\n\r\n", "204"},
		{"a reason beyond ASCII", "GET", "HTTP/1.1 204 G\xfclle\tJa\r\n\r\n", "204"},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", `200 close "hi"`},
		{"HTTP/1.0 that stays open", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", `200 "hi"`},
		{"equal lengths are one", "GET", ok("Content-Length: 5\r\nX: y\r\nContent-Length: 5", "hello"), `200 X="y" "hello"`},
		{"an unregistered status", "GET", "HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n", "299"},

		{"HEAD has no body", "HEAD", ok("Content-Length: 5", ""), "200"},
		{"HEAD has no chunked body either", "HEAD", ok("Transfer-Encoding: chunked", ""), "200"},
		{"304 has no body", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304"},
		{"204 has no body, and one that speaks of one is the last", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", `204 close | left "hello"`},
		{"a chunked 204 is the last", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", `204 close | left "0\r\n\r\n"`},
		{"103 has no body", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1", `103 Link="</a>" | left "HTTP/1.1"`},
		{"100 has no fields", "POST", "HTTP/1.1 100 Continue\r\n\r\n", "100"},
		{"101 and the first bytes of the tunnel", "GET", "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi", `101 upgrade=x | left "hi"`},
		{"a 2xx to CONNECT has no body", "CONNECT", ok("Content-Length: 5", "hello"), `200 | left "hello"`},
		{"a refusal of CONNECT has one", "CONNECT", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", `403 "no"`},

		{"both framings", "GET", ok("Content-Length: 5\r\nTransfer-Encoding: chunked", "hello"), "400 both Content-Length and Transfer-Encoding"},
		{"both framings to HEAD", "HEAD", ok("Content-Length: 5\r\nTransfer-Encoding: chunked", ""), "400 both Content-Length and Transfer-Encoding"},
		{"different lengths", "GET", ok("Content-Length: 5\r\nContent-Length: 6", "hello"), "400 more than one Content-Length"},
		{"a list of equal lengths", "GET", ok("Content-Length: 5, 5", "hello"), `200 "hello"`},
		{"a list of lengths that differ", "GET", ok("Content-Length: 5, 6", "hello"), "400 bad Content-Length"},
		{"a list with what is no length", "GET", ok("Content-Length: 5, x", "hello"), "400 bad Content-Length"},
		{"a list with an empty member", "GET", ok("Content-Length: 5,,5", "hello"), "400 bad Content-Length"},
		{"a length with zeros before it", "GET", ok("Content-Length: 005", "hello"), `200 "hello"`},
		{"identity says nothing", "GET", ok("Transfer-Encoding: identity\r\nContent-Length: 5", "hello"), `200 "hello"`},
		{"a bad length", "GET", ok("Content-Length: 5 5", "hello"), "400 bad Content-Length"},
		{"an unknown coding", "GET", ok("Transfer-Encoding: gzip", "hello"), "501 unknown transfer coding"},
		{"two codings", "GET", ok("Transfer-Encoding: gzip, chunked", "hello"), "400 bad Transfer-Encoding"},
		{"chunked in HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 Transfer-Encoding in HTTP/1.0"},
		{"a blank before the colon", "GET", ok("Content-Length : 5", "hello"), `200 "hello"`},
		{"a blank in a name", "GET", ok("Content Length: 5", "hello"), "400 bad field name"},
		{"a folded line", "GET", ok("X: y\r\n z", ""), "400 a folded header line"},
		{"a bare LF that splits the answer", "GET", ok("X: y\nSet-Cookie: a=b", ""), "400 a line ends without CR"},
		{"a bare CR", "GET", ok("X: y\rz", ""), "400 control character in a field value"},
		{"NUL in a value", "GET", ok("X: \x00", ""), "400 control character in a field value"},
		{"too many fields", "GET", ok(strings.Repeat("X: y\r\n", MaxAnswerFields)+"X: y", ""), "431 too many header fields"},

		{"HTTP/2", "GET", "HTTP/2.0 200 OK\r\n\r\n", "505 the HTTP version is not supported"},
		{"HTTP/1.2", "GET", "HTTP/1.2 200 OK\r\n\r\n", "505 the HTTP version is not supported"},
		{"HTTP/2 without a dot", "GET", "HTTP/2 200 OK\r\n\r\n", "400 bad status line"},
		{"another protocol", "GET", "ICY 200 OK\r\n\r\n", "400 bad status line"},
		{"a request for an answer", "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "400 bad status line"},
		{"a blank before the version", "GET", " HTTP/1.1 200 OK\r\n\r\n", "400 bad status line"},
		{"two blanks before the status", "GET", "HTTP/1.1  200 OK\r\n\r\n", "400 bad status line"},
		{"a tab before the status", "GET", "HTTP/1.1\t200 OK\r\n\r\n", "400 bad status line"},
		{"a status of two digits", "GET", "HTTP/1.1 20 OK\r\n\r\n", "400 bad status line"},
		{"a status of four digits", "GET", "HTTP/1.1 2000 OK\r\n\r\n", "400 bad status line"},
		{"a status of letters", "GET", "HTTP/1.1 2x0 OK\r\n\r\n", "400 bad status line"},
		{"a status below 100", "GET", "HTTP/1.1 099 OK\r\n\r\n", "400 bad status line"},
		{"a status above 599", "GET", "HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "999"},
		{"a control character in the reason", "GET", "HTTP/1.1 200 O\x01K\r\n\r\n", "400 bad status line"},
		{"a bare CR in the reason", "GET", "HTTP/1.1 200 O\rK\r\n\r\n", "400 bad status line"},
		{"an empty line first", "GET", "\r\nHTTP/1.1 200 OK\r\n\r\n", "400 an empty line instead of a first line"},
		{"nothing that is HTTP", "GET", "220 mail.example.org ESMTP\r\n", "400 bad request line"},
		{"no end", "GET", "HTTP/1.1 200 OK\r\nX: y\r\n", "..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := readResponse(tt.response, tt.method); got != tt.want {
				t.Errorf("%.200q\n got %s\nwant %s", tt.response, got, tt.want)
			}
		})
	}
}

func TestResponseHeadIsReusableWithoutAllocation(t *testing.T) {
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: X-a\r\n\r\n")
	var h ResponseHead
	if n := testing.AllocsPerRun(100, func() {
		if err := h.Parse(b, "GET"); err != nil || h.Framing("GET") != Length {
			t.Fatal(err, h)
		}
	}); n != 0 {
		t.Errorf("got %v allocations per head, want 0", n)
	}
}
