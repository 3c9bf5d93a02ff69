package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lictor/policy"
)

// TestProblemsLeaveTheLogReadable checks that what is wrong with a hostile
// value does not fill the log.
func TestProblemsLeaveTheLogReadable(t *testing.T) {
	var all policy.Problems
	long := strings.Repeat("é", 10_000)
	for range 10_000 {
		all = append(all, policy.Problem{Field: "entries[1]", Text: long})
	}
	if text := all.Error(); len(text) > 10_000 || !strings.HasSuffix(text, "and 9980 more") {
		t.Errorf("got %d bytes ending in %q", len(text), text[len(text)-40:])
	}
}

// TestMethodCaseIsNoWayRoundADeny checks that rules that deny or demand take a
// method in any case, as some backends do, and rules that grant only as it is.
func TestMethodCaseIsNoWayRoundADeny(t *testing.T) {
	_, set := newStore(t, policy.Options{}, with(
		"blacklist/b", "POST /svc/ro\nDELETE http://h.example/x",
		"filters/w", `{"methods":["POST"]}`, "filters/r", `{"methods":["GET"]}`,
		"plugins/k", `{"name":"key-auth"}`, "plugin-mappings/m", `{"api":"keyed","plugins":["k"],"filters":["w"]}`,
		"acls/1", `{"api":"closed","filters":["r"]}`)...)
	for line, want := range map[string]policy.Reason{
		"POST http://x/svc/ro": "blacklist", "post http://x/svc/ro": "blacklist", "PoSt http://x/svc/ro": "blacklist",
		"GET http://x/svc/ro": "", "delete http://h.example/x": "blacklist",
		"POST http://x/keyed": "no_credentials", "post http://x/keyed": "no_credentials", "GET http://x/keyed": "",
		"GET http://x/closed": "", "get http://x/closed": "acl",
	} {
		if got := try(t, set, line); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// TestNoOtherWayToAServiceIsRoundADeny checks that a rule that denies a path
// of a service holds however the request came to it: by the segment in another
// case, where the resolver does not mind (E7), by an API's filters (C30), or by
// middleware (D19).
func TestNoOtherWayToAServiceIsRoundADeny(t *testing.T) {
	_, set := newStore(t, policy.Options{}, with(
		"blacklist/b", "/orders/admin",
		"filters/h", `{"hosts":["api.example"]}`, "apis/orders", `{"filters":["h"]}`,
		"filters/p", `{"paths":["/orders/keyed"]}`, "plugins/k", `{"name":"key-auth"}`,
		"plugin-mappings/m", `{"api":"orders","plugins":["k"],"filters":["p"]}`)...)
	tests := []struct {
		name, line, service string // service: what the resolver or middleware calls it
		want                policy.Reason
	}{
		{"the segment itself", "GET http://x/orders/admin", "orders", "blacklist"},
		{"the segment in another case", "GET http://x/ORDERS/admin", "orders", "blacklist"},
		{"with a trick", "GET http://x/Orders/x/..%2fadmin", "orders", "blacklist"},
		{"another segment, routed to it", "GET http://x/shop/admin/x", "orders", "blacklist"},
		{"another path there", "GET http://x/ORDERS/administer", "orders", ""},
		{"by a filter", "GET http://api.example/admin", "", "blacklist"},
		{"by a filter, with the segment", "GET http://api.example/orders/admin", "", "blacklist"},
		{"by a filter, with a trick", "GET http://api.example/;x/admin", "", "blacklist"},
		{"by a filter, another path", "GET http://api.example/shop", "", ""},
		{"a key is demanded by the segment", "GET http://x/orders/keyed", "orders", "no_credentials"},
		{"and in another case", "GET http://x/ORDERS/keyed", "orders", "no_credentials"},
		{"and by a filter", "GET http://api.example/keyed", "", "no_credentials"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := ask(t, tt.line)
			route := set.Route(r)
			if tt.service != "" {
				set.Rename(&route, tt.service)
			}
			var v policy.Verdict
			if set.Decide(r, &route, &v, nil); v.Reason != tt.want {
				t.Errorf("got %q, want %q", v.Reason, tt.want)
			}
			set.Recheck(r.Facts(&route, &v), noon, &v)
			if v.Reason != tt.want {
				t.Errorf("later: got %q, want %q", v.Reason, tt.want)
			}
		})
	}
}

// TestUnreadableObjectsOpenNothing checks what cannot be read and has no former
// good value (X6), as after a restart.
func TestUnreadableObjectsOpenNothing(t *testing.T) {
	s, set := newStore(t, policy.Options{}, with("plugin-mappings/m", `{"api":"svc","plugins":["k"]}`)...)
	if got := try(t, set, "GET http://x/svc"); got != "no_credentials" {
		t.Fatalf("without the plugin: %q", got)
	}
	set, rejected := s.put(t, "plugins/k", `{"name":"key-auth","config":{"keynames":[]}}`, "plugins/other", `{"name":"key-auth","config":7,"global":false}`)
	if len(rejected) != 2 || !rejected[0].Closes {
		t.Errorf("got %+v", rejected)
	}
	for line, want := range map[string]policy.Reason{"GET http://x/svc": "no_credentials", "GET http://x/svc ka": "", "GET http://x/other": ""} {
		if got := try(t, set, line); got != want {
			t.Errorf("an unreadable key-auth, %s: got %q, want %q", line, got, want)
		}
	}
	_, rejected = s.put(t, "blacklist/bad", strings.Repeat("x!", 100_000)+"\n"+manyBad)
	if len(rejected) != 1 || len(rejected[0].Problems) != 101 || len(rejected[0].Problems.Error()) > 10_000 {
		t.Errorf("a list of which every line is bad is told in %d problems", len(rejected[0].Problems))
	}
}

var manyBad = func() string {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "!%d\n", i)
	}
	return b.String()
}()

// TestNamesThatNoAPICanHaveAreRefused checks that an ACL that would protect
// nothing is told.
func TestNamesThatNoAPICanHaveAreRefused(t *testing.T) {
	s, _ := newStore(t, policy.Options{})
	for _, name := range []string{"/svc", "svc/", " svc", "svc/x", "*", "*.", "http://svc", "a b", "bücher"} {
		if _, rejected := s.put(t, "acls/1", `{"api":"`+name+`","groups":["g"]}`); len(rejected) != 1 {
			t.Errorf("%q is taken for the name of an API", name)
		}
	}
	for _, name := range []string{"svc", "a_b.c-d~e", "www.example.org", "*.example.org"} {
		if _, rejected := s.put(t, "acls/1", `{"api":"`+name+`","groups":["g"]}`); len(rejected) != 0 {
			t.Errorf("%q: %v", name, rejected[0].Problems)
		}
	}
}

// TestOddPathsCostNoMoreWithMoreRules checks that a hostile path is read once a
// decision, not once a rule: its 30,000 bytes have dozens of readings.
func TestOddPathsCostNoMoreWithMoreRules(t *testing.T) {
	cost := func(rules int) time.Duration {
		docs := []string{"plugins/k", `{"name":"key-auth"}`}
		for i := range rules {
			docs = append(docs, fmt.Sprintf("filters/f%d", i), fmt.Sprintf(`{"paths":["/svc/p%d"]}`, i),
				fmt.Sprintf("plugin-mappings/m%d", i), fmt.Sprintf(`{"api":"svc","plugins":["k"],"filters":["f%d"]}`, i))
		}
		_, set := newStore(t, policy.Options{}, docs...)
		r := ask(t, "GET http://x/svc"+strings.Repeat(`%2f%3b;\//`, 3000))
		best := time.Hour
		for range 10 {
			began := time.Now()
			decide(set, r)
			best = min(best, time.Since(began))
		}
		return best
	}
	if one, many := cost(1), cost(100); many > 10*one {
		t.Errorf("it costs %v with one rule, %v with 100", one, many)
	}
}
