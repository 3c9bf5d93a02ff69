package consul

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"lictor/resolver"
)

// What a failing check printed stands behind its name, so that nobody has to look
// for it elsewhere; of one that passes nothing is kept.
func TestOutputOfAFailingCheckIsTold(t *testing.T) {
	passing, critical := `{"CheckID":"a","Name":"one","Status":"passing","Output":"200 OK"}`, `{"CheckID":"b","Name":"two","Status":"critical","Output":"dial tcp: \"refused\"\n"}`
	for _, c := range []struct {
		checks, note string
		state        resolver.State
	}{
		{passing, "", resolver.Passing},
		{passing + "," + critical, `critical: two: dial tcp: "refused"`, resolver.Critical},
		{strings.Replace(critical, "critical", "warning", 1), `warning: two: dial tcp: "refused"`, resolver.Warning},
		{`{"CheckID":"b","Name":"two","Status":"critical","Output":null}`, "critical: two", resolver.Critical},
	} {
		var e entry
		if err := json.Unmarshal([]byte(`{"Checks":[`+c.checks+`]}`), &e); err != nil {
			t.Fatal(err)
		}
		if e.judged(); e.note != c.note || e.state != c.state || e.Checks != nil {
			t.Errorf("%s: %s, note %q, want %s, %q", c.checks, e.state, e.note, c.state, c.note)
		}
	}
}

// Wherever a long output is cut, what is left of it is text, and its beginning.
func TestLongOutputOfACheckIsCut(t *testing.T) {
	for _, unit := range []string{"a", `"`, `\`, "\n", "é", "\u2028", "\x01", "😀", "<"} {
		for shift := range 13 {
			printed := strings.Repeat("x", shift) + strings.Repeat(unit, maxOutput)
			text, err := json.Marshal(printed)
			if err != nil {
				t.Fatal(err)
			}
			var o output
			if err := json.Unmarshal(text, &o); err != nil {
				t.Fatal(err)
			}
			got := strings.TrimRight(o.text(), "\ufffd")
			if !utf8.ValidString(got) || !strings.HasPrefix(printed, got) || len(got) < min(len(strings.TrimSpace(printed)), maxOutput/8) || len(o) > maxOutput {
				t.Errorf("%d and %q: %q", shift, unit, got)
			}
		}
	}
}
