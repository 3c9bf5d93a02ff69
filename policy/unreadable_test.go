package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"lictor/policy"
)

// TestAListInAnotherFormatIsUnreadable feeds lists of which no line is an entry
// (X6): the former value holds, and without one they close what they would have
// guarded.
func TestAListInAnotherFormatIsUnreadable(t *testing.T) {
	for name, text := range map[string]string{
		"YAML":                 "- evil.example\n- 10.0.0.0/8\n",
		"a markdown list":      "* evil.example\n* /admin\n",
		"a numbered list":      "1. evil.example\n2. /admin\n",
		"a hosts file":         "0.0.0.0 evil.example\n127.0.0.1 other.example\n",
		"quoted lines":         "\"evil.example\"\n\"other.example\"\n",
		"typographic quotes":   "\u201cevil.example\u201d\n",
		"a list with commas":   "evil.example,\nother.example,\n",
		"CSV":                  "evil.example;ads\nother.example;ads\n",
		"an adblock list":      "||evil.example^\n||other.example^\n",
		"UTF-16":               "e\x00v\x00i\x00l\x00.\x00e\x00x\x00\n\x00",
		"rules of a firewall":  "deny evil.example;\ndeny 10.0.0.0/8;\n",
		"words before entries": "DENY evil.example\nBLOCK other.example\n",
		"JSON with such":       `["- evil.example"]`,
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, policy.Options{}, "blacklist/ops", "evil.example")
			set, rejected := s.put(t, "blacklist/ops", text)
			if len(rejected) != 1 || !rejected[0].Kept || out(set, "GET", "evil.example", 80, "/") != "blacklist" {
				t.Errorf("in the place of a good list: %+v, evil.example is %q", rejected, out(set, "GET", "evil.example", 80, "/"))
			}
			s, _ = newStore(t, policy.Options{})
			set, rejected = s.put(t, "blacklist/ops", text)
			if len(rejected) != 1 || !rejected[0].Closes || out(set, "GET", "evil.example", 80, "/") != policy.ReasonPolicyUnavailable {
				t.Errorf("as a new list: %+v, evil.example is %q", rejected, out(set, "GET", "evil.example", 80, "/"))
			}
		})
	}
}

// TestTooManyAlike checks that entries which a request is compared with one by
// one are bounded, and that the bound opens nothing.
func TestTooManyAlike(t *testing.T) {
	var ports, methods strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&ports, "evil.example:%d\n", 8000+i)
		fmt.Fprintf(&methods, "M%s http://evil.example/\n", strings.Repeat("A", i))
	}
	for _, text := range []string{ports.String(), methods.String()} {
		s, _ := newStore(t, policy.Options{}, "blacklist/ops", "evil.example")
		if set, rejected := s.put(t, "blacklist/ops", text); len(rejected) != 1 || !rejected[0].Kept || out(set, "GET", "evil.example", 80, "/") != "blacklist" {
			t.Errorf("got %+v", rejected)
		}
	}
}
