package cases

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"

	"lictor/policy"
	"lictor/policy/document"
)

// compile puts a policy together of documents by kind/name.
func compile(t *testing.T, documents map[string]string) (set *policy.Set, rules []policy.Rule) {
	t.Helper()
	var changes []policy.Change
	for name, text := range documents {
		key, ok := policy.ParseKey("policy/" + name)
		if !ok {
			t.Fatalf("%s is no key", name)
		}
		changes = append(changes, document.Change(key, 1, 1, []byte(text)))
		o, err := document.Parse(key, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rules = append(rules, Rules(key, o)...)
	}
	set, rejected := policy.NewBuilder(policy.Options{}).Apply(0, changes)
	if len(rejected) > 0 {
		t.Fatal(rejected)
	}
	return set, rules
}

var shop = map[string]string{
	"consumers/ann": `{"name": "ann", "groups": ["staff"], "custom_id": "ann.example.org"}`,
	"consumers/bob": `{"name": "bob"}`,
	"acls/shop":     `{"api": "shop", "groups": ["staff"]}`,
	"blacklist/b":   "/admin\nDELETE /cart/x\nevil.example",
	"plugins/key":   `{"id": "key", "name": "key-auth"}`,
	"plugins/noon":  `{"id": "noon", "name": "request-termination"}`,
	"plugins/size":  `{"id": "size", "name": "request-size-limiting", "config": {"max_body": "1KiB"}}`,
}

func TestCasesAreDecidedAsTheGatewayDecides(t *testing.T) { // R4
	documents := map[string]string{"plugins/pages": `{"name": "cors"}`, "plugin-mappings/m": `{"api": "closed", "plugins": ["noon"]}`, "plugin-mappings/k": `{"api": "shop", "plugins": ["key"]}`}
	maps.Copy(documents, shop)
	set, _ := compile(t, documents)
	tests := []struct{ name, body, want string }{
		{"a consumer whom the ACL names", `request = "GET /shop/a", consumer = "ann"`, "pass"},
		{"by certificate", `request = "GET /shop/a", certificate = ["ann.example.org"]`, "pass"},
		{"another consumer", `request = "GET /shop/a", consumer = "bob"`, "acl"},
		{"nobody", `request = "GET /shop/a"`, "no_credentials"},
		{"a preflight, which lictor answers", `request = "OPTIONS /shop/a", headers = { Origin = "https://a.example", Access-Control-Request-Method = "PUT" }`, "pass"},
		{"a key that nobody has", `request = "GET /shop/a", headers = { apikey = "x" }`, "bad_credentials"},
		{"an API without rules", `request = "GET /cart/a"`, "pass"},
		{"a blacklisted path", `request = "GET /admin/users"`, "blacklist"},
		{"another reading of it", `request = "GET /cart/..%2fadmin"`, "blacklist"},
		{"a path that may lead above the service", `request = "GET /cart/..%2fx"`, "bad_path"},
		{"the same below another segment", `request = "GET /cart/y/..%2fx"`, "pass"},
		{"a long path that can be read in several ways", `request = "GET /cart` + strings.Repeat("/;", 3000) + `"`, "bad_path"},
		{"a blacklisted method", `request = "DELETE /cart/x"`, "blacklist"},
		{"the same path by another method", `request = "GET /cart/x"`, "pass"},
		{"a blacklisted host", `request = "GET /cart/a", host = "evil.example"`, "blacklist"},
		{"the same in a URL", `request = "GET https://EVIL.example:8443/cart/a"`, "blacklist"},
		{"a URL without a path", `request = "GET http://h.example"`, NoService},
		{"a long body", `request = "POST /cart/a", length = 2000`, "body_too_large"},
		{"a short one", `request = "POST /cart/a", length = 1000`, "pass"},
		{"a closed API", `request = "GET /closed/a"`, "terminated"},
		{"no service", `request = "GET /"`, NoService},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all, err := Parse("a.hcl", []byte("case \"x\" {\n"+strings.ReplaceAll(tt.body, ", ", "\n")+"\nwant = \"pass\"\n}\n"))
			if err != nil {
				t.Fatal(err)
			}
			if r := Run(set, &all[0], time.Now()); r.Got != tt.want || r.Problem != "" {
				t.Errorf("got %q %s, want %q: %+v", r.Got, r.Problem, tt.want, r.Recorder.Steps)
			}
		})
	}
}

func TestTimeAndCountryOfACaseAreItsOwn(t *testing.T) {
	set, _ := compile(t, map[string]string{
		"consumers/ann": `{"name": "ann", "groups": ["staff"]}`, "plugins/key": `{"name": "key-auth"}`,
		// The key is "k".
		"credentials/8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a": `{"consumer": "ann", "not_after": "2026-01-01T00:00:00Z"}`,
		"filters/de":  `{"name": "de", "locations": ["DE"]}`,
		"acls/export": `{"api": "export", "groups": ["staff"], "filters": ["de"]}`,
	})
	for body, want := range map[string]string{
		`request = "GET /shop"` + "\n" + `headers = { apikey = "k" }` + "\n" + `at = "2025-12-31T23:59:59Z"`: "pass",
		`request = "GET /shop"` + "\n" + `headers = { APIKEY = "k" }` + "\n" + `at = "2026-01-01T00:00:00Z"`: "bad_credentials",
		`request = "GET /export"` + "\n" + `consumer = "ann"` + "\n" + `country = "FR"`:                      "acl",
		`request = "GET /export"` + "\n" + `consumer = "ann"` + "\n" + `country = "DE"`:                      "pass",
	} {
		all, err := Parse("a.hcl", []byte("case \"x\" {\n"+body+"\nwant = \"pass\"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if r := Run(set, &all[0], time.Now()); r.Got != want {
			t.Errorf("%s: got %q, want %q: %+v", body, r.Got, want, r.Recorder.Steps)
		}
	}
}

func TestConsumerWhoIsNotThereIsNoAnswer(t *testing.T) {
	set, _ := compile(t, nil)
	r := Run(set, &Case{Consumer: "eve", Want: ""}, time.Now())
	if r.Passed() || r.Problem != `there is no consumer "eve"` {
		t.Errorf("got %q, %q", r.Got, r.Problem)
	}
}

// Whoever may ask as a consumer is who asks dry; a request that is served never is.
func TestNoRequestThatIsServedIsAConsumersByItsName(t *testing.T) {
	set, _ := compile(t, map[string]string{"consumers/ann": `{"name": "ann"}`, "plugins/key": `{"name": "key-auth"}`})
	all, err := Parse("a.hcl", []byte("case \"x\" {\nrequest = \"GET /shop\"\nwant = \"pass\"\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for dry, want := range map[bool]bool{true: true, false: false} {
		q := &policy.Request{Method: "GET", Path: &all[0].Path, As: "ann", Dry: dry}
		route := set.Route(q)
		var v policy.Verdict
		if set.Decide(q, &route, &v, nil); v.Allowed() != want {
			t.Errorf("dry %v: got %v", dry, v.Reason)
		}
	}
}

func TestRulesThatSpokeInNoCaseAreTold(t *testing.T) {
	set, rules := compile(t, map[string]string{
		"blacklist/b": "/admin\n/secret", "acls/shop": `{"api": "shop", "groups": ["staff"]}`, "acls/cart": `{"api": "cart", "groups": ["staff"]}`,
		"consumers/ann": `{"name": "ann", "groups": ["staff"]}`, "plugins/key": `{"name": "key-auth"}`, "plugins/off": `{"name": "request-termination", "enabled": false}`,
		"apis/x": `{"name": "x", "backends": ["http://127.0.0.1:1"]}`, "whitelist/out": "example.org",
	})
	c := NewCoverage(rules)
	names := func() (all []string) {
		for _, r := range c.Silent() {
			all = append(all, strings.TrimSpace(r.Key+" "+r.Entry))
		}
		return all
	}
	every := []string{"policy/acls/cart", "policy/acls/shop", "policy/apis/x", "policy/blacklist/b /admin", "policy/blacklist/b /secret", "policy/plugins/key"}
	if got := names(); !slices.Equal(got, every) || c.Percent() != 0 {
		t.Errorf("at first: got %v, %d %%", got, c.Percent())
	}
	for _, request := range []string{"GET /admin/x", "GET /shop/x", "GET /x/"} {
		all, err := Parse("a.hcl", []byte("case \"x\" {\nrequest = \""+request+"\"\nconsumer = \"ann\"\nwant = \"pass\"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		c.Add(Run(set, &all[0], time.Now()))
	}
	c.Add(&Result{Case: &Case{}, Problem: "not tried"})
	if got, want := names(), []string{"policy/acls/cart", "policy/blacklist/b /secret"}; !slices.Equal(got, want) || c.Percent() != 66 {
		t.Errorf("got %v, %d %%, want %v", got, c.Percent(), want)
	}
	if NewCoverage(nil).Percent() != 100 {
		t.Error("no rule is not all of them")
	}
}

func TestAllMistakesOfAFileAreToldWithTheirPlaces(t *testing.T) {
	const text = `case "a" {
  request = "GET"
  want    = "maybe"
}
case "a" {
  request = "GET ftp://h/x"
  from    = "here"
  at      = "noon"
  want    = "pass"
  wants   = "pass"
}
case "b" {
  length  = 1.5
  headers = { a = null }
  host    = "a b"
  request = "get /x"
  want    = ["pass"]
}
case "c" {
  request = ""
  from    = ""
  at      = ""
  want    = ""
}
case {
}
suite "x" {
}
`
	_, err := Parse("a.hcl", []byte(text))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`a.hcl:2,13-18: Wrong case; request: is "GET", want a method`, `a.hcl:3,13-20: Wrong case; want: is "maybe", want one of pass, no_service`,
		`a.hcl:5,1-9: Wrong case; there is a case "a" already, at line 1`, "want http or https", `from: is "here"`, `at: is "noon"`, `"wants"`,
		"length: want a number of bytes", "headers: a is null", `host: is "a b"`, `request: is "get /x"`, "want: want string", "a.hcl:25", `"suite"`,
		"a.hcl:20,13-15: Wrong case; request: is empty", "a.hcl:21,13-15: Wrong case; from: is empty", "at: is empty", "want: is empty",
	} {
		if !strings.Contains(everything(err), want) {
			t.Errorf("%q is not in\n%s", want, everything(err))
		}
	}
}

// FuzzParse wants no panic, and a case for what it takes.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.hcl")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	set, _ := policy.NewBuilder(policy.Options{}).Apply(0, nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 64<<10 {
			return
		}
		all, err := Parse("a.hcl", text)
		if err != nil {
			return
		}
		for i := range all {
			c := &all[i]
			if c.Method == "" || c.Want == "" || !c.From.IsValid() {
				t.Fatalf("%+v", c)
			}
			Run(set, c, time.Unix(0, 0))
		}
	})
}

// everything is all that an error says, not the first line alone.
func everything(err error) string {
	var text strings.Builder
	if diags, ok := err.(hcl.Diagnostics); ok {
		for _, d := range diags {
			text.WriteString(d.Error() + "\n")
		}
	}
	return text.String()
}
