package admintest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/internal/uri"
	"lictor/policy"
)

// key is a header with a key in it.
type key string

// Field implements [policy.Fields].
func (k key) Field(name string) (string, int) {
	if k == "" || !strings.EqualFold(name, "apikey") {
		return "", 0
	}
	return string(k), 1
}

// Decide asks the policy in force about "METHOD /path [key]" and returns the
// status of its refusal, 200 if there is none, and the limit a second that
// holds, 0 if none does.
func (s *Server) Decide(t *testing.T, line string) (status, limit int) {
	t.Helper()
	words := append(strings.Fields(line), "")
	path, _, err := uri.ParsePath(words[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &policy.Request{
		Method: words[0], Host: "gateway", Path: &path, Client: netip.MustParseAddr("192.0.2.7"),
		Fields: key(words[2]), Now: time.Now(), Limiter: new(policy.Limiter),
	}
	set := s.Policy.Set()
	route := set.Route(r)
	var v policy.Verdict
	set.Decide(r, &route, &v, nil)
	for _, l := range v.Limits.All() {
		if l.Window == policy.Second {
			limit = l.Limit
		}
	}
	if v.Allowed() {
		return 200, limit
	}
	return v.Status, limit
}

// WantDecisions checks what the policy says: lines as Decide takes them, and
// statuses.
func (s *Server) WantDecisions(t *testing.T, want map[string]int) {
	t.Helper()
	for line, status := range want {
		if got, _ := s.Decide(t, line); got != status {
			t.Errorf("%s: got %d, want %d", line, got, status)
		}
	}
}
