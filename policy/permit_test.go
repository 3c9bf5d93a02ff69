package policy

import (
	"net/netip"
	"reflect"
	"testing"

	"lictor/internal/uri"
)

// Nobody but this package can fill a Permit: it has no field that is known
// outside, and no method that could change one.
func TestPermitCannotBeForged(t *testing.T) {
	typ := reflect.TypeFor[Permit]()
	for i := range typ.NumField() {
		if f := typ.Field(i); f.IsExported() || f.Anonymous {
			t.Errorf("the field %s is open to all", f.Name)
		}
	}
	p := reflect.PointerTo(typ)
	for i := range p.NumMethod() {
		if m := p.Method(i); m.Type.NumIn() != 1 {
			t.Errorf("%s takes something in", m.Name)
		}
	}
}

func TestOnlyWhatPassesHasAPermit(t *testing.T) {
	denies, _ := NewBuilder(Options{}).Apply(1, []Change{{Key: Key{KindBlacklist, "b"}, Object: &List{Direction: Both, Entries: []string{"/svc/shut", "192.0.2.1"}}}})
	request := func(path string, dry bool) *Request {
		p, _, err := uri.ParsePath(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &Request{Method: "GET", Host: "h", Path: &p, Client: netip.MustParseAddr("127.0.0.1"), Dry: dry}
	}
	tests := []struct {
		name            string
		set             *Set
		path            string
		dry             bool
		forwards, looks bool
	}{
		{"a request that passes", denies, "/svc/x", false, true, true},
		{"one that was decided for show can be looked at only", denies, "/svc/x", true, false, true},
		{"one that is denied", denies, "/svc/shut", false, false, false},
		{"one without a policy", nil, "/svc/x", false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.path, tt.dry)
			route, v := tt.set.Route(r), Verdict{}
			p := tt.set.Decide(r, &route, &v, nil)
			if p.Forwards() != tt.forwards || p.Looks() != tt.looks || p.Looks() != (p.Service() == "svc") || p.Addrs() != nil {
				t.Errorf("got %+v", p)
			}
		})
	}
	for addr, want := range map[string]int{"192.0.2.1": 0, "192.0.2.2": 1} {
		d, v := &Destination{Host: addr, Port: 80, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}, Verdict{}
		if p := denies.PermitDial(d, &v, nil); len(p.Addrs()) != 0 {
			t.Errorf("%s is admitted before it was asked whether it is denied", addr)
		}
		denies.Blacklisted(d, &v, nil)
		if p := denies.PermitDial(d, &v, nil); len(p.Addrs()) != want || p.Forwards() || p.Looks() {
			t.Errorf("%s: got %+v", addr, p)
		}
	}
	var zero Permit
	if zero.Forwards() || zero.Looks() || zero.Addrs() != nil {
		t.Error("the zero Permit permits something")
	}
}
