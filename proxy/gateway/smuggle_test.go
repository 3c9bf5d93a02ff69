package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// smuggleCase is a message, or several, and what may become of it.
type smuggleCase struct {
	name    string
	payload string
	want    string // statuses of the answers; after the last one, if it is a 4xx or 501 and nothing says "go on", the connection ends
	sees    string // what the backend reads; "" = nothing
}

const (
	post = "POST /svc/a HTTP/1.1\r\nHost: x\r\n"
	get  = "GET /svc/a HTTP/1.1\r\nHost: x\r\n"
	te   = "Transfer-Encoding: chunked\r\n"
)

// smuggleCases are messages whose ends two parsers might see in two places.
var smuggleCases = []smuggleCase{
	// Framing.
	{"length and chunked", post + "Content-Length: 5\r\n" + te + "\r\n0\r\n\r\n", "400", ""},
	{"chunked and length", post + te + "Content-Length: 5\r\n\r\n0\r\n\r\n", "400", ""},
	{"length 0 and chunked", post + "Content-Length: 0\r\n" + te + "\r\n0\r\n\r\n", "400", ""},
	{"two lengths that differ", post + "Content-Length: 5\r\nContent-Length: 3\r\n\r\nhello", "400", ""},
	{"two lengths that agree", post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "400", ""},
	{"a list of lengths", post + "Content-Length: 5, 5\r\n\r\nhello", "400", ""},
	{"a signed length", post + "Content-Length: +5\r\n\r\nhello", "400", ""},
	{"a negative length", post + "Content-Length: -1\r\n\r\n", "400", ""},
	{"a hexadecimal length", post + "Content-Length: 0x5\r\n\r\nhello", "400", ""},
	{"a length with a gap", post + "Content-Length: 1 5\r\n\r\nhello", "400", ""},
	{"an empty length", post + "Content-Length:\r\n\r\n", "400", ""},
	{"a leading zero", post + "Content-Length: 05\r\n\r\nhello", "200", "POST /a hello"},
	{"a length past 63 bits", post + "Content-Length: 18446744073709551621\r\n\r\nhello", "400", ""},
	{"a length with a point", post + "Content-Length: 5.0\r\n\r\nhello", "400", ""},
	{"an underscore in a length", post + "Content-Length: 1_0\r\n\r\nhello", "400", ""},
	{"blanks around a length", post + "Content-Length: \t5 \r\n\r\nhello", "200", "POST /a hello"},
	{"a length with a blank before its colon", post + "Content-Length : 5\r\n\r\nhello", "400", ""},
	{"a length with a tab before its colon", post + "Content-Length\t: 5\r\n\r\nhello", "400", ""},
	{"a second length by another name", post + "Content-Length: 5\r\nContent_Length: 0\r\n\r\nhello", "200", "POST /a hello"},
	{"a second length with NUL in its name", post + "Content-Length: 5\r\nContent-Length\x00: 0\r\n\r\nhello", "400", ""},
	{"no length", post + "\r\n", "200", "POST /a"},
	{"a GET with a body", get + "Content-Length: 5\r\n\r\nhello", "200", "GET /a hello"},
	{"a GET with a chunked body", get + te + "\r\n5\r\nhello\r\n0\r\n\r\n", "200", "GET /a hello"},

	// Transfer codings.
	{"chunked", post + te + "\r\n5\r\nhello\r\n0\r\n\r\n", "200", "POST /a hello"},
	{"chunked in capitals", post + "Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "200", "POST /a hello"},
	{"chunked twice in a list", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400", ""},
	{"chunked on two lines", post + te + te + "\r\n0\r\n\r\n", "400", ""},
	{"chunked and identity", post + te + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", "400", ""},
	{"identity", post + "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", "501", ""},
	{"gzip before chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400", ""},
	{"chunked before gzip", post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "400", ""},
	{"an unknown coding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501", ""},
	{"chunked in quotes", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "400", ""},
	{"chunked with a parameter", post + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "400", ""},
	{"chunked after a vertical tab", post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "400", ""},
	{"chunked before NUL", post + "Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n", "400", ""},
	{"chunked after a comma", post + "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", "400", ""},
	{"an empty coding", post + "Transfer-Encoding:\r\n\r\n", "400", ""},
	{"a coding with a blank before its colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400", ""},
	{"a coding by another name", post + "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "200", "POST /a 0\r\n\r\n"},
	{"a folded coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400", ""},
	{"a coding folded into another field", post + "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "400", ""},
	{"a coding behind a bare LF", post + "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "400", ""},
	{"a coding behind a bare CR", post + "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "400", ""},
	{"chunked in HTTP/1.0", "POST /svc/a HTTP/1.0\r\n" + te + "\r\n0\r\n\r\n", "400", ""},
	{"a coding named in Connection", post + "Connection: Transfer-Encoding\r\n" + te + "\r\n5\r\nhello\r\n0\r\n\r\n", "200", "POST /a hello"},
	{"a length named in Connection", post + "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", "200", "POST /a hello"},
	{"Host named in Connection", get + "Connection: Host\r\n\r\n", "200", "GET /a"},

	// Chunks.
	{"a chunk extension", post + te + "\r\n5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n", "200", "POST /a hello"},
	{"a last chunk of many zeros", post + te + "\r\n5\r\nhello\r\n0000\r\n\r\n", "200", "POST /a hello"},
	{"a negative chunk size", post + te + "\r\n-5\r\nhello\r\n0\r\n\r\n", "400", ""},
	{"a chunk size with 0x", post + te + "\r\n0x5\r\nhello\r\n0\r\n\r\n", "400", ""},
	{"a chunk size with a blank behind", post + te + "\r\n5 \r\nhello\r\n0\r\n\r\n", "400", ""},
	{"a chunk size with a blank before", post + te + "\r\n 5\r\nhello\r\n0\r\n\r\n", "400", ""},
	{"a chunk size past 64 bits", post + te + "\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", "400", ""},
	{"a chunk size line that ends with LF", post + te + "\r\n5\nhello\r\n0\r\n\r\n", "400", ""},
	{"an extension that hides LF", post + te + "\r\n5;a=\nb\r\nhello\r\n0\r\n\r\n", "400", ""},
	{"an extension that hides CR", post + te + "\r\n5;a\rb\r\nhello\r\n0\r\n\r\n", "400", ""},
	{"more data than the chunk size says", post + te + "\r\n3\r\nhello\r\n0\r\n\r\n", "400", ""},
	{"no CRLF behind the data", post + te + "\r\n5\r\nhello0\r\n\r\n", "400", ""},
	{"LF behind the data", post + te + "\r\n5\r\nhello\n0\r\n\r\n", "400", ""},
	{"an empty chunk size", post + te + "\r\n\r\nhello\r\n0\r\n\r\n", "400", ""},
	{"a trailer that would frame", post + te + "\r\n5\r\nhello\r\n0\r\nContent-Length: 50\r\nX: y\r\n\r\n", "200", "POST /a hello"},
	{"a trailer with a blank before its colon", post + te + "\r\n0\r\nX : y\r\n\r\n", "400", ""},
	{"trailers that end with LF", post + te + "\r\n0\r\n\n", "400", ""},
	{"a folded trailer", post + te + "\r\n0\r\nX: y\r\n z\r\n\r\n", "400", ""},

	// Lines.
	{"HTTP/0.9", "GET /svc/a\r\n\r\n", "400", ""},
	{"HTTP/1.2", "GET /svc/a HTTP/1.2\r\nHost: x\r\n\r\n", "505", ""},
	{"HTTP/2.0", "GET /svc/a HTTP/2.0\r\nHost: x\r\n\r\n", "505", ""},
	{"an HTTP/2 preface behind a request", get + "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "200 505", "GET /a"},
	{"http in small letters", "GET /svc/a http/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"a blank behind the version", "GET /svc/a HTTP/1.1 \r\nHost: x\r\n\r\n", "400", ""},
	{"two blanks", "GET  /svc/a HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"tabs for blanks", "GET\t/svc/a\tHTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"a blank before the method", " GET /svc/a HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"a blank in the target", "GET /svc/a b HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"a fragment", "GET /svc/a#b HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"a line break in the path", "GET /svc/a%0d%0aX:%20y HTTP/1.1\r\nHost: x\r\n\r\n", "400 go on", ""},
	{"a method of one's own", "BREW /svc/a HTTP/1.1\r\nHost: x\r\n\r\n", "200", "BREW /a"},
	{"a method with a colon", "GE:T /svc/a HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"CONNECT", "CONNECT svc:80 HTTP/1.1\r\nHost: svc:80\r\n\r\n", "400 go on", ""},
	{"bare LFs", "GET /svc/a HTTP/1.1\nHost: x\n\n", "400", ""},
	{"one empty line before", "\r\n" + get + "\r\n", "200", "GET /a"},
	{"two empty lines before", "\r\n\r\n" + get + "\r\n", "200", "GET /a"},
	{"three empty lines before", "\r\n\r\n\r\n" + get + "\r\n", "400", ""},
	{"LF before", "\n" + get + "\r\n", "400", ""},

	// Fields.
	{"no Host", "GET /svc/a HTTP/1.1\r\n\r\n", "400", ""},
	{"two Hosts", get + "Host: y\r\n\r\n", "400", ""},
	{"two equal Hosts", get + "Host: x\r\n\r\n", "400", ""},
	{"an empty Host", "GET /svc/a HTTP/1.1\r\nHost:\r\n\r\n", "200", "GET /a"},
	{"a Host with an empty port", "GET /svc/a HTTP/1.1\r\nHost: x:\r\n\r\n", "200", "GET /a"},
	{"a Host that is a colon", "GET /svc/a HTTP/1.1\r\nHost: :\r\n\r\n", "400", ""},
	{"a Host with two colons", "GET /svc/a HTTP/1.1\r\nHost: x::\r\n\r\n", "400", ""},
	{"a Host with a path", "GET /svc/a HTTP/1.1\r\nHost: x/y\r\n\r\n", "400", ""},
	{"a Host with a user", "GET /svc/a HTTP/1.1\r\nHost: u@x\r\n\r\n", "400", ""},
	{"a Host with a comma", "GET /svc/a HTTP/1.1\r\nHost: x, y\r\n\r\n", "400", ""},
	{"a field without a colon", get + "X\r\n\r\n", "400", ""},
	{"a field without a name", get + ": y\r\n\r\n", "400", ""},
	{"a blank in a name", get + "X Y: z\r\n\r\n", "400", ""},
	{"a name beyond ASCII", get + "X\xff: y\r\n\r\n", "400", ""},
	{"NUL in a value", get + "X: \x00\r\n\r\n", "400", ""},
	{"DEL in a value", get + "X: \x7f\r\n\r\n", "400", ""},
	{"bytes beyond ASCII in a value", get + "X: \xe4\r\n\r\n", "200", "GET /a"},
	{"a first field that is folded", "GET /svc/a HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n", "400", ""},
	{"h2c", get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", "200", "GET /a"},

	// One behind the other.
	{"two requests", get + "\r\n" + post + "Content-Length: 5\r\n\r\nhello", "200 200", "GET /a | POST /a hello"},
	{"a bad one behind a good one", get + "\r\n" + post + "Content-Length: x\r\n\r\nhello", "200 400", "GET /a"},
	{"a good one behind a bad one", post + "Content-Length: x\r\n\r\n" + get + "\r\n", "400", ""},
	{"a request in a body", post + "Content-Length: 38\r\n\r\n" + "GET /svc/evil HTTP/1.1\r\nHost: evil\r\n\r\n", "200", "POST /a GET /svc/evil HTTP/1.1\r\nHost: evil\r\n\r\n"},
	{"a request behind a chunked body", post + te + "\r\n1\r\nx\r\n0\r\n\r\n" + get + "\r\n", "200 200", "POST /a x | GET /a"},
	{"a request behind one without a body", post + "\r\n" + get + "\r\n", "200 200", "POST /a | GET /a"},
	{"garbage behind a body", post + "Content-Length: 5\r\n\r\nhello\x01\x02", "200 400", "POST /a hello"},
	{"a body that is longer than it says", post + "Content-Length: 3\r\n\r\nhello GET /svc/evil HTTP/1.1\r\nHost: x\r\n\r\n", "200 400", "POST /a hel"},
	{"a refused request with a body", "POST /none/ HTTP/1.1\r\nHost: x\r\nContent-Length: 38\r\n\r\n" + "GET /svc/evil HTTP/1.1\r\nHost: evil\r\n\r\n", "503", ""},
}

// Whatever two parsers might read in two ways is refused, or reaches the
// backend in the one reading that lictor decided on; alone and with another
// request right behind it.
func TestSmuggling(t *testing.T) {
	if len(smuggleCases) < 100 {
		t.Fatalf("only %d cases", len(smuggleCases))
	}
	r := newRig(t, nil)
	rec := r.recorder()
	for i, tt := range smuggleCases {
		for _, behind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, marker behind: %v", tt.name, behind), func(t *testing.T) {
				marker := fmt.Sprintf("/marker-%d-%v", i, behind)
				smuggle(t, r, rec, tt, marker, behind)
			})
		}
	}
}

func smuggle(t *testing.T, r *rig, rec *recorder, tt smuggleCase, marker string, behind bool) {
	c := r.dial()
	defer c.Close()
	request := "GET /svc" + marker + " HTTP/1.1\r\nHost: x\r\n\r\n"
	if behind {
		c.send(tt.payload + request)
	} else {
		c.send(tt.payload)
	}
	statuses, goesOn := strings.CutSuffix(tt.want, " go on")
	want := strings.Fields(statuses)
	for i, status := range want {
		if resp, body := c.answerOr(t, "GET"); fmt.Sprint(resp.StatusCode) != status {
			t.Fatalf("answer %d: got %d %s, want %s", i, resp.StatusCode, body, status)
		}
	}
	sees := tt.sees
	if last := want[len(want)-1]; goesOn || last == "200" || last == "503" {
		if !behind {
			c.send(request)
		}
		if resp, body := c.answerOr(t, "GET"); resp.StatusCode != 200 || body != "GET "+marker {
			t.Errorf("marker: got %d %q", resp.StatusCode, body)
		}
		sees = strings.TrimPrefix(sees+" | GET "+marker, " | ")
	} else if _, err := c.in.ReadByte(); err != io.EOF {
		t.Errorf("after a refusal: %v, want EOF", err)
	}
	if got := rec.takeText(); got != sees {
		t.Errorf("the backend saw\n %q, want\n %q", got, sees)
	}
	if resp, body := r.get("/svc" + marker + "-other"); resp.StatusCode != 200 || body != "GET "+marker+"-other" {
		t.Errorf("the next client got %d %q", resp.StatusCode, body)
	}
	rec.take()
}

// answerOr is answer that fails the test t.
func (c *client) answerOr(t *testing.T, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("answer is cut: %v", err)
	}
	return resp, string(body)
}
