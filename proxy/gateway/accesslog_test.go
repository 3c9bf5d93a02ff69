package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/proxy/upstream"
	"lictor/resolver"
)

// logged makes the exchange of a request head, as it is when it is logged.
func logged(t *testing.T, head string) *exchange {
	t.Helper()
	x := &exchange{decision: new(decision), status: 200, bytesOut: 12}
	in := &x.in
	*in = inbound{c: new(http1.Conn), req: new(message.RequestHead), id: "0123abcd", began: time.Date(2026, 3, 4, 5, 6, 7, 89000, time.UTC),
		client: netip.MustParseAddr("192.0.2.7")}
	if err := in.req.Parse([]byte(head)); err != nil {
		t.Fatal(err)
	}
	in.version = fmt.Sprintf("1.%d", in.req.Minor)
	var err error
	if in.path, _, err = uri.ParsePath(in.req.OriginForm(), nil); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestAccessLogLines(t *testing.T) {
	served := func(x *exchange) {
		x.outcome = upstream.Outcome{Service: "svc", Status: 200, Instance: &resolver.Instance{ID: "node/svc-1", Address: "10.0.0.1:80"},
			Tries: 1, Answered: 1500 * time.Microsecond}
	}
	retried := func(x *exchange) {
		served(x)
		x.outcome.Tries = 3
	}
	known := func(x *exchange) {
		x.decision.verdict.Identity = &policy.Identity{Name: "a \"b\""}
	}
	refused := func(x *exchange) { x.status, x.reason, x.err = 503, answer.Unreachable, errors.New(`dial "x"`) }
	const plainHead = "GET /svc/a/b?key=secret HTTP/1.1\r\nHost: example.org\r\nReferer: http://r/p?token=secret#f\r\nUser-Agent: curl/8\r\n\r\n"
	const hostile = "G'T|`^ /svc/\"\\\xff%22<script>?x HTTP/1.0\r\nReferer: \"\\\xfe\t\r\nUser-Agent: a\" 200 1\\\r\n\r\n"
	tests := []struct {
		name, format, head string
		edit               func(*exchange)
		want               string
	}{
		{"json, served", "json", plainHead, served,
			`{"time": "2026-03-04T05:06:07.000089Z", "request_id": "0123abcd", "client": "192.0.2.7", "method": "GET", "host": "example.org", "path": "/svc/a/b", "protocol": "HTTP/1.1", "user_agent": "curl/8", "status": 200, "service": "svc", "instance": "node/svc-1", "upstream": "10.0.0.1:80", "upstream_status": 200, "upstream_us": 1500, "tries": 1, "bytes_in": 0, "bytes_out": 12, "took_us": 2000}`},
		{"json, refused", "json", plainHead, refused,
			`{"time": "2026-03-04T05:06:07.000089Z", "request_id": "0123abcd", "client": "192.0.2.7", "method": "GET", "host": "example.org", "path": "/svc/a/b", "protocol": "HTTP/1.1", "user_agent": "curl/8", "status": 503, "reason": "unreachable", "service": "", "tries": 0, "bytes_in": 0, "bytes_out": 12, "took_us": 2000, "error": "dial \"x\""}`},
		{"json, hostile bytes", "json", hostile, served,
			`{"time": "2026-03-04T05:06:07.000089Z", "request_id": "0123abcd", "client": "192.0.2.7", "method": "G'T|` + "`" + `^", "host": "", "path": "/svc/\"\\\u00ff%22<script>", "protocol": "HTTP/1.0", "user_agent": "a\" 200 1\\", "status": 200, "service": "svc", "instance": "node/svc-1", "upstream": "10.0.0.1:80", "upstream_status": 200, "upstream_us": 1500, "tries": 1, "bytes_in": 0, "bytes_out": 12, "took_us": 2000}`},
		{"json, on the third instance", "json", "GET /svc HTTP/1.1\r\nHost: x\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n", retried,
			`{"time": "2026-03-04T05:06:07.000089Z", "request_id": "0123abcd", "trace_id": "0af7651916cd43dd8448eb211c80319c", "client": "192.0.2.7", "method": "GET", "host": "x", "path": "/svc", "protocol": "HTTP/1.1", "status": 200, "service": "svc", "instance": "node/svc-1", "upstream": "10.0.0.1:80", "upstream_status": 200, "upstream_us": 1500, "tries": 3, "retries": 2, "bytes_in": 0, "bytes_out": 12, "took_us": 2000}`},
		{"common, of a consumer", "common", plainHead, known,
			`192.0.2.7 - a\x20\"b\" [04/Mar/2026:05:06:07 +0000] "GET /svc/a/b HTTP/1.1" 200 12`},
		{"common", "common", plainHead, served,
			`192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "GET /svc/a/b HTTP/1.1" 200 12`},
		{"common, hostile bytes", "common", hostile, served,
			`192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "G'T|` + "`" + `^ /svc/\"\\\xff%22<script> HTTP/1.0" 200 12`},
		{"combined", "combined", plainHead, served,
			`192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "GET /svc/a/b HTTP/1.1" 200 12 "http://r/p" "curl/8"`},
		{"combined, hostile bytes", "combined", hostile, served,
			`192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "G'T|` + "`" + `^ /svc/\"\\\xff%22<script> HTTP/1.0" 200 12 "\"\\\xfe" "a\" 200 1\\"`},
		{"combined without the fields", "combined", "GET /svc HTTP/1.1\r\nHost: x\r\n\r\n", served,
			`192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "GET /svc HTTP/1.1" 200 12 "-" "-"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			book := newLogBook(t, tt.format)
			x := logged(t, tt.head)
			tt.edit(x)
			x.gw = &Gateway{access: book.log}
			x.in.joinTrace(nil)
			var l answer.Line
			x.line(&l, 2*time.Millisecond)
			x.tell(&l, false, answer.NotKept)
			got := book.take()[0]
			if got != tt.want {
				t.Errorf("got\n %s\nwant\n %s", got, tt.want)
			}
			if strings.Contains(got, "secret") || strings.ContainsAny(got, "\r\n") {
				t.Error("the line has a query, or is more than one")
			}
			if tt.format == "json" && !json.Valid([]byte(got)) {
				t.Error("not JSON")
			}
		})
	}
}
