package policy_test

import (
	"strings"
	"testing"

	"lictor/policy"
)

// claims are hosts by their service, as registrations claim them.
type claims map[string]string

func (c claims) ClaimOf(host string) (service, claim string) {
	if s := c[host]; s != "" {
		return s, host
	}
	if _, parent, ok := strings.Cut(host, "."); ok && c["*."+parent] != "" {
		return c["*."+parent], "*." + parent
	}
	return "", ""
}

// chat is a service with two parts.
var chat = []string{
	"filters/admin-paths", `{"paths":["/chat/admin"]}`,
	"filters/writes", `{"paths":["/chat/open"],"methods":["POST"]}`,
	"apis/chat-admin", `{"service":"chat","filters":["admin-paths"]}`,
	"apis/chat-open", `{"backends":["service:chat"],"filters":["writes"]}`,
	"apis/talk", `{"service":"chat"}`,
	"groups/admins", `{}`,
	"groups/staff", `{}`,
	"consumers/root", `{"groups":["admins"]}`,
	"consumers/ann", `{"groups":["staff"]}`,
	credential("k-root"), `{"consumer":"root"}`,
	credential("k-ann"), `{"consumer":"ann"}`,
	"acls/admin", `{"api":"chat-admin","groups":["admins"]}`,
	"acls/chat", `{"api":"chat","groups":["staff"]}`,
	"acls/talk", `{"api":"talk","groups":["staff"]}`,
	"mappings/chat.example.org", `{"backends":["service:chat"]}`,
}

func TestPartsOfAService(t *testing.T) { // K2
	_, set := newStore(t, policy.Options{}, chat...)
	hosts := claims{"chat.example.com": "chat", "*.chat.example.com": "chat", "chat.example.org": "thief", "slash.example.com": "a/b"}
	tests := []struct {
		line               string
		by                 policy.RouteBy
		api, service, rest string
	}{
		{"GET http://x/chat/room", policy.BySegment, "chat", "chat", "/room"},
		{"GET http://x/chat/admin/x", policy.ByFilter, "chat-admin", "chat", "/admin/x"},
		{"GET http://x/chat-admin/x", policy.BySegment, "chat-admin", "chat-admin", "/x"},
		{"POST http://x/chat/open", policy.ByFilter, "chat-open", "chat", "/open"},
		{"GET http://x/chat/open", policy.BySegment, "chat", "chat", "/open"},
		{"GET http://x/talk/room", policy.BySegment, "talk", "chat", "/room"},
		{"GET http://chat.example.org/admin/x", policy.ByHost, "chat.example.org", "chat", "/admin/x"},
		{"GET http://chat.example.com/room", policy.ByRegistration, "chat", "chat", "/room"},
		{"GET http://chat.example.com/", policy.ByRegistration, "chat", "chat", "/"},
		{"GET http://a.chat.example.com/room", policy.ByRegistration, "chat", "chat", "/room"},
		{"GET http://chat.example.com/admin/x", policy.ByRegistration, "chat-admin", "chat", "/admin/x"},
		{"POST http://chat.example.com/open", policy.ByRegistration, "chat-open", "chat", "/open"},
		{"GET http://slash.example.com/chat/x", policy.BySegment, "chat", "chat", "/x"},
	}
	for _, tt := range tests {
		r := ask(t, tt.line)
		r.Hosts = hosts
		if got := set.Route(r); got.By != tt.by || got.API != tt.api || got.Service != tt.service || got.Rest != tt.rest || got.Backends != nil {
			t.Errorf("%s: got %+v, want %+v", tt.line, got, tt)
		}
	}
	r := ask(t, "GET http://a.chat.example.com/x")
	r.Hosts = hosts
	if got := set.Route(r); got.Claim != "*.chat.example.com" || got.Explain().Claim != got.Claim || got.Explain().By != "registration" {
		t.Errorf("the route is explained as %+v", got.Explain())
	}
}

// TestNoSpellingFallsThroughToTheWiderAPI: K2, of the path, of the method, at a
// claimed host.
func TestNoSpellingFallsThroughToTheWiderAPI(t *testing.T) {
	_, set := newStore(t, policy.Options{}, chat...)
	for line, want := range map[string]policy.Reason{
		"GET http://x/chat/room k-ann":                               "",
		"GET http://x/chat/room k-root":                              "acl",
		"GET http://x/chat/admin k-root":                             "",
		"GET http://x/chat/admin k-ann":                              "acl",
		"GET http://x/chat/%61dmin k-ann":                            "acl",
		"GET http://x/chat/x/../admin k-ann":                         "acl",
		"GET http://x/chat//admin k-ann":                             "bad_path",
		"GET http://x/chat//admin k-root":                            "bad_path",
		"GET http://x/chat/x/..;/admin k-ann":                        "bad_path",
		"GET http://x/chat/x/..%2fadmin k-ann":                       "bad_path",
		`GET http://x/chat/\admin k-ann`:                             "bad_path",
		"GET http://x/chat/admin;v=1 k-ann":                          "bad_path",
		"GET http://x/chat/admin//x k-root":                          "", // the same API in every reading
		"GET http://x/chat/a;b k-ann":                                "",
		"GET http://x/other/..;/chat/admin k-ann":                    "bad_path",
		"post http://x/chat/open k-ann":                              "bad_path",
		"POST http://x/chat/open":                                    "",
		"get http://x/chat/room k-ann":                               "",
		"GET http://chat.example.com/room k-ann":                     "",
		"GET http://chat.example.com/room":                           "no_credentials",
		"GET http://chat.example.com/admin k-ann":                    "acl",
		"GET http://chat.example.com/admin k-root":                   "",
		"GET http://chat.example.com//admin k-root":                  "bad_path",
		"GET http://chat.example.com/x/..;/admin k-ann":              "bad_path",
		"GET http://chat.example.com/;x/admin k-ann":                 "bad_path",
		"post http://chat.example.com/open k-ann":                    "bad_path",
		"GET http://chat.example.org/admin":                          "", // an object of the policy has its own rules
		"GET http://chat.example.org/x/..;/admin":                    "",
		"GET http://x/talk/room k-ann":                               "",
		"GET http://x/talk/room":                                     "no_credentials",
		"GET http://x/chat-admin/room":                               "no_credentials",
		"GET http://x/chat/administrator;v=1 k-ann":                  "",
		"GET http://x/chat/admin%20x k-ann":                          "",
		"GET http://nobody.example.com/chat/x%2Fadmin/../room k-ann": "",
	} {
		r := ask(t, line)
		r.Hosts = claims{"chat.example.com": "chat"}
		if v := decide(set, r); v.Reason != want || v.Reason == "bad_path" && (v.Status != 400 || !strings.HasPrefix(v.Rule.Key, "lictor/policy/apis/chat-")) {
			t.Errorf("%s: got %q (%d, %s), want %q", line, v.Reason, v.Status, v.Rule.Key, want)
		}
	}
}

// TestPartsHoldWhicheverSpelling tries every trick on a part: what passes as the
// wider API is in no reading of any backend the part's.
func TestPartsHoldWhicheverSpelling(t *testing.T) {
	_, set := newStore(t, policy.Options{}, "filters/f", `{"paths":["/svc/admin"]}`, "apis/part", `{"service":"svc","filters":["f"]}`,
		"filters/no", `{"methods":["NONE"]}`, "acls/part", `{"api":"part","filters":["no"]}`)
	for _, target := range tricks {
		if got := try(t, set, "GET http://x"+target); got != "bad_path" && got != "acl" {
			t.Errorf("%q: reason %q, want bad_path or acl", target, got)
		}
	}
	for _, target := range elsewhere {
		if got := try(t, set, "GET http://x"+target); got != "" {
			t.Errorf("%q: reason %q, want none", target, got)
		}
	}
	for _, target := range append(tricks, elsewhere...) {
		checkTrick(t, set, target)
	}
}

func TestAClaimIsNoWayRoundThePolicy(t *testing.T) { // K2, A17, X6
	hosts := claims{"shop.example.com": "shop", "shut.example.com": "shut", "api.example.com": "shop", "b.example.com": "back"}
	docs := []string{
		"blacklist/b", "/shop/admin\nservice:shut\nhost.example.com",
		"filters/api", `{"hosts":["api.example.com"]}`,
		"filters/get", `{"methods":["GET"]}`,
		"apis/own", `{"filters":["api"]}`,
		"apis/rest", `{"filters":["get"]}`,
		"apis/back", `{"backends":["http://10.0.0.1"],"protected_headers":["X-In"]}`,
		"acls/host", `{"api":"shop","filters":["get"]}`,
	}
	s, set := newStore(t, policy.Options{}, docs...)
	tests := map[string]policy.Reason{
		"GET http://shop.example.com/x":           "",
		"POST http://shop.example.com/x":          "acl",
		"GET http://shop.example.com/admin/x":     "blacklist",
		"GET http://shop.example.com/x/..;/admin": "blacklist",
		"GET http://shut.example.com/x":           "blacklist",
	}
	check := func(set *policy.Set) {
		t.Helper()
		for line, want := range tests {
			r := ask(t, line)
			r.Hosts = hosts
			if v := decide(set, r); v.Reason != want {
				t.Errorf("%s: got %q, want %q", line, v.Reason, want)
			}
		}
	}
	check(set)
	routed := func(set *policy.Set, line string) policy.Route {
		t.Helper()
		r := ask(t, line)
		r.Hosts = hosts
		return set.Route(r)
	}
	if got := routed(set, "GET http://api.example.com/x"); got.By != policy.ByFilter || got.API != "own" {
		t.Errorf("a filter that names the host: %+v", got)
	}
	if got := routed(set, "GET http://shop.example.com/x"); got.By != policy.ByRegistration {
		t.Errorf("a filter that names no host: %+v", got)
	}
	if got := routed(set, "POST http://b.example.com/x"); got.Backends == nil || len(got.Protected) != 1 || got.Rule.Key != "lictor/policy/apis/back" {
		t.Errorf("an API object of the service's name: %+v", got)
	}
	set, _ = s.put(t, "mappings/*.example.com", `{"backends":["http://10.0.0.1"]}`)
	if got := routed(set, "GET http://shop.example.com/x"); got.By != policy.ByHost || !set.Maps("shop.example.com") || set.Maps("*.shop.example.com") || !set.Maps("*.example.com") {
		t.Errorf("a mapping that covers the host: %+v", got)
	}
	s.put(t, "mappings/*.example.com", "-")
	// What can not be read may be a part of the service.
	set, rejected := s.put(t, "apis/broken", `{"service":7,"filters":["broken"]}`, "filters/broken", `{"paths":["/shop/part"]}`)
	if len(rejected) != 1 {
		t.Fatalf("rejected %+v", rejected)
	}
	tests["GET http://shop.example.com/part"] = policy.ReasonPolicyUnavailable
	check(set)
}

func TestServicesAsBackendsAreChecked(t *testing.T) { // K2, B13
	for doc, want := range map[string]string{
		`{"backends":["service:chat"]}`:                     "",
		`{"backends":["service:"]}`:                         `backends[0]: "" is no service name`,
		`{"backends":["service:a/b"]}`:                      `backends[0]: "a/b" is no service name`,
		`{"backends":["service:a","service:b"]}`:            `backends[0]: "service:a" is a service, want it alone; backends[1]: "service:b" is a service, want it alone`,
		`{"backends":["http://h","service:b"]}`:             `backends[1]: "service:b" is a service, want it alone`,
		`{"backends":["service:a"],"service":"a"}`:          "",
		`{"backends":["service:a"],"service":"b"}`:          `service: is "b", and the backends are others: want one of them`,
		`{"backends":["http://h"],"service":"b"}`:           `service: is "b", and the backends are others: want one of them`,
		`{"service":"a/b"}`:                                 `service: "a/b" is no service name`,
		`{"service":"a","protected_headers":["X-A"]}`:       "",
		`{"service":"a","filters":["none"]}`:                "",
		`{"backends":["SERVICE:a"]}`:                        `backends[0]: "SERVICE:a" is no absolute http or https URL`,
		`{"backends":["service:a"],"filters":["none"]}`:     "",
		`{"backends":["http://h/service:a","http://h:80"]}`: "",
	} {
		s, _ := newStore(t, policy.Options{})
		_, rejected := s.put(t, "apis/x", doc)
		got := ""
		if len(rejected) > 0 {
			got = strings.ReplaceAll(rejected[0].Problems.Error(), "line 1: ", "")
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", doc, got, want)
		}
	}
}

func TestServicesThatNobodyKnowsAreNoted(t *testing.T) { // K2
	_, set := newStore(t, policy.Options{}, "apis/a", `{"service":"known"}`, "apis/b", `{"service":"gone"}`,
		"mappings/m.example.com", `{"backends":["service:gone"]}`, "mappings/u.example.com", `{"backends":["http://gone"]}`)
	var got []string
	for _, n := range set.Notes(func(service string) bool { return service == "known" }) {
		got = append(got, n.Path+" "+n.Field)
	}
	if want := "lictor/policy/apis/b service, lictor/policy/mappings/m.example.com backends"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPartsAndClaimsCostNoAllocation(t *testing.T) { // K2
	_, set := newStore(t, policy.Options{}, chat...)
	hosts := claims{"chat.example.com": "chat"}
	for _, line := range []string{"GET http://chat.example.com/room", "GET http://chat.example.com/admin", "GET http://x/chat/x;/admin", "get http://x/chat/room"} {
		r := ask(t, line)
		r.Hosts = hosts
		var v policy.Verdict
		run := func() { route := set.Route(r); set.Decide(r, &route, &v, nil) }
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", line, n)
		}
	}
}
