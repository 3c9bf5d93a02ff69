package policy_test

import (
	"strings"
	"testing"

	"lictor/policy"
	"lictor/policy/document"
)

func TestRulesInPlainWords(t *testing.T) { // R5
	tests := []struct{ key, text, want string }{
		{"blacklist/b", "10.0.0.0/8", "10.0.0.0/8 refuses at the gateway clients in 10.0.0.0/8, at the egress destinations in 10.0.0.0/8."},
		{"blacklist/b", "10.1.1.1:80", "10.1.1.1:80 refuses at the egress destinations at 10.1.1.1, port 80."},
		{"blacklist/b", `{"entries":[".evil.ex"],"mode":"report","direction":"egress"}`, "Reports alone, and refuses nothing: .evil.ex refuses at the egress destinations evil.ex and all hosts below it."},
		{"blacklist/b", `{"entries":["*.evil.ex","evil.ex"],"direction":"ingress"}`, "*.evil.ex refuses at the gateway requests for all hosts below evil.ex.\nevil.ex refuses at the gateway requests for the host evil.ex."},
		{"blacklist/b", "POST /shop/admin", "POST /shop/admin refuses at the gateway POST requests below /shop/admin."},
		{"blacklist/b", "/", "/ refuses at the gateway requests for any path."},
		{"blacklist/b", "http://a.ex/x", "http://a.ex/x refuses at the gateway requests for the host a.ex below /x, at the egress requests for the host a.ex below /x on port 80."},
		{"blacklist/b", "service:pay", "service:pay refuses at the gateway requests to the service pay, at the egress addresses that are registered for the service pay."},
		{"blacklist/b", `{"entries":["not an entry"]}`, ""},
		{"whitelist/w", `{"entries":["api.ex"],"groups":["staff"],"consumers":["ann"]}`, "api.ex is what whitelists let through: at the egress destinations the host api.ex, for ann or members of staff."},
		{"consumers/ann", `{"id":"c-1","groups":["a","b"]}`, "Is known by the keys and tokens that name ann (id c-1), and is a member of a and b."},
		{credential("x"), `{"consumer":"ann","not_after":"2099-01-02T03:04:05Z"}`, "Is a key of ann, until 2099-01-02T03:04:05Z."},
		{"groups/g", `{"plugins":["p","q"]}`, "Is a group that has the plugins p and q."},
		{"filters/f", `{"methods":["GET"],"hosts":["*.ex"],"paths":["/a","/b"],"ips":["10.0.0.0/8"],"locations":["NL"]}`, "Matches GET requests for the host *.ex below /a or /b from 10.0.0.0/8 from the country NL."},
		{"plugins/p", `{"name":"rate-limiting","config":{"minute":10}}`, "Runs rate-limiting everywhere, until a mapping names it, with minute = 10."},
		{"plugins/p", `{"name":"key-auth","global":false,"mode":"report"}`, "Reports alone, and refuses nothing: Runs key-auth where it is mapped."},
		{"plugins/p", `{"name":"key-auth","enabled":false}`, "Is switched off: key-auth."},
		{"plugins/p", `{"name":"jwt","config":{"secrets":["a-shared-secret-of-32-bytes-or-more"]}}`, `Runs jwt everywhere, until a mapping names it, with secrets = ["[secret]"].`},
		{"acls/a", `{"api":"shop","consumers":["ann","bob"],"groups":["staff"],"filters":["reads"]}`, "Lets ann and bob and members of staff use shop with requests that match reads, and closes it to all whom no ACL of it lets in."},
		{"acls/a", `{"api":"shop","filters":["reads"]}`, "Anyone may use shop with requests that match reads, and closes it to all whom no ACL of it lets in."},
		{"plugin-mappings/m", `{"api":"shop","plugins":["p"],"groups":["g"]}`, "Has the plugins p run for shop, for members of g."},
		{"plugin-mappings/m", `{"groups":["g"]}`, "Has the plugins of its groups run for every API, for members of g."},
		{"apis/shop", `{"filters":["reads","heads"],"protected_headers":["X-In"]}`, "Sends requests that match reads or heads to shop, and lets these headers pass neither in nor out: X-In."},
		{"apis/old", `{"backends":["http://a:1","http://b:1"]}`, "Sends requests for old to http://a:1 or http://b:1."},
		{"mappings/shop.ex", `{"backends":["service:shop"]}`, "Sends requests for the host shop.ex to service:shop."},
	}
	for _, tt := range tests {
		key, ok := policy.ParseKey("policy/" + tt.key)
		if !ok {
			t.Fatal(tt.key)
		}
		c := document.Change(key, 1, 1, []byte(tt.text))
		if got := strings.Join(policy.Words(c.Object), "\n"); got != tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.key, tt.text, got, tt.want)
		}
	}
}
