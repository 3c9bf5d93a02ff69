package policy_test

import (
	"testing"

	"lictor/policy"
)

// TestCertificateIdentifies has clients show certificates instead of keys: the
// custom_id of a consumer is a name in them.
func TestCertificateIdentifies(t *testing.T) {
	s, set := newStore(t, policy.Options{}, with(
		"consumers/twin-a", `{"id":"t-1","name":"twin-a","custom_id":"twin"}`,
		"consumers/twin-b", `{"id":"t-2","name":"twin-b","custom_id":"twin"}`,
		"acls/1", `{"api":"svc","consumers":["ann"]}`,
		"plugins/k", `{"name":"key-auth"}`, "plugin-mappings/m", `{"api":"svc","plugins":["k"]}`)...)
	tests := []struct {
		name, line string
		names      []string
		want       string // the consumer, or the reason
	}{
		{"a name that is a custom_id", "GET http://x/svc", []string{"spiffe://x/y", "c-7"}, "ann"},
		{"a name that nobody has", "GET http://x/svc", []string{"c-8", "ann"}, "no_credentials"},
		{"a name that two have identifies neither", "GET http://x/svc", []string{"twin"}, "no_credentials"},
		{"no certificate", "GET http://x/svc", nil, "no_credentials"},
		{"a key says more than a certificate", "GET http://x/svc kb", []string{"c-7"}, "acl"},
		{"a bad key is not made good", "GET http://x/svc bad", []string{"c-7"}, "bad_credentials"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := ask(t, tt.line)
			r.Names = tt.names
			v := decide(set, r)
			got := string(v.Reason)
			if v.Allowed() {
				got = v.Identity.Name
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}

	// X14: once the consumer has another custom_id, its running answers are forbidden.
	r := ask(t, "GET http://x/svc")
	r.Names = []string{"c-7"}
	var route policy.Route
	var v policy.Verdict
	set.Decide(r, &route, &v, nil)
	facts := r.Facts(&route, &v)
	r.Names[0] = "overwritten"
	if set.Recheck(facts, noon, &v); !v.Allowed() {
		t.Errorf("recheck: %+v", v)
	}
	set, _ = s.put(t, "consumers/ann", `{"id":"a-1","name":"ann","custom_id":"c-9"}`)
	if set.Recheck(facts, noon, &v); v.Allowed() {
		t.Error("the certificate is still believed")
	}
}

// TestACertificateIsOnePerson deletes and doubles consumers that a certificate
// names: it never becomes somebody else's by it.
func TestACertificateIsOnePerson(t *testing.T) {
	s, _ := newStore(t, policy.Options{}, "plugins/k", `{"name":"key-auth"}`,
		"consumers/low", `{"id":"l","custom_id":"spiffe://corp/low"}`, "consumers/boss", `{"id":"b","custom_id":"boss.example"}`)
	tests := []struct {
		name  string
		docs  []string
		names []string
		want  string
	}{
		{"one name of several is known", nil, []string{"spiffe://corp/low", "low.example"}, "low"},
		{"names of two consumers", nil, []string{"spiffe://corp/low", "boss.example"}, ""},
		{"the same in another order", nil, []string{"boss.example", "spiffe://corp/low"}, ""},
		{"two consumers of the first name", []string{"consumers/twin", `{"id":"t","custom_id":"spiffe://corp/low"}`}, []string{"spiffe://corp/low", "boss.example"}, ""},
		{"two consumers of the last name", []string{"consumers/twin", `{"id":"t","custom_id":"low.example"}`, "consumers/twin2", `{"id":"u","custom_id":"low.example"}`},
			[]string{"boss.example", "low.example"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, _ := s.put(t, append(tt.docs, "groups/x", "{}")...)
			r := ask(t, "GET http://x/svc")
			r.Names = tt.names
			got := ""
			if v := decide(set, r); v.Identity != nil {
				got = v.Identity.Name
			}
			if got != tt.want {
				t.Errorf("it is %q, want %q", got, tt.want)
			}
			s.put(t, "consumers/twin", "-", "consumers/twin2", "-")
		})
	}
}
