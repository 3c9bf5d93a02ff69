package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"lictor/policy"
)

// TestAListInAnotherFormatIsUnreadable feeds lists of which no line is an entry
// (X6): the former value holds, and without one they close what they would have
// guarded.
func TestAListInAnotherFormatIsUnreadable(t *testing.T) {
	for name, text := range map[string]string{
		"YAML":                 "- evil.example\n- 10.0.0.0/8\n",
		"a markdown list":      "* evil.example\n* /admin\n",
		"a numbered list":      "1. evil.example\n2. /admin\n",
		"a hosts file":         "0.0.0.0 evil.example\n127.0.0.1 other.example\n",
		"quoted lines":         "\"evil.example\"\n\"other.example\"\n",
		"typographic quotes":   "\u201cevil.example\u201d\n",
		"a list with commas":   "evil.example,\nother.example,\n",
		"CSV":                  "evil.example;ads\nother.example;ads\n",
		"an adblock list":      "||evil.example^\n||other.example^\n",
		"UTF-16":               "e\x00v\x00i\x00l\x00.\x00e\x00x\x00\n\x00",
		"rules of a firewall":  "deny evil.example;\ndeny 10.0.0.0/8;\n",
		"words before entries": "DENY evil.example\nBLOCK other.example\n",
		"JSON with such":       `["- evil.example"]`,
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, policy.Options{}, "blacklist/ops", "evil.example")
			set, rejected := s.put(t, "blacklist/ops", text)
			if len(rejected) != 1 || !rejected[0].Kept || out(set, "GET", "evil.example", 80, "/") != "blacklist" {
				t.Errorf("in the place of a good list: %+v, evil.example is %q", rejected, out(set, "GET", "evil.example", 80, "/"))
			}
			s, _ = newStore(t, policy.Options{})
			set, rejected = s.put(t, "blacklist/ops", text)
			if len(rejected) != 1 || !rejected[0].Closes || out(set, "GET", "evil.example", 80, "/") != policy.ReasonPolicyUnavailable {
				t.Errorf("as a new list: %+v, evil.example is %q", rejected, out(set, "GET", "evil.example", 80, "/"))
			}
		})
	}
}

// TestTooManyAlike checks that entries which a request is compared with one by
// one are bounded, and that the bound opens nothing.
func TestTooManyAlike(t *testing.T) {
	var ports, methods strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&ports, "evil.example:%d\n", 8000+i)
		fmt.Fprintf(&methods, "M%s http://evil.example/\n", strings.Repeat("A", i))
	}
	for _, text := range []string{ports.String(), methods.String()} {
		s, _ := newStore(t, policy.Options{}, "blacklist/ops", "evil.example")
		if set, rejected := s.put(t, "blacklist/ops", text); len(rejected) != 1 || !rejected[0].Kept || out(set, "GET", "evil.example", 80, "/") != "blacklist" {
			t.Errorf("got %+v", rejected)
		}
	}
}

// TestWhatCannotBeReadCloses holds objects that cannot be read, or refer to
// nothing, and have no former value against what they would have guarded (X6).
// Each is tried behind a good policy in which everything is open.
func TestWhatCannotBeReadCloses(t *testing.T) {
	const chat, shop, keyed = "GET http://x/chat/a", "GET http://x/shop/a", "GET http://x/chat/a ka"
	const none, shut, key = policy.Reason(""), policy.ReasonPolicyUnavailable, policy.ReasonNoCredentials
	tests := []struct {
		name   string
		docs   []string
		want   expect
		closes string // told by Closings
	}{
		{"an ingress blacklist closes the gateway", []string{"blacklist/b", `{"entries":["/chat"],"direction":"ingress",}`},
			expect{chat: shut, shop: shut}, "the gateway"},
		{"an egress blacklist leaves the gateway open", []string{"blacklist/b", `{"direction":"egress","entries":["/chat"}`},
			expect{chat: none, shop: none}, "the egress"},
		{"a blacklist whose direction is misspelt closes both", []string{"blacklist/b", `{"entries":["/chat"],"direction":"ingres"}`},
			expect{chat: shut}, "the gateway and the egress"},
		{"a blacklist in report mode would have closed nothing", []string{"blacklist/b", `{"mode":"report","entries":["/chat"`},
			expect{chat: none}, ""},
		{"a whitelist that breaks off may be one of the gateway", []string{"whitelist/w", `{"entries":["/chat"]`},
			expect{chat: "whitelist"}, "the gateway and the egress but for what other whitelists admit"},
		{"an ACL closes its API", []string{"acls/a", `{"api":"chat","groups":7}`}, expect{chat: "acl", shop: none}, "API chat"},
		{"an ACL whose API cannot be read closes all", []string{"acls/a", `{"groups":["g"],"api":`}, expect{chat: shut, shop: shut}, "every API"},
		{"an ACL whose API is given twice closes all", []string{"acls/a", `{"api":"shop","api":"chat","groups":["g"]}`}, expect{chat: shut, shop: shut}, "every API"},
		{"an ACL whose API is misspelt closes all", []string{"acls/a", `{"apii":"chat","groups":["g"]}`}, expect{chat: shut, shop: shut}, "every API"},
		{"a lock of a tool is no ACL", []string{"acls/.lock", ``}, expect{chat: none, shop: none}, ""},
		{"a plugin mapping demands a key of its API", []string{"plugins/k", `{"name":"key-auth","global":false}`, "plugin-mappings/m", `{"id":"m","api":"chat","plugins":["k"],}`},
			expect{chat: key, keyed: none, shop: none}, "API chat without a key"},
		{"a plugin mapping whose API cannot be read demands a key of all", []string{"plugin-mappings/m", `{"plugins":["k"`},
			expect{chat: key, keyed: none, shop: key}, "every API without a key"},
		{"a mapping of a plugin that does not exist demands a key", []string{"plugins/auth", `{"name":"key-auth","global":false}`, "plugin-mappings/m", `{"api":"chat","plugins":["auht"]}`},
			expect{chat: key, keyed: none, shop: none}, "API chat without a key"},
		{"a mapping of a group that does not exist demands a key", []string{"plugin-mappings/m", `{"api":"chat","groups":["nosuch"]}`},
			expect{chat: key, keyed: none, shop: none}, "API chat without a key"},
		{"a group that cannot be read demands a key where it is mapped", []string{"groups/g", `{"plugins":`, "plugin-mappings/m", `{"api":"chat","groups":["g"]}`},
			expect{chat: key, keyed: none, shop: none}, "API chat without a key"},
		{"a group that cannot be read closes nothing where it is not mapped", []string{"groups/g", `{"plugins":`}, expect{chat: none}, ""},
		{"a rate limit that cannot be read demands a key where it is mapped", []string{"plugins/r", `{"name":"rate-limiting","config":{"minute":"ten"}}`, "plugin-mappings/m", `{"api":"chat","plugins":["r"]}`},
			expect{chat: key, keyed: none, shop: none}, "API chat without a key"},
		{"a global plugin that cannot be read demands a key of all", []string{"plugins/r", `{"na`}, expect{chat: key, keyed: none, shop: key}, "every API without a key"},
		{"a plugin that says it is not global closes nothing", []string{"plugins/r", `{"name":"key-auth","global":false,"config":7}`}, expect{chat: none}, ""},
		{"a plugin that is not enabled closes nothing", []string{"plugins/r", `{"name":"key-auth","enabled":false,"config":7}`}, expect{chat: none}, ""},
		{"an API closes its name", []string{"apis/chat", `{"protected_headers":["X-In"],"filters":[],"backends":[7]}`}, expect{chat: shut, shop: none}, "API chat"},
		{"an API takes what its filters cover, and closes it", []string{"filters/f", `{"paths":["/shop/in"]}`, "apis/chat", `{"filters":["f"],"backends":[7]}`},
			expect{chat: shut, shop: none, "GET http://x/shop/in/a": shut}, "API chat"},
		{"an API whose filters cannot be read may have taken anything", []string{"apis/chat", `{"protected_headers":["X-In"],"filters":`}, expect{chat: shut, shop: shut}, "API chat, and every"},
		{"a filter that cannot be read routes to what is closed", []string{"filters/f", `{"paths":["/shop/in"],"methods":["- x"]}`, "apis/chat", `{"filters":["f"]}`},
			expect{chat: none, shop: none, "GET http://x/shop/in/a": shut}, "what it grants or routes"},
		{"a filter that cannot be read does not narrow a demand", []string{"filters/f", `{"paths":7}`, "plugins/k", `{"name":"key-auth"}`, "plugin-mappings/m", `{"api":"chat","plugins":["k"],"filters":["f"]}`},
			expect{chat: key, keyed: none, shop: none}, "what it grants or routes"},
		{"a filter that does not exist does not narrow a demand", []string{"plugins/k", `{"name":"key-auth"}`, "plugin-mappings/m", `{"api":"chat","plugins":["k"],"filters":["f"]}`},
			expect{chat: key, keyed: none, shop: none}, ""},
		{"a mapping closes its domain", []string{"mappings/a.example", `{"backends":7}`}, expect{"GET http://a.example/chat": shut, chat: none}, "domain a.example"},
		{"a wildcard mapping closes its domains", []string{"mappings/*.a.example", `{`}, expect{"GET http://b.a.example/chat": shut, chat: none}, "domain *.a.example"},
		{"a consumer that cannot be read is nobody", []string{"consumers/ann", `{"groups":7}`, "acls/a", `{"api":"chat","groups":["staff"]}`}, expect{keyed: key}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := with()
			for i := 0; i < len(good); i += 2 {
				if good[i] == tt.docs[0] {
					good = append(good[:i], good[i+2:]...)
					break
				}
			}
			s, _ := newStore(t, policy.Options{}, good...)
			set, rejected := s.put(t, tt.docs...)
			tt.want.check(t, set)
			told := fmt.Sprint(set.Closings())
			if tt.closes == "" && told != "[]" || !strings.Contains(told, tt.closes) {
				t.Errorf("closings are %s, want %q; rejected %v", told, tt.closes, rejected)
			}
			// What is repaired or deleted opens again.
			for i := 0; i < len(tt.docs); i += 2 {
				set, _ = s.put(t, tt.docs[i], "-")
			}
			expect{chat: none, shop: none}.check(t, set)
			if left := set.Closings(); len(left) > 0 {
				t.Errorf("still closed: %v", left)
			}
		})
	}
}

// TestFormerValuesHold breaks objects that were good.
func TestFormerValuesHold(t *testing.T) {
	docs := with("blacklist/b", `["/shop/bad"]`, "plugins/k", `{"name":"key-auth","global":false}`, "plugin-mappings/m", `{"api":"chat","plugins":["k"]}`,
		"acls/a", `{"api":"adm","groups":["staff"]}`, "filters/f", `{"paths":["/pub"]}`, "apis/adm", `{"filters":["f"]}`, "groups/g", `{}`)
	s, set := newStore(t, policy.Options{}, docs...)
	want := expect{"GET http://x/shop/bad": "blacklist", "GET http://x/shop": "", "GET http://x/chat": "no_credentials", "GET http://x/chat ka": "",
		"GET http://x/pub": "no_credentials", "GET http://x/pub ka": "", "GET http://x/pub kb": "acl"}
	want.check(t, set)
	for i := 0; i < len(docs); i += 2 {
		for _, text := range []string{"{", "", `{"nosuch":1}`, "\x00", "[" + docs[i+1]} {
			if strings.HasPrefix(docs[i], "blacklist/") && text == "" {
				continue // an empty list
			}
			var rejected []*policy.Rejection
			if set, rejected = s.put(t, docs[i], text); len(rejected) == 1 {
				want.check(t, set)
			}
			s.put(t, docs[i], docs[i+1])
		}
	}
}

// TestOtherReadingsOfAPath asks for what filters route by path in spellings that
// only some backends read so.
func TestOtherReadingsOfAPath(t *testing.T) {
	_, set := newStore(t, policy.Options{}, with("filters/private", `{"paths":["/hello/private"]}`, "apis/private", `{"filters":["private"]}`,
		"acls/a", `{"api":"private","groups":["staff"]}`,
		"filters/public", `{"paths":["/shut/public"]}`, "apis/public", `{"filters":["public"]}`, "acls/b", `{"api":"shut","groups":["staff"]}`)...)
	expect{
		"GET http://x/hello/a":                        "",
		"GET http://x/hello/private":                  "no_credentials",
		"GET http://x/hello/x/..;/private":            "no_credentials",
		"GET http://x/hello/%2e%2e%2fhello/private/x": "no_credentials",
		"GET http://x/hello//private":                 "no_credentials",
		"GET http://x/hello/private;v=1/a":            "no_credentials",
		"GET http://x/hello//private ka":              "",
		"GET http://x/hello//public":                  "",
		"GET http://x/shut/public/a":                  "",
		"GET http://x/shut/public/..;/secret":         "no_credentials",
		"GET http://x/shut/public/..%2fsecret":        "no_credentials",
		"GET http://x/shut/public/..%2fsecret ka":     "",
	}.check(t, set)
}

// TestTheStricterLimitWins asks in spellings that fit a wider limit in some
// readings only: which one counts is not the client's choice.
func TestTheStricterLimitWins(t *testing.T) {
	docs := append(limit("tight", "3"), "plugin-mappings/1", `{"api":"svc","plugins":["tight"]}`)
	docs = append(docs, append(limit("wide", "1000"), "filters/static", `{"paths":["/svc/static"]}`, "plugin-mappings/2", `{"api":"svc","plugins":["wide"],"filters":["static"]}`)...)
	docs = append(docs, append(limit("narrow", "1"), "filters/login", `{"paths":["/svc/login"],"methods":["POST"]}`, "plugin-mappings/3", `{"api":"svc","plugins":["narrow"],"filters":["login"]}`)...)
	docs = append(docs, append(limit("lost", "500"), "plugin-mappings/4", `{"api":"svc","plugins":["lost"],"filters":["nosuch"]}`)...)
	_, set := newStore(t, policy.Options{}, with(docs...)...)
	for line, want := range map[string]int{
		"GET http://x/svc/a":                       3,
		"GET http://x/svc/static/a":                1000,
		"GET http://x/svc/login/..%2Fstatic":       3,
		"GET http://x/svc/x/..;/static/a":          3,
		"GET http://x/svc/static/..%2Fa":           3,
		"POST http://x/svc/login":                  1,
		"post http://x/svc/login":                  1,
		"POST http://x/svc/x/..;/login":            1,
		"POST http://x/svc/static/..%2f..%2flogin": 1,
	} {
		if got := wins(t, set, line); got != want {
			t.Errorf("%s: limit %d, want %d", line, got, want)
		}
	}
}

// TestNotes checks what is told of objects that are in force.
func TestNotes(t *testing.T) {
	known := func(api string) bool { return api == "chat" }
	tests := []struct{ name, key, text, want string }{
		{"an API that nobody knows", "acls/a", `{"api":"chaat","groups":["staff"]}`, `api: "chaat": no service, domain or API`},
		{"consumers that do not exist", "acls/a", `{"api":"chat","consumers":["ann","ghost"]}`, `consumers[1]: "ghost"`},
		{"a group that nobody is in", "acls/a", `{"api":"chat","groups":["staf"]}`, `groups[0]: "staf"`},
		{"a filter that does not exist", "acls/a", `{"api":"chat","filters":["f"]}`, `filters[0]: "f"`},
		{"a plugin that does not exist", "plugin-mappings/m", `{"api":"chat","plugins":["auht"]}`, `plugins[0]: "auht"`},
		{"a plugin of a group", "groups/g", `{"plugins":["auht"]}`, `plugins[0]: "auht"`},
		{"a key of nobody", credential("zz"), `{"consumer":"ghost"}`, `consumer: "ghost"`},
		{"a filter of an API", "apis/chat", `{"filters":["f"]}`, `filters[0]: "f"`},
		{"a whitelist for nobody", "whitelist/w", `{"entries":["a.example"],"consumers":["ghost"]}`, `consumers[0]: "ghost"`},
		{"an empty whitelist", "whitelist/w", "", "the whitelist has no entry"},
		{"a list of comments", "blacklist/b", "# evil.example other.example", "the list has no entry"},
		{"a copy of an editor", "blacklist/b~", "evil.example", `the name ends in "~"`},
		{"a star in a path", "blacklist/b", "/chat/admin/*", `entries[0]: "/chat/admin/*": a * in a path stands for itself`},
		{"a star in a URL", "blacklist/b", "http://a.example/x/*", "a * in a path"},
		{"a star in a filter", "filters/f", `{"paths":["/chat/*"]}`, "paths[0]"},
		{"a path at the egress", "blacklist/b", `{"entries":["/evil.example"],"direction":"egress"}`, "a path says nothing at the egress"},
		{"a path on a whitelist, which is of the egress", "whitelist/w", "/evil.example", "a path says nothing at the egress"},
		{"a host behind slashes", "blacklist/b", "//evil.example/", "it is a path and no host"},
		{"a destination at the gateway", "blacklist/b", `{"entries":["1.2.3.4:80"],"direction":"ingress"}`, "has none"},
		{"CONNECT to a URL", "blacklist/b", "CONNECT https://evil.example/", "a tunnel is matched by host"},
		{"a method in a tunnel", "blacklist/b", "GET https://evil.example/", "what goes through a tunnel is not seen"},
		{"a path in a tunnel", "blacklist/b", "https://evil.example/secret", "what goes through a tunnel is not seen"},
		{"a method that nobody has registered", "blacklist/b", "GTE /chat", `"GTE" is none of the methods`},
		{"the same in a filter", "filters/f", `{"methods":["GTE"]}`, "methods[0]"},
		{"nothing odd", "blacklist/b", "evil.example\n.evil.example\n10.0.0.0/8\n/chat/admin\nPOST /chat\nhttps://evil.example\n1.2.3.4:80\nservice:x", ""},
		{"an ACL that is right", "acls/a", `{"api":"chat","consumers":["a-1","bob"],"groups":["staff"]}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t, policy.Options{}, with()...)
			set, rejected := s.put(t, tt.key, tt.text)
			var own []policy.Note
			for _, n := range set.Notes(known) {
				if n.Path == "lictor/policy/"+tt.key {
					own = append(own, n)
				}
			}
			notes := fmt.Sprint(own)
			if len(rejected) > 0 || tt.want == "" && notes != "[]" || !strings.Contains(notes, tt.want) {
				t.Errorf("notes are %s, want %q; rejected %v", notes, tt.want, rejected)
			}
		})
	}
}

// TestALostMappingWidensNoLimit has a plugin whose only mapping cannot be read:
// it would be global otherwise, and the wider limit would win everywhere.
func TestALostMappingWidensNoLimit(t *testing.T) {
	for _, lost := range [][]string{{"plugin-mappings/m", `{"api":"chat",`}, {"groups/g", `{"plugins":`}} {
		s, _ := newStore(t, policy.Options{}, with(append(limit("tight", "3"), limit("wide", "1000")...)...)...)
		set, _ := s.put(t, lost...)
		if got := wins(t, set, "GET http://x/svc ka"); got != 3 {
			t.Errorf("with %s lost: limit %d, want 3", lost[0], got)
		}
	}
}
