package middleware

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"lictor/internal/uri"
)

// header is a list of fields, "Name: value".
type header []string

func (h header) Nth(name string, n int) (string, bool) {
	for _, line := range h {
		if got, value, _ := strings.Cut(line, ": "); strings.EqualFold(got, name) {
			if n == 0 {
				return value, true
			}
			n--
		}
	}
	return "", false
}

func request(t testing.TB, method, host, path string, fields ...string) *Request {
	t.Helper()
	p, _, err := uri.ParsePath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Request{Readings: new(uri.ReadingSet), Method: method, Host: host, Path: &p, Client: netip.MustParseAddr("192.0.2.1"), Fields: header(fields)}
}

func pattern(t testing.TB, name, value string) HeaderPattern {
	t.Helper()
	p, err := CompilePattern(name, value)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// K6: nobody is no consumer, whatever the list.
func TestAnonymousIsNoConsumer(t *testing.T) {
	m := Match{Consumers: []string{"", "anna"}}
	if m.fits(request(t, "GET", "h", "/"), "m", false) {
		t.Error("an anonymous request fits a list of consumers")
	}
}

// D19, D22: what a match fits.
func TestMatch(t *testing.T) {
	record, block := Effect{Record: true}, Effect{Block: &Block{Status: 403}}
	req := request(t, "GET", "a.example.org", "/shop/admin;v=1/x", "User-Agent: A", "user-agent: Mobile 1")
	req.Consumer, req.Name = "c1", "anna"
	tests := []struct {
		name   string
		match  Match
		effect Effect
		want   bool
	}{
		{"nothing asked for fits all", Match{}, record, true},
		{"one of the methods", Match{Methods: []string{"POST", "GET"}}, record, true},
		{"none of the methods", Match{Methods: []string{"POST"}}, record, false},
		{"the host", Match{Hosts: []string{"a.example.org"}}, record, true},
		{"a subdomain", Match{Hosts: []string{"*.example.org"}}, record, true},
		{"the domain itself is no subdomain", Match{Hosts: []string{"*.a.example.org"}}, record, false},
		{"a host that ends alike", Match{Hosts: []string{"*.ample.org"}}, record, false},
		{"a prefix", Match{Paths: []string{"/shop"}}, record, true},
		{"a prefix with a slash", Match{Paths: []string{"/shop/"}}, record, true},
		{"the root", Match{Paths: []string{"/"}}, record, true},
		{"half a segment is no prefix", Match{Paths: []string{"/sho"}}, record, false},
		{"another reading of the path does not steer", Match{Paths: []string{"/shop/admin"}}, record, false},
		{"but denies", Match{Paths: []string{"/shop/admin"}}, block, true},
		{"a value of a field that is there twice", Match{Headers: []HeaderPattern{pattern(t, "User-Agent", "A")}}, record, true},
		{"an expression on the second of them", Match{Headers: []HeaderPattern{pattern(t, "USER-AGENT", "~^Mobile")}}, record, true},
		{"another value", Match{Headers: []HeaderPattern{pattern(t, "User-Agent", "Mobile")}}, record, false},
		{"all fields must fit", Match{Headers: []HeaderPattern{pattern(t, "User-Agent", "A"), pattern(t, "Accept", "")}}, record, false},
		{"the name of the consumer", Match{Consumers: []string{"bob", "anna"}}, record, true},
		{"the id of the consumer", Match{Consumers: []string{"c1"}}, record, true},
		{"another consumer", Match{Consumers: []string{"bob"}}, record, false},
		{"all parts must fit", Match{Methods: []string{"GET"}, Hosts: []string{"b.example.org"}}, record, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := New([]Rule{{Name: "m", Match: tt.match, Effect: tt.effect}})
			e, fits := c[0].Apply(req)
			if fits != tt.want || fits && e != tt.effect {
				t.Errorf("got %v %v, want %v", fits, e, tt.want)
			}
		})
	}
	if _, err := CompilePattern("X", "~("); err == nil {
		t.Error("a broken expression is taken")
	}
}

// D19: a share is near its size, sticks to consumers, else to addresses, and
// two rules draw apart.
func TestShare(t *testing.T) {
	c := New([]Rule{{Name: "a", Match: Match{Share: 0.1}, Effect: Effect{Record: true}}, {Name: "b", Match: Match{Share: 0.1}, Effect: Effect{Record: true}}})
	drawn := func(l *Link, set func(r *Request, n int)) (n int, who []bool) {
		r := request(t, "GET", "x", "/x")
		for i := range 10_000 {
			set(r, i)
			_, fits := l.Apply(r)
			if _, again := l.Apply(r); again != fits {
				t.Fatal("the same client is drawn only sometimes")
			}
			if who = append(who, fits); fits {
				n++
			}
		}
		return n, who
	}
	byAddress := func(r *Request, n int) {
		r.Client = netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	}
	n, a := drawn(c[0], byAddress)
	m, b := drawn(c[1], byAddress)
	if n < 850 || n > 1150 || m < 850 || m > 1150 {
		t.Errorf("of 10,000 addresses %d and %d are drawn, want about 1000", n, m)
	}
	both := 0
	for i := range a {
		if a[i] && b[i] {
			both++
		}
	}
	if both > 200 {
		t.Errorf("%d are drawn by both rules", both)
	}
	if n, _ := drawn(c[0], func(r *Request, n int) { r.Consumer = fmt.Sprint("consumer-", n) }); n < 850 || n > 1150 {
		t.Errorf("of 10,000 consumers %d are drawn, want about 1000", n)
	}
	if n, _ := drawn(c[0], func(r *Request, n int) { byAddress(r, n); r.Consumer = "one" }); n != 0 && n != 10_000 {
		t.Errorf("a consumer on many addresses is drawn %d times of 10,000", n)
	}
}

// Edits add up in order: remove, then set, then add.
func TestOverlay(t *testing.T) {
	var o Overlay
	if o.Drops("A") || o.Fields() != nil {
		t.Error("the zero overlay does something")
	}
	o.Apply(nil)
	o.Apply(&Edit{Add: []Field{{"A", "1"}, {"B", "1"}}})
	o.Apply(&Edit{Set: []Field{{"a", "2"}}, Remove: []string{"b", "C"}, Add: []Field{{"B", "2"}}})
	if want := []Field{{"a", "2"}, {"B", "2"}}; !reflect.DeepEqual(o.Fields(), want) {
		t.Errorf("got %v, want %v", o.Fields(), want)
	}
	for name, want := range map[string]bool{"A": true, "b": true, "c": true, "D": false} {
		if got := o.Drops(name); got != want {
			t.Errorf("Drops(%q) is %v", name, got)
		}
	}
}

// D19: a middleware in Go is enabled by its name, where its match fits, and
// adds to what its block says.
func TestMiddlewareInGo(t *testing.T) {
	if !Registered("stamp") || Registered("nothing") {
		t.Error("the table does not hold what it should")
	}
	c := New([]Rule{{Name: "stamp", Match: Match{Paths: []string{"/shop"}}, Effect: Effect{Record: true, Response: &Edit{Add: []Field{{"X-A", "1"}}}}}})
	e, fits := c[0].Apply(request(t, "GET", "x", "/shop/x"))
	if !fits || !e.Record || len(e.Response.Set)+len(e.Response.Add) != 2 || e.Block != nil {
		t.Errorf("got %+v %v", e, fits)
	}
	if _, fits := c[0].Apply(request(t, "GET", "x", "/other")); fits {
		t.Error("it is applied where its match does not fit")
	}
	if got := (Effect{Block: &Block{Status: 410}, Route: "a", Request: &Edit{Remove: []string{"X"}}, Record: true}).String(); got != "block with 410, route to a, edit the request, record" {
		t.Errorf("got %q", got)
	}
}

// What does not match costs no allocation.
func TestApplyDoesNotAllocate(t *testing.T) {
	c := New([]Rule{
		{Name: "a", Match: Match{Methods: []string{"POST"}}, Effect: Effect{Record: true}},
		{Name: "b", Match: Match{Hosts: []string{"*.example.com"}}, Effect: Effect{Record: true}},
		{Name: "c", Match: Match{Paths: []string{"/shop/admin"}}, Effect: Effect{Block: &Block{}}},
		{Name: "d", Match: Match{Headers: []HeaderPattern{{Name: "User-Agent", Value: "x"}}}, Effect: Effect{Record: true}},
		{Name: "e", Match: Match{Share: 1e-9}, Effect: Effect{Record: true}},
	})
	r := request(t, "GET", "a.example.org", "/shop/a%2Fb;c", "User-Agent: A")
	var fields Fields = r.Fields
	apply := func() {
		r.Fields = fields
		for _, l := range c {
			if _, fits := l.Apply(r); fits {
				t.Fatalf("%s matches", l.Rule.Name)
			}
		}
	}
	apply() // makes the buffer of the readings
	if n := testing.AllocsPerRun(100, apply); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
