package policy_test

import (
	"testing"

	"lictor/policy"
)

// Of a path that can be read as one for a narrower API its plugins hold as well,
// however it is spelled: whether the backend reads it so nobody knows.
func TestNoSpellingGetsRoundThePluginsOfAnotherReading(t *testing.T) { // D22, P4, P5, C17
	const adm, all = "/admin/x", "/other/x"
	for _, tt := range []struct {
		name, plugin string
		passes       int // of three requests in the API's own spelling, the first
		want         policy.Reason
	}{
		{"request-termination", `{"name":"request-termination"}`, 0, policy.ReasonTerminated},
		{"request-size-limiting", `{"name":"request-size-limiting","config":{"max_body":"5B"}}`, 0, policy.ReasonBodyTooLarge},
		{"rate-limiting", `{"name":"rate-limiting","config":{"minute":2}}`, 2, policy.ReasonRateLimit},
	} {
		_, set := newStore(t, policy.Options{}, "filters/all", `{"hosts":["ex.org"]}`, "filters/adm", `{"hosts":["ex.org"],"paths":["/admin"]}`,
			"apis/all", `{"filters":["all"],"backends":["http://b:1"]}`, "apis/adm", `{"filters":["adm"],"backends":["http://b:1"]}`,
			"plugins/p", tt.plugin, "plugin-mappings/p", `{"api":"adm","plugins":["p"]}`)
		limiter := new(policy.Limiter)
		for _, target := range []string{adm, "//admin/x", "/admin;a/x", "/o/..%2fadmin/x", "/o%5C..%5Cadmin/x", "/%2fadmin/x", all} {
			for i := range 3 {
				want := tt.want
				if target == all || target == adm && i < tt.passes {
					want = ""
				}
				if got := decideOn(t, set, limiter, target).Reason; got != want {
					t.Errorf("%s: %s the %d. time: got %q, want %q", tt.name, target, i+1, got, want)
				}
			}
		}
	}
}

// The answer tells of the limit of the API that the request went to.
func TestALimitOfAnotherReadingIsNotTold(t *testing.T) {
	_, set := newStore(t, policy.Options{}, "filters/all", `{"hosts":["ex.org"]}`, "filters/adm", `{"hosts":["ex.org"],"paths":["/admin"]}`,
		"apis/all", `{"filters":["all"],"backends":["http://b:1"]}`, "apis/adm", `{"filters":["adm"],"backends":["http://b:1"]}`,
		"plugins/p", `{"name":"rate-limiting","config":{"minute":1}}`, "plugin-mappings/p", `{"api":"adm","plugins":["p"]}`)
	limiter := new(policy.Limiter)
	if v := decideOn(t, set, limiter, "//admin/x"); !v.Allowed() || len(v.Limits.All()) != 0 {
		t.Errorf("got %q with the limits %+v", v.Reason, v.Limits.All())
	}
	if v := decideOn(t, set, limiter, "//admin/x"); v.Reason != policy.ReasonRateLimit || len(v.Limits.All()) != 1 {
		t.Errorf("got %q with the limits %+v", v.Reason, v.Limits.All())
	}
}

// A service that claims the host, and a method in another case, are no way round the
// rules of an API by filter either.
func TestNeitherAClaimNorACaseGetsRoundAnotherReading(t *testing.T) { // K2, D22
	_, set := newStore(t, policy.Options{}, "filters/adm", `{"hosts":["ex.org"],"paths":["/admin"]}`, "filters/any", `{"paths":["/any"]}`, "filters/post", `{"hosts":["ex.net"],"methods":["POST"]}`,
		"filters/net", `{"hosts":["ex.net"]}`, "apis/net", `{"filters":["net"],"backends":["http://b:1"]}`, "acls/post", `{"api":"post","consumers":["ann"]}`,
		"apis/adm", `{"filters":["adm"],"backends":["http://b:1"]}`, "apis/any", `{"filters":["any"],"backends":["http://b:1"]}`, "apis/post", `{"filters":["post"],"backends":["http://b:1"]}`,
		"acls/adm", `{"api":"adm","consumers":["ann"]}`, "acls/any", `{"api":"any","consumers":["ann"]}`)
	for _, tt := range []struct {
		method, host, target string
		want                 policy.Reason
	}{
		{"POST", "ex.org", "/admin/x", policy.ReasonNoCredentials},
		{"POST", "ex.org", "//admin/x", policy.ReasonNoCredentials},
		{"POST", "ex.org", "/o/..;/admin/x", policy.ReasonNoCredentials},
		{"POST", "ex.org", "//any/x", ""}, // the claim goes before a filter that names no host
		{"POST", "ex.org", "//other/x", ""},
		{"GET", "ex.net", "/x", ""},
		{"POST", "ex.net", "/x", policy.ReasonNoCredentials},
		{"post", "ex.net", "/x", policy.ReasonNoCredentials},
		{"Post", "ex.net", "//x", policy.ReasonNoCredentials},
		{"get", "ex.net", "/x", ""},
	} {
		r := &policy.Request{Method: tt.method, Host: tt.host, Port: 80, Path: mustPath(tt.target), Now: noon, Hosts: claims{"ex.org": "shop"}}
		route := set.Route(r)
		var v policy.Verdict
		set.Decide(r, &route, &v, nil)
		if v.Reason != tt.want {
			t.Errorf("%s %s%s, by %s: got %q, want %q", tt.method, tt.host, tt.target, route.By, v.Reason, tt.want)
		}
	}
}

// decideOn decides on a POST of ten bytes.
func decideOn(t *testing.T, set *policy.Set, limiter *policy.Limiter, target string) (v policy.Verdict) {
	t.Helper()
	r := &policy.Request{Method: "POST", Host: "ex.org", Port: 80, Path: mustPath(target), Length: 10, Now: noon, Limiter: limiter}
	route := set.Route(r)
	set.Decide(r, &route, &v, nil)
	return v
}
