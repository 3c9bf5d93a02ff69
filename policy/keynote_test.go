package policy_test

import (
	"strings"
	"testing"

	"lictor/policy"
)

// An explanation tells a key that is not known from one that ran out and from
// none; the client is told the same of all that were sent.
func TestExplanationTellsWhatIsWrongWithAKey(t *testing.T) {
	_, demanded := newStore(t, policy.Options{}, with("plugins/k", `{"id":"k","name":"key-auth"}`)...)
	_, byACL := newStore(t, policy.Options{}, with("acls/1", `{"api":"svc","consumers":["ann"]}`)...)
	messages := map[string]bool{}
	for query, want := range map[string]string{
		"?apikey=wrong": "is not known", "?apikey=kold": "ran out at 2026-07-15 12:30:30 UTC", "?apikey=kx": "whose consumer nobody does not exist",
		"?apikey=kb&apikey=kb": "twice", "": "no key was sent",
	} {
		for name, set := range map[string]*policy.Set{"key-auth": demanded, "an ACL": byACL} {
			if set == demanded && (query == "" || strings.Contains(query, "&")) {
				continue // it says so in its message
			}
			var rec policy.Recorder
			var v policy.Verdict
			r := ask(t, "GET http://x/svc"+query)
			route := set.Route(r)
			set.Decide(r, &route, &v, &rec)
			note := ""
			for _, s := range rec.Steps {
				if s.Step == "key-auth" {
					note = s.Note
				}
			}
			if v.Allowed() || !strings.Contains(note, want) {
				t.Errorf("%s, %q: noted %q, want %q", name, query, note, want)
			}
			if strings.Contains(v.Message, "known") || strings.Contains(v.Message, "ran out") {
				t.Errorf("the client is told %q", v.Message)
			}
			if set == demanded {
				messages[v.Message] = true
			}
		}
	}
	if len(messages) != 1 {
		t.Errorf("clients are told %v", messages)
	}
}
