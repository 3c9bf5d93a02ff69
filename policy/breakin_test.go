package policy_test

import (
	"strings"
	"testing"

	"lictor/policy"
)

// TestProblemsLeaveTheLogReadable checks that what is wrong with a hostile
// value does not fill the log.
func TestProblemsLeaveTheLogReadable(t *testing.T) {
	var all policy.Problems
	for range 10_000 {
		all = append(all, policy.Problem{Field: "entries[1]", Text: strings.Repeat("é", 10_000)})
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
