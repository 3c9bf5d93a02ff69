package ui

import (
	"strings"
	"testing"
	"time"

	"lictor/admin/api"
)

// The page of the policy says what each rule did, and of those in report mode what
// would be if they were enforced, with a way to the requests.
func TestPolicyTellsWhatRulesDid(t *testing.T) {
	at := func(h int) *time.Time { when := time.Now().Add(-time.Duration(h) * time.Hour); return &when }
	s := newSite(t, withDocuments(t, Config{
		Hits: func() *api.RuleHits {
			return &api.RuleHits{Rules: []api.RuleHit{
				{Key: "acls/busy", Mode: "enforce", Passed: 70, Refused: 3, Last: at(5)}, {Key: "acls/idle", Mode: "enforce"},
				{Key: "acls/ripe", Mode: "report", Changed: at(30), Ready: true}, {Key: "acls/sharp", Mode: "report", Would: 12, LastWould: at(3), Last: at(3), Changed: at(30)},
				{Key: "acls/young", Mode: "report", Changed: at(4)},
			}}
		},
		LastUsed: func(name string) time.Time {
			if strings.HasPrefix(name, "aa") {
				return *at(6)
			}
			return time.Time{}
		},
	}, map[string]string{
		"acls/busy": `{"api":"shop","groups":["a"]}`, "acls/idle": `{"api":"shop","groups":["b"]}`, "consumers/ann": `{"name":"ann"}`,
		"credentials/" + strings.Repeat("a", 64): `{"consumer":"ann","id":"k1"}`, "credentials/" + strings.Repeat("b", 64): `{"consumer":"ann","id":"k2"}`,
	}))
	for path, wants := range map[string][]string{
		"/ui/policy": {"3 refused 70 let pass, the last 5 h ago", "<td>none</td>", "ready to be enforced</span>: as it stands for 30 h",
			`would have refused 12</span>, the last 3 h ago: <a href="/ui/live?q=acls%2Fsharp">`, "stands so only for 4 h"},
		"/ui/policy/acls/busy": {"3 refused 70 let pass, the last 5 h ago", `href="/ui/live?q=acls%2Fbusy"`},
		"/ui/consumers":        {"used 6 h ago", "not used"},
	} {
		_, text := s.send(path, nil)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in it:\n%s", path, want, text)
			}
		}
	}
}
