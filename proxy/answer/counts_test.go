package answer

import (
	"fmt"
	"testing"
)

// Names become labels up to a bound, and those that did stay.
func TestNamesPastTheBoundAreOneLabel(t *testing.T) {
	n := names{most: 3}
	for i := range 5 {
		want := fmt.Sprint(i)
		if i >= 3 {
			want = overflow
		}
		if got := n.label(fmt.Sprint(i)); got != want {
			t.Errorf("%d: got %q, want %q", i, got, want)
		}
	}
	if got := n.label("1"); got != "1" || len(n.known) != 3 {
		t.Errorf("later 1 is %q, of %d names", got, len(n.known))
	}
	if got := n.label(""); got != "" {
		t.Errorf("nobody is %q", got)
	}
}

func TestEveryStatusHasACodeAsLabel(t *testing.T) {
	for _, tt := range []struct {
		status int
		reason Reason
		want   string
	}{{100, "", "100"}, {200, "", "200"}, {599, "", "599"}, {600, "", "none"}, {999, "", "none"}, {0, "", "none"}, {99, "", "none"}, {499, ClientLeft, "none"}} {
		if got := code(tt.status, tt.reason); got != tt.want {
			t.Errorf("%d %s: got %q, want %q", tt.status, tt.reason, got, tt.want)
		}
	}
}
