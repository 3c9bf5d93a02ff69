package objects_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"lictor/admin/admintest"
	"lictor/policy"
)

func put(key, value, more string) string {
	return fmt.Sprintf(`{"op":"put","key":%q,"value":%q%s}`, key, base64.StdEncoding.EncodeToString([]byte(value)), more)
}

func TestObjects(t *testing.T) { // contract 1, 5
	admintest.Run(t, func(t *testing.T, s *admintest.Server) {
		send := func(status int, ops ...string) admintest.Answer {
			t.Helper()
			return s.Want(t, status, "POST", "/policy/objects", `{"operations":[`+strings.Join(ops, ",")+`]}`)
		}
		send(200, put("acls/a", `{"api":"x","groups":["g"]}`, `,"absent":true`), put("blacklist/b", "/admin\n", ""))
		a := s.Want(t, 200, "GET", "/policy/objects", "")
		all := a.JSON["objects"].([]any)
		if len(all) != 2 || all[0].(map[string]any)["key"] != "acls/a" || s.Value(policy.KindBlacklist, "b") != "/admin\n" {
			t.Fatalf("got %s", a.Text)
		}
		index := all[0].(map[string]any)["index"].(float64)
		send(409, put("acls/a", `{"api":"y","groups":["g"]}`, `,"absent":true`), put("groups/g", "{}", ""))
		send(412, put("acls/a", `{"api":"y","groups":["g"]}`, fmt.Sprintf(`,"index":%d`, int64(index)+1)), put("groups/g", "{}", ""))
		send(412, `{"op":"verify","key":"acls/a","index":99}`, put("groups/g", "{}", ""))
		if s.Value(policy.KindGroups, "g") != "" {
			t.Error("half a transaction was done")
		}
		send(200, fmt.Sprintf(`{"op":"verify","key":"acls/a","index":%d}`, int64(index)), `{"op":"delete","key":"blacklist/b"}`)
		s.Want(t, 404, "GET", "/blacklist/b", "")
		s.Write(t, policy.KindACLs, "broken", `{"api":5}`)
		if a = s.Want(t, 200, "GET", "/policy/objects", ""); !strings.Contains(a.Text, `"error": "line 1: api: is a number, want a string; `) {
			t.Errorf("got %s", a.Text)
		}
	})
}

func TestObjectsAreChecked(t *testing.T) {
	s := admintest.Memory(t)
	for _, c := range []struct{ name, body, want string }{
		{"no JSON", `{"operations":`, "Cannot parse JSON body"},
		{"an unknown field", `{"operations":[],"more":1}`, "more"},
		{"nothing to do", `{"operations":[]}`, "no operations"},
		{"an unknown kind", `{"operations":[{"op":"delete","key":"nonsense/x"}]}`, "operations[0]: key is"},
		{"no name", `{"operations":[{"op":"delete","key":"acls/"}]}`, "operations[0]: key is"},
		{"an unknown op", `{"operations":[{"op":"destroy","key":"acls/x"}]}`, "want put, delete or verify"},
		{"a value that is not base64", `{"operations":[{"op":"put","key":"acls/x","value":"?"}]}`, "Cannot parse JSON body"},
		{"a value to delete", `{"operations":[{"op":"delete","key":"acls/x","value":""}]}`, "value is only for put"},
		{"a bad document", `{"operations":[` + put("acls/x", "api = 5", "") + `]}`, "line 1: api: is a number"},
		{"a bad entry", `{"operations":[` + put("blacklist/x", "/a\nnot an entry\n", "") + `]}`, "line 2: entries[1]"},
		{"a name that is no file's", `{"operations":[` + put("blacklist/.x", "/a\n", "") + `]}`, "is not a kind and a name"},
		{"twice the same key", `{"operations":[{"op":"delete","key":"acls/x"},{"op":"delete","key":"acls/x"}]}`, "two operations"},
		{"a check that contradicts itself", `{"operations":[{"op":"delete","key":"acls/x","absent":true,"index":5}]}`, "contradictory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.Play(t, admintest.Step{Method: "POST", Path: "/policy/objects", Body: c.body, Status: 400, Want: c.want})
		})
	}
	var ops []string
	for i := range 65 {
		ops = append(ops, fmt.Sprintf(`{"op":"delete","key":"acls/%d"}`, i))
	}
	s.Play(t, admintest.Step{Method: "POST", Path: "/policy/objects", Body: `{"operations":[` + strings.Join(ops, ",") + `]}`, Status: 413, Want: "at most 64"})
}
