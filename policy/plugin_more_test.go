package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"lictor/internal/uri"
	"lictor/policy"
)

// decideLong is a decision on a POST to /svc with a body of a length.
func decideLong(t *testing.T, set *policy.Set, length int64, key string) (v policy.Verdict) {
	t.Helper()
	h := header{}
	if key != "" {
		h["apikey"] = []string{key}
	}
	path, _, err := uri.ParsePath("/svc/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &policy.Request{Method: "POST", Host: "x", Port: 80, Path: &path, Fields: h, Length: length, Now: noon, Limiter: new(policy.Limiter)}
	route := set.Route(r)
	set.Decide(r, &route, &v, nil)
	return v
}

func TestBodiesAreLimitedByWhoSendsThem(t *testing.T) { // P4
	_, set := newStore(t, policy.Options{}, with(
		"plugins/all", `{"name":"request-size-limiting","config":{"max_body":"1KiB"}}`,
		"plugins/ann", `{"name":"request-size-limiting","config":{"allowed_payload_size":1}}`, "plugin-mappings/1", `{"api":"svc","plugins":["ann"],"consumers":["ann"]}`,
		"plugins/try", `{"name":"request-size-limiting","mode":"report","config":{"allowed_payload_size":10,"size_unit":"bytes"}}`, "plugin-mappings/2", `{"api":"svc","plugins":["try"]}`)...)
	for _, tt := range []struct {
		name   string
		key    string
		length int64
		want   policy.Reason
		most   int64
		would  int
	}{
		{"a body as long as the limit passes", "", 1024, "", 1024, 1},
		{"a longer one is refused by its head", "", 1025, policy.ReasonBodyTooLarge, 1024, 1},
		{"one of a length that nobody tells passes, and is held to the limit", "", -1, "", 1024, 0},
		{"no body passes", "", 0, "", 1024, 0},
		{"a short one is none that a report would name", "", 10, "", 1024, 0},
		{"a consumer's own limit wins", "ka", 1 << 20, "", 1 << 20, 0},
		{"and is one", "ka", 1<<20 + 1, policy.ReasonBodyTooLarge, 1 << 20, 0},
	} {
		v := decideLong(t, set, tt.length, tt.key)
		if v.Reason != tt.want || v.MaxBody != tt.most || len(v.Would()) != tt.would {
			t.Errorf("%s: got %q, %d bytes, %d reported; want %q, %d, %d", tt.name, v.Reason, v.MaxBody, len(v.Would()), tt.want, tt.most, tt.would)
		}
		if v.Reason != "" && v.Status != 413 {
			t.Errorf("%s: status %d", tt.name, v.Status)
		}
	}
}

func TestATerminatedAPIAnswersByItself(t *testing.T) { // P5
	s, set := newStore(t, policy.Options{}, with("acls/1", `{"api":"svc","consumers":["ann"]}`,
		"plugins/t", `{"name":"request-termination","config":{"message":"Back at noon"}}`, "plugin-mappings/1", `{"api":"svc","plugins":["t"]}`,
		"plugins/limit", `{"name":"rate-limiting","config":{"minute":1}}`)...)
	v := decideLong(t, set, 0, "ka")
	if v.Reason != policy.ReasonTerminated || v.Status != 503 || v.Message != "Back at noon" || v.Page != nil || v.Rule.Key != "lictor/policy/plugins/t" {
		t.Errorf("got %+v", v)
	}
	if all := v.Limits.All(); len(all) != 0 {
		t.Errorf("what was never let pass used up a limit: %v", all)
	}
	if v = decideLong(t, set, 0, ""); v.Reason != policy.ReasonNoCredentials {
		t.Errorf("somebody without a key is told %q, want nothing of what is behind it", v.Reason)
	}
	set, _ = s.put(t, "plugins/t", `{"name":"request-termination","config":{"status_code":418,"body":"<p>tea","content_type":"text/html"}}`)
	if v = decideLong(t, set, 0, "ka"); v.Status != 418 || v.Page == nil || *v.Page != (policy.Page{ContentType: "text/html", Body: "<p>tea"}) {
		t.Errorf("got %+v, %+v", v, v.Page)
	}
	set, _ = s.put(t, "plugins/t", `{"name":"request-termination","mode":"report"}`)
	if v = decideLong(t, set, 0, "ka"); !v.Allowed() || len(v.Would()) != 1 || v.Would()[0].Reason != policy.ReasonTerminated {
		t.Errorf("in report mode: got %+v", v)
	}
}

func TestWhatLastsIsCutByATermination(t *testing.T) { // P5, X14
	s, set := newStore(t, policy.Options{}, with("plugins/size", `{"name":"request-size-limiting","config":{"max_body":"1B"}}`)...)
	path, _, _ := uri.ParsePath("/svc/x", nil)
	r := &policy.Request{Method: "GET", Host: "x", Port: 80, Path: &path, Length: 1, Now: noon}
	route := set.Route(r)
	var v policy.Verdict
	if set.Decide(r, &route, &v, nil); !v.Allowed() {
		t.Fatalf("got %+v", v)
	}
	facts := r.Facts(&route, &v)
	if set.Recheck(facts, noon, &v); !v.Allowed() {
		t.Errorf("a body on its way is measured anew: %+v", v)
	}
	set, _ = s.put(t, "plugins/t", `{"name":"request-termination"}`)
	if set.Recheck(facts, noon, &v); v.Reason != policy.ReasonTerminated {
		t.Errorf("got %q", v.Reason)
	}
}

func TestBadSettingsOfPluginsAreNamed(t *testing.T) { // P4, P5
	for _, tt := range []struct{ plugin, config, want string }{
		{"request-size-limiting", `{"max_body":"8 MB"}`, `config.max_body: is "8 MB": want a size such as "512", "32KiB" or "8MiB"`},
		{"request-size-limiting", `{"max_body":"0"}`, "want a size from 1 "},
		{"request-size-limiting", `{"allowed_payload_size":8,"size_unit":"pounds"}`, `config.size_unit: is pounds, want`},
		{"request-termination", `{"status_code":101}`, "config.status_code: is 101, want a whole number"},
		{"request-termination", `{"status_code":600}`, "config.status_code: is 600, want a whole number"},
		{"request-termination", `{"content_type":"text/html"}`, "config.content_type: is that of config.body, which is missing"},
		{"request-termination", `{"body":"b","content_type":"text/html\r\nX: y"}`, "config.content_type: is no value of a header"},
		{"request-termination", `{"body":"` + strings.Repeat("b", 64<<10+1) + `"}`, "config.body: has 65537 bytes, want at most 65536"},
	} {
		s := &store{Builder: policy.NewBuilder(policy.Options{})}
		_, rejected := s.put(t, "plugins/p", `{"name":"`+tt.plugin+`","config":`+tt.config+`}`)
		if len(rejected) != 1 || !strings.Contains(fmt.Sprint(rejected[0].Problems), tt.want) {
			t.Errorf("%s %.60s: got %v, want %q", tt.plugin, tt.config, rejected, tt.want)
		}
	}
}
