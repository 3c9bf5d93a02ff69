package cli

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"lictor/admin/admintest"
	"lictor/policy"
	"lictor/policy/impact"
)

func TestPolicyDiffProvesWhatIsOpenedAndClosed(t *testing.T) { // R3
	s := admintest.Memory(t)
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("LICTOR_ADMIN_ADDR", server.URL)
	s.Write(t, policy.KindConsumers, "ci", `{"groups": ["reporting"]}`)
	s.Write(t, policy.KindACLs, "shop", `{"api": "shop", "groups": ["reporting"]}`)
	dir := tree(t, "acls/shop", `{"api": "shop", "groups": ["reporting"], "filters": ["export"]}`, "filters/export", `{"paths": ["/shop/export"]}`,
		"consumers/ci", `{"groups": ["reporting"]}`)
	const want = `+ filters/export
~ acls/shop
    filters: (none) -> ["export"]
1 to make, 1 to change, 0 to delete; 1 are the same.
CLOSES  acls/shop  consumers ci  any method  /shop/** but not /shop/export/** in any spelling, /shop/export/** in spellings alone that some backend reads otherwise
        e.g. GET /shop/any as ci from 127.0.0.1: is then 403 acl
never decided here: `
	for _, tt := range []struct {
		status int
		args   []string
	}{{0, nil}, {1, []string{"-exit-code"}}} {
		status, out := lictor(append([]string{"policy", "diff", "-impact", dir}, tt.args...)...)
		if status != tt.status || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, "proof: 8 classes of 1 API, complete\n") {
			t.Errorf("%v: got %d\n%s\nwant %d\n%s", tt.args, status, out, tt.status, want)
		}
	}
	var rep impact.Report
	if status, out := lictor("policy", "diff", "-impact", "-json", dir); status != 0 || json.Unmarshal([]byte(out), &rep) != nil || len(rep.Lines) != 1 || !rep.Complete || rep.Lines[0].Effect != impact.Closes {
		t.Errorf("got %d\n%s", status, out)
	}
	same := tree(t, "acls/shop", `{"api": "shop", "groups": ["reporting"]}`, "consumers/ci", `{"groups": ["reporting"]}`)
	if status, out := lictor("policy", "diff", "-impact", "-exit-code", same); status != 0 || !strings.HasSuffix(out, "proof: 0 classes of 0 APIs, complete\n") {
		t.Errorf("nothing changes: got %d\n%s", status, out)
	}
	limit := tree(t, "acls/shop", `{"api": "shop", "groups": ["reporting"]}`, "consumers/ci", `{"groups": ["reporting"]}`, "plugins/limit", `{"name": "rate-limiting", "config": {"minute": 5}}`)
	if status, out := lictor("policy", "diff", "-impact", "-exit-code", limit); status != 0 || !strings.Contains(out, "not decided here: plugins/limit changes, and with it how often requests pass") {
		t.Errorf("a limit comes: got %d\n%s", status, out)
	}
	wantRun(t, 2, "lictor policy diff: -json goes with -impact\n", "policy", "diff", "-json", dir)
	s.Write(t, policy.KindACLs, "broken", `{"api"`)
	if status, out := lictor("policy", "diff", "-impact", "-exit-code", dir); status != 1 || !strings.Contains(out, "NOT PROVEN: every API: acls/broken cannot be read") {
		t.Errorf("what is live cannot be read: got %d\n%s", status, out)
	}
}

// What the configuration says of ACLs, and which of two is older, is told by the
// running lictor: the proof depends on it.
func TestPolicyDiffKnowsWhatTheLivePolicyMeans(t *testing.T) { // R3, C6
	s := admintest.Memory(t)
	s.Write(t, policy.KindConsumers, "ci", `{}`)
	server := httptest.NewServer(s)
	defer server.Close()
	var client adminClient
	client.address = server.URL
	list, err := liveList(&client)
	if err != nil || len(list.Objects) != 1 || list.Objects[0].Created == 0 || list.BindConsumers {
		t.Fatalf("%+v, %v", list, err)
	}
	dir := tree(t, "consumers/ci", `{}`, "acls/shop", `{"api": "shop", "consumers": ["ci"]}`)
	for binds, want := range map[bool]string{false: "", true: "/*/**"} {
		plan, err := planApply(&client, dir, true)
		if err != nil {
			t.Fatal(err)
		}
		plan.live.BindConsumers = binds
		got := ""
		for _, l := range plan.impact().Lines {
			if l.Reason == string(policy.ReasonBoundConsumer) {
				got = strings.Join(l.Paths, " ")
			}
		}
		if got != want {
			t.Errorf("binds %v: closed to ci are %q, want %q", binds, got, want)
		}
	}
}
