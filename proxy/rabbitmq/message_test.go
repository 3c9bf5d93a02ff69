package rabbitmq

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestRoutingKey(t *testing.T) { // D12
	tests := []struct{ name, path, want string }{
		{"slashes become dots", "/bar/baz", "bar.baz"},
		{"no path is the empty key", "", ""},
		{"a slash alone is the empty key", "/", ""},
		{"a trailing slash is dropped", "/bar/", "bar"},
		{"only one of two", "/bar//", "bar."},
		{"an inner empty segment stays", "/bar//baz", "bar..baz"},
		{"segments are decoded", "/b%20r/%C3%A4", "b r.ä"},
		{"and only once", "/a%252Fb", "a%2Fb"},
		{"an encoded slash does not part segments", "/a%2fb/c", "a/b.c"},
		{"a dot in a segment stays", "/v1.2/x", "v1.2.x"},
		{"a broken escape stays", "/a%2/b%zz%", "a%2.b%zz%"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := routingKey(tt.path); got != tt.want {
				t.Errorf("routingKey(%q) = %q, want %q", tt.path, got, tt.want)
			}
		})
	}
}

func TestRequestHeaders(t *testing.T) { // D13
	tests := []struct {
		name   string
		fields []Field
		want   amqp.Table
	}{
		{"names become canonical", []Field{{"accept", "a"}, {"x-request-id", "1"}}, amqp.Table{"Accept": "a", "X-Request-Id": "1"}},
		{"repeated ones are joined", []Field{{"Accept", "a"}, {"ACCEPT", "b"}}, amqp.Table{"Accept": "a, b"}},
		{"cookies by a semicolon", []Field{{"Cookie", "a=1"}, {"Cookie", "b=2"}}, amqp.Table{"Cookie": "a=1; b=2"}},
		{"hop-by-hop fields are dropped", []Field{{"Connection", "close, X-Own"}, {"x-own", "1"}, {"X_Own", "1"}, {"TE", "trailers"}, {"Upgrade", "x"}, {"Via", "v"}}, amqp.Table{"Via": "v"}},
		{"a client cannot send ours", []Field{{"X-WASP-METHOD", "PUT"}, {"x-wasp-anything", "1"}}, amqp.Table{}},
		{"nor the broker's own CC and BCC", []Field{{"CC", "other.key"}, {"bcc", "other.key"}}, amqp.Table{"Cc": "other.key", "Bcc": "other.key"}},
		{"a name too long for AMQP is dropped", []Field{{strings.Repeat("n", 256), "1"}}, amqp.Table{}},
		{"a name that is no token is dropped", []Field{{"a b", "1"}, {"", "2"}}, amqp.Table{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := headerTable(tt.fields, new(copies)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("headerTable(%v)\n got %v\nwant %v", tt.fields, got, tt.want)
			}
		})
	}
}

func TestNewCall(t *testing.T) { // D12, D13, D15
	c, err := newCall(&Request{
		Exchange: "foo", Method: "GET", Path: "/bar/baz", Query: "page=1&size=20", Body: []byte("b"),
		Fields: []Field{{"Content-Type", "text/plain"}, {"Content-Encoding", "gzip"}},
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := amqp.Table{
		"X-WASP-METHOD": "GET", "X-WASP-QS": "page=1&size=20", "X-WASP-PATH": "/bar/baz",
		"Content-Type": "text/plain", "Content-Encoding": "gzip",
	}
	if c.exchange != "foo" || c.key != "bar.baz" || !reflect.DeepEqual(c.msg.Headers, want) {
		t.Errorf("got exchange %q, key %q, headers %v", c.exchange, c.key, c.msg.Headers)
	}
	if c.msg.ContentType != "text/plain" || c.msg.ContentEncoding != "gzip" || c.msg.CorrelationId != c.id || len(c.id) != 36 || c.msg.DeliveryMode != 1 || c.msg.AppId != "lictor" {
		t.Errorf("got properties %+v", c.msg)
	}
}

// What a request is copied into is one piece of memory and a table: the connection's
// buffer, in which its strings lie, serves the next one while the broker has this one.
func TestNewCallCopiesInOnePiece(t *testing.T) {
	buffer := []byte("GET|/bar/baz|page=1|Accept|text/html|Cookie|a=1|X-Request-Id|0123456789|foo")
	at := func(i int) string {
		part := bytes.Split(buffer, []byte("|"))[i]
		return unsafe.String(&part[0], len(part))
	}
	r := Request{Method: at(0), Path: at(1), Query: at(2), Exchange: at(9), Fields: []Field{{at(3), at(4)}, {at(5), at(6)}, {at(7), at(8)}}}
	c, failure := newCall(&r, time.Now())
	if failure != nil {
		t.Fatal(failure)
	}
	allocations := testing.AllocsPerRun(100, func() { _, _ = newCall(&r, time.Now()) })
	for i := range buffer {
		buffer[i] = '#'
	}
	want := amqp.Table{
		"X-WASP-METHOD": "GET", "X-WASP-PATH": "/bar/baz", "X-WASP-QS": "page=1",
		"Accept": "text/html", "Cookie": "a=1", "X-Request-Id": "0123456789",
	}
	if c.exchange != "foo" || c.key != "bar.baz" || !reflect.DeepEqual(c.msg.Headers, want) {
		t.Errorf("got exchange %q, key %q, headers %v", c.exchange, c.key, c.msg.Headers)
	}
	// The call, its channel, id, key, strings and table, and each value as one of any type.
	if most := 10 + float64(len(want)); allocations > most {
		t.Errorf("%v allocations, want at most %v", allocations, most)
	}
}

func TestNewCallRefuses(t *testing.T) {
	tests := []struct {
		name   string
		r      Request
		status int
		reason string
	}{
		{"a routing key past 255 bytes", Request{Exchange: "foo", Path: "/" + strings.Repeat("k", 256)}, 414, "routing_key_too_long"},
		{"an exchange past 255 bytes", Request{Exchange: strings.Repeat("e", 256)}, 503, "unknown_service"},
		{"a header that fits no frame", Request{Exchange: "foo", Fields: []Field{{"X-A", strings.Repeat("v", 70_000)}}}, 413, "body_too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := newCall(&tt.r, time.Now()); err == nil || err.Status != tt.status || err.Reason != tt.reason {
				t.Errorf("got %v, want %d %s", err, tt.status, tt.reason)
			}
		})
	}
	encoded := Request{Exchange: "foo", Path: "/" + strings.Repeat("%41", 255)}
	if _, err := newCall(&encoded, time.Now()); err != nil {
		t.Errorf("the limit must hold for the decoded key: %v", err)
	}
}

func TestLongPropertiesStayHeaders(t *testing.T) {
	long := strings.Repeat("t", 256)
	c, err := newCall(&Request{Exchange: "foo", Fields: []Field{{"Content-Type", long}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c.msg.ContentType != "" || c.msg.Headers["Content-Type"] != long {
		t.Errorf("got property %q, header %v", c.msg.ContentType, c.msg.Headers["Content-Type"])
	}
}

func TestDecodeReply(t *testing.T) { // D14
	at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	tests := []struct {
		name   string
		d      amqp.Delivery
		status int // 0 = refused
		fields []Field
	}{
		{"no status is 200", amqp.Delivery{}, 200, nil},
		{"a number", amqp.Delivery{Headers: amqp.Table{"X-WASP-STATUS": int32(201)}}, 201, nil},
		{"another number", amqp.Delivery{Headers: amqp.Table{"X-WASP-STATUS": int16(599)}}, 599, nil},
		{"digits", amqp.Delivery{Headers: amqp.Table{"X-WASP-STATUS": "404"}}, 404, nil},
		{"bytes, and another case", amqp.Delivery{Headers: amqp.Table{"x-wasp-status": []byte("503")}}, 503, nil},
		{"100 is none of ours", amqp.Delivery{Headers: amqp.Table{"X-WASP-STATUS": int64(100)}}, 0, nil},
		{"600 neither", amqp.Delivery{Headers: amqp.Table{"X-WASP-STATUS": "600"}}, 0, nil},
		{"no sign", amqp.Delivery{Headers: amqp.Table{"X-WASP-STATUS": "+20"}}, 0, nil},
		{"no text", amqp.Delivery{Headers: amqp.Table{"X-WASP-STATUS": "okay"}}, 0, nil},
		{"no table", amqp.Delivery{Headers: amqp.Table{"X-WASP-STATUS": amqp.Table{}}}, 0, nil},
		{"the property is the type", amqp.Delivery{ContentType: "a/b", Headers: amqp.Table{"content-type": "c/d"}}, 200, []Field{{"Content-Type", "a/b"}}},
		{"without it the header is", amqp.Delivery{Headers: amqp.Table{"content-type": "c/d"}}, 200, []Field{{"content-type", "c/d"}}},
		{"other headers become fields", amqp.Delivery{Headers: amqp.Table{"X-B": int32(7), "X-A": true, "X-C": at, "X-D": []any{"1", int8(2)}}}, 200,
			[]Field{{"X-A", "true"}, {"X-B", "7"}, {"X-C", "Mon, 06 May 2024 07:08:09 GMT"}, {"X-D", "1"}, {"X-D", "2"}}},
		{"what has no spelling is dropped", amqp.Delivery{Headers: amqp.Table{"X-A": nil, "X-B": amqp.Table{"a": "b"}, "x-death": []any{amqp.Table{}}}}, 200, nil},
		{"hop-by-hop fields are dropped", amqp.Delivery{Headers: amqp.Table{"connection": "x-own", "X-Own": "1", "Transfer-Encoding": "chunked", "Content-Length": "5"}}, 200, nil},
		{"ours are dropped", amqp.Delivery{Headers: amqp.Table{"X-WASP-Else": "1"}}, 200, nil},
		{"nothing breaks the answer's framing", amqp.Delivery{ContentType: "a\r\nb: c", Headers: amqp.Table{"X-A": "1\r\nX-B: 2", "X C": "1", "": "2", "X-D": "a\x00"}}, 200, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeReply(&tt.d)
			if tt.status == 0 {
				if e, ok := err.(*Error); !ok || e.Status != 502 || e.Reason != "bad_gateway" {
					t.Errorf("got %v, %v, want 502 bad_gateway", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != tt.status || len(got.Fields)+len(tt.fields) > 0 && !reflect.DeepEqual(got.Fields, tt.fields) {
				t.Errorf("got %+v, want %d %v", got, tt.status, tt.fields)
			}
		})
	}
}

func FuzzRoutingKey(f *testing.F) {
	for _, path := range []string{"/bar/baz", "/", "", "//", "/%2F%2e/%", "/a%4"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		key := routingKey(path)
		if len(key) > len(path) {
			t.Errorf("routingKey(%q) = %q grew", path, key)
		}
		if !strings.Contains(path, "%") && strings.Count(key, ".") < strings.Count(strings.Trim(path, "/"), "/") {
			t.Errorf("routingKey(%q) = %q lost a segment", path, key)
		}
	})
}

// FuzzDecodeReply: whatever a worker sends, the answer keeps its framing.
func FuzzDecodeReply(f *testing.F) {
	f.Add("X-WASP-STATUS", "201", "text/plain")
	f.Add("X-A", "1\r\nX-B: 2", "a/b\n")
	f.Add("Connection", "Content-Type", "a/b")
	f.Fuzz(func(t *testing.T, name, value, contentType string) {
		r, err := decodeReply(&amqp.Delivery{ContentType: contentType, Headers: amqp.Table{name: value}})
		if err != nil {
			return
		}
		if r.Status < 200 || r.Status > 599 {
			t.Errorf("status %d", r.Status)
		}
		for _, field := range r.Fields {
			if strings.ContainsAny(field.Name+field.Value, "\r\n\x00") || strings.ContainsAny(field.Name, ": ") || field.Name == "" {
				t.Errorf("field %q: %q", field.Name, field.Value)
			}
		}
	})
}
