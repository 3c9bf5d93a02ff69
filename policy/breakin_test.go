package policy

import (
	"strings"
	"testing"
)

// TestProblemsLeaveTheLogReadable checks that what is wrong with a hostile
// value does not fill the log.
func TestProblemsLeaveTheLogReadable(t *testing.T) {
	var all Problems
	for range 10_000 {
		all = append(all, Problem{Field: "entries[1]", Text: strings.Repeat("é", 10_000)})
	}
	if text := all.Error(); len(text) > 10_000 || !strings.HasSuffix(text, "and 9980 more") {
		t.Errorf("got %d bytes ending in %q", len(text), text[len(text)-40:])
	}
}
