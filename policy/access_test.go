package policy_test

import (
	"testing"
	"time"

	"lictor/policy"
)

// people are two consumers with keys: ann of the groups staff and eng, bob of none.
var people = []string{
	"consumers/ann", `{"id":"a-1","custom_id":"c-7","groups":["staff","eng"]}`,
	"consumers/bob", `{}`,
	credential("ka"), `{"consumer":"a-1"}`,
	credential("ka2"), `{"consumer":"ann","not_after":"2026-07-15T12:30:31Z"}`,
	credential("kold"), `{"consumer":"ann","not_after":"2026-07-15T12:30:30Z"}`,
	credential("kb"), `{"consumer":"bob"}`,
	credential("kx"), `{"consumer":"nobody"}`,
}

func with(docs ...string) []string { return append(append([]string(nil), people...), docs...) }

func TestACL(t *testing.T) { // C4-C8, C22, C35, X13
	tests := []struct {
		name string
		docs []string
		want expect
	}{
		{"an API without ACL is open", with(), expect{"GET http://x/svc": "", "GET http://x/svc kb": ""}},
		{"an ACL closes the API for all others", with("acls/1", `{"api":"svc","consumers":["ann"]}`), expect{
			"GET http://x/svc ka": "", "GET http://x/svc ka2": "", "GET http://x/svc kb": "acl", "GET http://x/svc": "no_credentials",
			"GET http://x/svc kold": "no_credentials", "GET http://x/svc kx": "no_credentials", "GET http://x/other": ""}},
		{"consumers may be named by id", with("acls/1", `{"api":"svc","consumers":["a-1"]}`), expect{
			"GET http://x/svc ka": "", "GET http://x/svc kb": "acl"}},
		{"several ACLs are OR-ed", with("acls/1", `{"api":"svc","consumers":["bob"]}`, "acls/2", `{"api":"svc","groups":["eng"]}`), expect{
			"GET http://x/svc ka": "", "GET http://x/svc kb": ""}},
		{"without a subject it is for anyone", with("filters/f", `{"methods":["get"]}`, "acls/1", `{"api":"svc","filters":["f"]}`), expect{
			"GET http://x/svc": "", "POST http://x/svc": "acl", "HEAD http://x/svc": "acl"}},
		{"an unknown name matches nobody", with("acls/1", `{"api":"svc","consumers":["a-dead-id"],"groups":["nosuch"]}`), expect{
			"GET http://x/svc ka": "acl", "GET http://x/svc": "no_credentials"}},
		{"an unknown filter matches nothing", with("acls/1", `{"api":"svc","consumers":["ann"],"filters":["nosuch"]}`), expect{
			"GET http://x/svc ka": "acl"}},
		{"named filters are OR-ed, inline ones AND-ed", with("filters/us", `{"locations":["US"]}`, "filters/ca", `{"locations":["CA"]}`,
			"filters/g", `{"methods":["GET"],"inline":true}`, "acls/1", `{"api":"svc","filters":["us","ca","g"]}`), expect{
			"GET http://x/svc": "", "GET http://x/svc from=127.0.0.2": "", "GET http://x/svc from=127.0.0.3": "acl", "POST http://x/svc": "acl"}},
		{"in report mode alone it leaves the API open", with("acls/1", `{"api":"svc","consumers":["ann"],"mode":"report"}`), expect{
			"GET http://x/svc kb": "", "GET http://x/svc": ""}},
		{"in report mode it grants nothing", with("acls/1", `{"api":"svc","consumers":["ann"],"mode":"report"}`,
			"acls/2", `{"api":"svc","consumers":["nobody"]}`), expect{"GET http://x/svc ka": "acl"}},
		{"a mapped host's API is the domain as stored", with("mappings/*.wm.org", `{"backends":["http://h"]}`,
			"acls/1", `{"api":"*.wm.org","consumers":["ann"]}`), expect{
			"GET http://a.wm.org/svc kb": "acl", "GET http://a.wm.org/svc ka": "", "GET http://b.org/svc": ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, set := newStore(t, policy.Options{}, tt.docs...)
			tt.want.check(t, set)
		})
	}
}

func TestACLAnswers(t *testing.T) { // C5, C22
	_, set := newStore(t, policy.Options{}, with("acls/1", `{"api":"svc","consumers":["ann"]}`, "acls/2", `{"api":"try","groups":["g"],"mode":"report"}`)...)
	v := decide(set, ask(t, "GET http://x/svc kb"))
	if v.Status != 403 || v.Message != "You cannot consume this service" || v.Rule.Key != "lictor/policy/acls/1" || v.Identity.Name != "bob" {
		t.Errorf("%+v", v)
	}
	v = decide(set, ask(t, "GET http://x/svc"))
	if v.Status != 401 || v.Message != "Cannot identify the consumer, add an authentication plugin to use the ACL plugin" || v.Challenge == "" {
		t.Errorf("%+v", v)
	}
	v = decide(set, ask(t, "GET http://x/svc ka"))
	if i := v.Identity; i == nil || i.ID != "a-1" || i.CustomID != "c-7" || i.GroupsText != "staff, eng" {
		t.Errorf("identity %+v", v.Identity) // C24
	}
	v = decide(set, ask(t, "GET http://x/try ka"))
	if w := v.Would(); len(w) != 1 || w[0].Reason != policy.ReasonACL || w[0].Rule.Key != "lictor/policy/acls/2" {
		t.Errorf("%+v", w)
	}
}

func TestBoundConsumers(t *testing.T) { // C6
	docs := with("acls/1", `{"api":"svc","groups":["eng"]}`, "acls/2", `{"api":"tried","consumers":["bob"],"mode":"report"}`)
	s, set := newStore(t, policy.Options{BindConsumers: true}, docs...)
	expect{
		"GET http://x/svc ka":   "",
		"GET http://x/other ka": "bound_consumer",
		"GET http://x/other":    "",
		"GET http://x/other kb": "",
		"GET http://x/tried kb": "",
		"GET http://x/tried ka": "bound_consumer",
	}.check(t, set)
	v := decide(set, ask(t, "GET http://x/other kb"))
	if w := v.Would(); len(w) != 1 || w[0].Reason != policy.ReasonBoundConsumer {
		t.Errorf("a report-mode ACL binds: %+v", w)
	}
	set, _ = s.put(t, "acls/3", `{"api":"other","groups":["eng"],"mode":"report"}`) // which opens nothing
	expect{"GET http://x/svc ka": "", "GET http://x/other ka": "bound_consumer"}.check(t, set)
	set, _ = s.put(t, "acls/3", `{"api":"other","groups":["eng"]}`)
	expect{"GET http://x/svc ka": "", "GET http://x/other ka": ""}.check(t, set)
	s.put(t, "acls/3", "-")
	set, _ = s.put(t, "acls/1", "-")
	expect{"GET http://x/other ka": ""}.check(t, set)
	_, set = newStore(t, policy.Options{}, docs...)
	expect{"GET http://x/other ka": ""}.check(t, set)
}

func TestKeyAuth(t *testing.T) { // C19, C20, C22, C23, C24
	demand := with("plugins/k", `{"name":"key-auth","config":{"keynames":["X-Key","apikey"],"hide_credentials":true}}`,
		"plugin-mappings/m", `{"api":"svc","plugins":["k"]}`)
	_, set := newStore(t, policy.Options{}, demand...)
	tests := []struct {
		name, line    string
		header        header
		status        int
		reason, says  string
		consumer, api string
	}{
		{"no key", "GET http://x/svc", nil, 401, "no_credentials", "No API key found in request", "", ""},
		{"an empty key is no key", "GET http://x/svc?apikey=", header{"X-Key": {""}}, 401, "no_credentials", "No API key found in request", "", ""},
		{"an unknown key", "GET http://x/svc", header{"x-key": {"no"}}, 401, "bad_credentials", "Unauthorized", "", ""},
		{"given twice in the header", "GET http://x/svc", header{"X-Key": {"ka", "ka"}}, 401, "bad_credentials", "Duplicate API key found", "", ""},
		{"given twice in the query", "GET http://x/svc?apikey=ka&apikey=ka", nil, 401, "bad_credentials", "Duplicate API key found", "", ""},
		{"in the header, any case", "GET http://x/svc", header{"x-KEY": {"ka"}}, 0, "", "", "ann", ""},
		{"in the query, escaped", "GET http://x/svc?b=1&apikey=k%61", nil, 0, "", "", "ann", ""},
		{"header first", "GET http://x/svc?apikey=kb", header{"apikey": {"ka"}}, 0, "", "", "ann", ""},
		{"an old key of a rotation", "GET http://x/svc?apikey=ka2", nil, 0, "", "", "ann", ""},
		{"a key that has run out", "GET http://x/svc?apikey=kold", nil, 401, "bad_credentials", "Unauthorized", "", ""},
		{"a key of nobody", "GET http://x/svc?apikey=kx", nil, 401, "bad_credentials", "Unauthorized", "", ""},
		{"elsewhere it is recognised", "GET http://x/other?apikey=kb", nil, 0, "", "", "bob", ""},
		{"elsewhere an unknown key is nobody", "GET http://x/other?apikey=no", nil, 0, "", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := ask(t, tt.line)
			r.Fields = tt.header
			v := decide(set, r)
			who := ""
			if v.Identity != nil {
				who = v.Identity.Name
			}
			if v.Status != tt.status || string(v.Reason) != tt.reason || v.Message != tt.says || who != tt.consumer {
				t.Errorf("got %+v of %q, want %+v", v, who, tt)
			}
			if (v.Status == 401) != (v.Challenge != "") {
				t.Errorf("challenge %q on status %d", v.Challenge, v.Status)
			}
			if hides := len(v.Hide) == 2; hides != (v.Allowed() && tt.line[:16] == "GET http://x/svc") {
				t.Errorf("hides %v", v.Hide)
			}
		})
	}

	// Mapped to consumers it applies to their keys, and demands none (C23).
	_, set = newStore(t, policy.Options{}, with("plugins/k", `{"name":"key-auth","config":{"key_names":["token"],"hide_credentials":true}}`,
		"plugin-mappings/m", `{"api":"svc","plugins":["k"],"consumers":["ann"]}`)...)
	for query, want := range map[string]string{"": "", "?token=ka": "ann", "?token=kb": "", "?apikey=kb": "bob", "?token=no": ""} {
		v := decide(set, ask(t, "GET http://x/svc"+query))
		who := ""
		if v.Identity != nil {
			who = v.Identity.Name
		}
		if !v.Allowed() || who != want || (len(v.Hide) > 0) != (want == "ann") {
			t.Errorf("query %q: %q, %+v, want %q", query, who, v, want)
		}
	}
	// In report mode it only tells.
	_, set = newStore(t, policy.Options{}, with("plugins/k", `{"name":"key-auth","mode":"report"}`)...)
	for query, want := range map[string]policy.Reason{"": "no_credentials", "?apikey=no": "bad_credentials", "?apikey=ka": ""} {
		v := decide(set, ask(t, "GET http://x/svc"+query))
		got := policy.Reason("")
		for _, w := range v.Would() {
			got = w.Reason
		}
		if !v.Allowed() || got != want {
			t.Errorf("report mode, query %q: %+v, want %q", query, v, want)
		}
	}
}

// wins returns the limit that applies to a line, 0 for none.
func wins(t *testing.T, set *policy.Set, line string) int {
	t.Helper()
	r := ask(t, line)
	r.Limiter, r.Dry = new(policy.Limiter), true
	v := decide(set, r)
	if !v.Allowed() {
		t.Fatalf("%s: %+v", line, v)
	}
	if all := v.Limits.All(); len(all) > 0 {
		return all[0].Limit
	}
	return 0
}

func limit(id string, n string) []string {
	return []string{"plugins/" + id, `{"name":"rate-limiting","config":{"minute":` + n + `}}`}
}

func TestMostSpecificPluginWins(t *testing.T) { // C12, C13, C15, C27, C35
	s, set := newStore(t, policy.Options{}, with(limit("global", "1")...)...)
	step := func(want map[string]int, docs ...string) {
		t.Helper()
		set, _ = s.put(t, docs...)
		for line, n := range want {
			if got := wins(t, set, line); got != n {
				t.Errorf("after %v, %s: limit %d, want %d", docs, line, got, n)
			}
		}
	}
	const ann, bob, nobody, other = "GET http://x/svc ka", "GET http://x/svc kb", "GET http://x/svc", "POST http://x/other ka"
	step(map[string]int{ann: 1, bob: 1, nobody: 1, other: 1})
	step(map[string]int{ann: 2, other: 1}, append(limit("filter", "2"), "filters/get", `{"methods":["GET"]}`,
		"plugin-mappings/1", `{"plugins":["filter"],"filters":["get"]}`)...)
	step(map[string]int{ann: 3, nobody: 3, other: 1}, append(limit("api", "3"), "plugin-mappings/2", `{"api":"svc","plugins":["api"]}`)...)
	step(map[string]int{ann: 4, bob: 3, other: 1}, append(limit("group", "4"), "plugin-mappings/3", `{"api":"svc","plugins":["group"],"groups":["staff"]}`)...)
	step(map[string]int{ann: 40, bob: 3}, append(limit("group2", "40"), "plugin-mappings/4", `{"api":"svc","plugins":["group2"],"groups":["eng"]}`)...)
	step(map[string]int{ann: 5, bob: 3, other: 5}, append(limit("consumer", "5"), "plugin-mappings/5", `{"plugins":["consumer"],"consumers":["ann"]}`)...)
	step(map[string]int{ann: 6, other: 5}, append(limit("both", "6"), "plugin-mappings/6", `{"api":"svc","plugins":["both"],"consumers":["a-1"]}`)...)
	step(map[string]int{ann: 5}, "plugins/both", `{"name":"rate-limiting","config":{"minute":6},"enabled":false}`)
	step(map[string]int{ann: 5}, "plugins/both", `{"name":"rate-limiting","config":{"minute":6},"mode":"report"}`)
	step(map[string]int{ann: 40, other: 1}, "plugin-mappings/5", `{"plugins":["consumer"],"consumers":["dead"]}`)
	// Mapped once, a plugin is not global again if the mark says so.
	step(map[string]int{other: 1, nobody: 3}, "plugins/consumer", `{"name":"rate-limiting","config":{"minute":5},"global":false}`, "plugin-mappings/5", "-")
	step(map[string]int{other: 5}, "plugins/consumer", `{"name":"rate-limiting","config":{"minute":5},"global":true}`)
	step(map[string]int{other: 0, nobody: 3}, "plugins/consumer", "-", "plugins/global", "-")

	// A group that holds plugins, and members or none (C13).
	step(map[string]int{ann: 8, bob: 3}, append(limit("held", "8"), "groups/eng", `{"plugins":["held"]}`, "plugin-mappings/2", "-",
		"plugin-mappings/3", "-", "plugin-mappings/4", "-", "plugin-mappings/7", `{"api":"svc","groups":["eng"]}`, "plugin-mappings/8", `{"api":"svc","plugins":["api"]}`)...)
	step(map[string]int{bob: 8, nobody: 8}, "consumers/ann", `{"id":"a-1"}`, "plugin-mappings/8", "-", "plugin-mappings/1", "-")
	step(map[string]int{ann: 8, nobody: 0}, "consumers/ann", `{"id":"a-1","groups":["eng"]}`, "plugins/api", "-", "plugins/filter", "-", "plugins/group", "-", "plugins/group2", "-", "plugin-mappings/6", "-", "plugins/both", "-")
}

func TestFilterProperties(t *testing.T) { // C25, C26, C29
	_, set := newStore(t, policy.Options{},
		"filters/f", `{"methods":["get","put"],"hosts":["A.example","*.b.example"],"paths":["/svc/a","/svc/b/"],"ips":["127.0.0.9/24","2001:db8::/32","::ffff:1.2.3.4"]}`,
		"filters/where", `{"locations":["fr"]}`,
		"acls/1", `{"api":"svc","filters":["f"]}`, "acls/2", `{"api":"geo","filters":["where"]}`)
	expect{
		"GET http://a.example:99/svc/a":               "",
		"PUT http://x.y.b.example/svc/b/c":            "",
		"GET http://b.example/svc/a":                  "acl",
		"POST http://a.example/svc/a":                 "acl",
		"get http://a.example/svc/a":                  "acl",
		"GET http://a.example/svc/ab":                 "acl",
		"GET http://a.example/svc/a from=127.0.1.1":   "acl",
		"GET http://a.example/svc/a from=2001:db8::7": "",
		"GET http://a.example/svc/a from=1.2.3.4":     "",
		"GET http://x/geo from=127.0.0.3":             "",
		"GET http://x/geo from=127.0.0.1":             "acl",
		"GET http://x/geo from=8.8.8.8":               "acl",
	}.check(t, set)
	if !set.UsesLocations() {
		t.Error("the use of locations is not seen")
	}
	r := ask(t, "GET http://x/geo from=127.0.0.3")
	r.Locator = nil
	if v := decide(set, r); v.Reason != policy.ReasonACL {
		t.Errorf("without a data base: %+v", v)
	}
}

func TestRecheck(t *testing.T) { // X14
	s, set := newStore(t, policy.Options{}, with("acls/1", `{"api":"svc","groups":["staff"]}`, "filters/f", `{"methods":["GET"]}`,
		"acls/2", `{"api":"open","filters":["f"]}`)...)
	facts := func(line string) *policy.Facts {
		r := ask(t, line)
		route := set.Route(r)
		var v policy.Verdict
		if set.Decide(r, &route, &v, nil); !v.Allowed() {
			t.Fatalf("%s: %+v", line, v)
		}
		return r.Facts(&route, &v)
	}
	known, anonymous, free := facts("GET http://x/svc/a ka"), facts("GET http://x/open"), facts("GET http://x/other kb")
	tests := []struct {
		name         string
		change, undo []string
		facts        *policy.Facts
		want         policy.Reason
	}{
		{"nothing changed", nil, nil, known, ""},
		{"nothing changed for the anonymous", nil, nil, anonymous, ""},
		{"the credential is revoked", []string{credential("ka"), "-"}, []string{credential("ka"), `{"consumer":"ann"}`}, known, "bad_credentials"},
		{"the consumer is deleted", []string{"consumers/ann", "-"}, people[:2], known, "bad_credentials"},
		{"the consumer is deleted where anybody may go", []string{"consumers/bob", "-"}, people[2:4], free, "bad_credentials"},
		{"the group is taken away", []string{"consumers/ann", `{"id":"a-1"}`}, people[:2], known, "acl"},
		{"the ACL goes to others", []string{"acls/1", `{"api":"svc","groups":["eng2"]}`}, []string{"acls/1", `{"api":"svc","groups":["staff"]}`}, known, "acl"},
		{"the filter is narrowed", []string{"filters/f", `{"methods":["PUT"]}`}, []string{"filters/f", `{"methods":["GET"]}`}, anonymous, "acl"},
		{"a key is demanded now", []string{"plugins/k", `{"name":"key-auth"}`}, []string{"plugins/k", "-"}, anonymous, "no_credentials"},
		{"the key was given then", []string{"plugins/k", `{"name":"key-auth"}`}, []string{"plugins/k", "-"}, known, ""},
		{"the address is blacklisted", []string{"blacklist/b", "127.0.0.1"}, []string{"blacklist/b", "-"}, known, "blacklist"},
		{"the path is blacklisted", []string{"blacklist/b", "/svc"}, []string{"blacklist/b", "-"}, known, "blacklist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, _ := s.put(t, tt.change...)
			var v policy.Verdict
			next.Recheck(tt.facts, noon, &v)
			if v.Reason != tt.want || v.Allowed() != (tt.want == "") {
				t.Errorf("got %+v, want %q", v, tt.want)
			}
			s.put(t, tt.undo...)
		})
	}
	var v policy.Verdict
	if set.Recheck(facts("GET http://x/svc ka2"), noon.Add(time.Second), &v); v.Reason != policy.ReasonBadCredentials {
		t.Errorf("a key that has run out: %+v", v)
	}
}
