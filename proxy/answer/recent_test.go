package answer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/policy"
)

func TestWhatIsWorthALook(t *testing.T) { // U7
	now := time.Unix(1000, 0)
	tests := []struct {
		name     string
		status   int
		reason   Reason
		would    bool
		answered time.Duration
		want     bool
	}{
		{"all is well", 200, ReasonNone, false, time.Millisecond, false},
		{"the service says 404", 404, ReasonNone, false, time.Millisecond, false},
		{"the client left", 200, ClientLeft, false, time.Millisecond, false},
		{"refused", 403, "acl", false, 0, true},
		{"would be refused", 200, ReasonNone, true, time.Millisecond, true},
		{"the service says 500", 500, ReasonNone, false, time.Millisecond, true},
		{"slow", 200, ReasonNone, false, time.Second, true},
	}
	for _, tt := range tests {
		if got := new(Recent).Wants(tt.status, tt.reason, tt.would, tt.answered, now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if (*Recent)(nil).Wants(tt.status, tt.reason, tt.would, tt.answered, now) {
			t.Errorf("%s: nobody wants it", tt.name)
		}
	}
}

func TestOfManyASampleIsKept(t *testing.T) {
	var r Recent
	kept := 0
	for i := range 1000 {
		if r.Wants(403, "acl", false, 0, time.Unix(1000+int64(i/500), 0)) {
			kept++
		}
	}
	if missed := r.List().Missed; kept != 2*recentRate || missed != uint64(1000-kept) {
		t.Errorf("%d are kept, %d missed", kept, missed)
	}
	if n := testing.AllocsPerRun(100, func() { r.Wants(403, "acl", false, 0, time.Unix(1001, 0)) }); n != 0 {
		t.Errorf("a request that is not kept allocates %v times", n)
	}
}

func TestTheNewestAreListed(t *testing.T) {
	var r Recent
	for i := range keptRecent + 3 {
		r.Keep(&Line{ID: fmt.Sprint(i), Client: netip.MustParseAddr("192.0.2.1"), Path: "/" + strings.Repeat("x", 1000)})
		if i == 1 {
			if l := r.List().Requests; len(l) != 2 || l[0].ID != "1" || l[1].ID != "0" {
				t.Errorf("got %v", l)
			}
		}
	}
	l := r.List().Requests
	if len(l) != keptRecent || l[0].ID != fmt.Sprint(keptRecent+2) || l[keptRecent-1].ID != "3" || len(l[0].Path) > recentText+3 {
		t.Errorf("%d, from %s to %s", len(l), l[0].ID, l[keptRecent-1].ID)
	}
	r.Keep(&Line{Status: 200, Ruling: Ruling{Would: "acl", Mode: policy.Report, Rule: policy.Rule{Key: "policy/acls/x"}}})
	if one := r.List().Requests[0]; one.Mode != "report" || one.Reason != "acl" || one.Rule != "policy/acls/x" {
		t.Errorf("a refusal in report mode is %+v", one)
	}
}
