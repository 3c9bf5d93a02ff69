package ui

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/admin/api"
	"lictor/admin/edit"
	"lictor/admin/objects"
	"lictor/policy"
	"lictor/policy/store"
	"lictor/policy/store/memory"
	_ "lictor/policy/tokens" // reads the keys of a plugin jwt
)

// documents are those of a store in memory that holds objects, by their keys.
func documents(t *testing.T, contents map[string]string) (*objects.Documents, store.Store) {
	t.Helper()
	s := memory.New(hclog.NewNullLogger())
	for key, value := range contents {
		kind, name, _ := strings.Cut(key, "/")
		if _, err := s.Write(t.Context(), []store.Op{{Verb: store.Put, Kind: kind, Name: name, Value: []byte(value)}}); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := objects.New(s, edit.New(s, func() *policy.Set { return nil }), nil)
	if err != nil {
		t.Fatal(err)
	}
	return docs, s
}

func withDocuments(t *testing.T, cfg Config, contents map[string]string) Config {
	t.Helper()
	docs, _ := documents(t, contents)
	cfg.List, cfg.Get, cfg.Check, cfg.Write = docs.List, docs.Get, docs.Check, docs.Write
	return cfg
}

var shopPolicy = map[string]string{
	"consumers/bob": `{"id":"id-of-bob","groups":["staff"],"custom_id":"b-7"}`,
	"consumers/eve": `{"id":"id-of-eve"}`,
	"credentials/" + strings.Repeat("ab", 32): `{"consumer":"id-of-bob","id":"key-1","created_at":"2020-01-02T00:00:00Z"}`,
	"credentials/" + strings.Repeat("cd", 32): `{"consumer":"bob","id":"key-2","not_after":"2020-01-02T00:00:00Z"}`,
	"acls/shop-for-bob":                       `{"api":"shop","consumers":["id-of-bob"]}`,
	"acls/pay":                                `{"api":"pay","groups":["staff"]}`,
	"blacklist/outside":                       `{"direction":"egress","entries":["evil.example"],"mode":"report"}`,
	"blacklist/inside":                        `{"direction":"ingress","entries":["10.0.0.0/8"]}`,
	"whitelist/bobs own":                      `{"entries":["api.example"],"direction":"egress","consumers":["bob"]}`,
	"groups/broken":                           "{\n \"plugins\": 7\n}",
}

func TestThePolicyIsSearched(t *testing.T) {
	s := newSite(t, withDocuments(t, Config{Prefix: "lictor/"}, shopPolicy))
	tests := []struct {
		path string
		want []string // keys
	}{
		{"/ui/policy?kind=acls", []string{"acls/pay", "acls/shop-for-bob"}},
		{"/ui/policy?q=evil.EXAMPLE", []string{"blacklist/outside"}},
		{"/ui/policy?q=bob&kind=acls", []string{"acls/shop-for-bob"}},
		{"/ui/policy?q=eve&kind=acls", nil},
		{"/ui/policy?q=pay", []string{"acls/pay"}},
	}
	for _, tt := range tests {
		_, text := s.send(tt.path, nil)
		_, list, _ := strings.Cut(text, `<h2 id="objects">`)
		var got []string
		for _, m := range regexp.MustCompile(`<th scope="row"><a href="[^"]*">([^<]*)</a>`).FindAllStringSubmatch(list, -1) {
			got = append(got, m[1])
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.path, got, tt.want)
		}
		if !strings.Contains(text, "groups/broken</a>") || !strings.Contains(text, "line 2") {

			t.Errorf("%s does not tell of the rejected object and its line", tt.path)
		}
	}
}

// read returns a page as people read it.
func (s *site) read(path string, form url.Values) (*http.Response, string) {
	s.t.Helper()
	resp, text := s.send(path, form)
	return resp, html.UnescapeString(text)
}

func TestPagesOfThePolicy(t *testing.T) {
	s := newSite(t, withDocuments(t, Config{}, shopPolicy))
	tests := []struct {
		path string
		want []string
		not  string
	}{
		{"/ui/policy/acls/shop-for-bob", []string{"in force", `"api": "shop"`, "/ui/policy?q=shop-for-bob"}, ""},
		{"/ui/policy/groups/broken", []string{"rejected", "line 2"}, ""},
		{"/ui/policy/acls/nosuch", []string{"Not found"}, ""},
		{"/ui/policy/whitelist/bobs%20own", []string{"api.example"}, ""},
		{"/ui/consumers", []string{"2 consumers", "b-7", "staff", "key-1", "made 2020-01-02, without end", "expired", "until 2020-01-02", "none"}, strings.Repeat("ab", 32) + "<"},
		{"/ui/consumers?q=eve", []string{"1 consumer"}, "key-1"},
		{"/ui/egress", []string{"There is no egress", "blacklist/outside", "denies, report only", "admits", "bob", "api.example"}, "blacklist/inside"},
		{"/ui/certificates", []string{"No listener has a certificate"}, ""},
		{"/ui/new?kind=acls&name=", []string{"An object needs"}, ""},
	}
	for _, tt := range tests {
		_, text := s.read(tt.path, nil)
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing in\n%s", tt.path, want, text)
			}
		}
		if tt.not != "" && strings.Contains(text, tt.not) {
			t.Errorf("%s shows %q", tt.path, tt.not)
		}
	}
}

// hidden returns the value of a hidden field.
func hidden(t *testing.T, text, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no field %s in\n%s", name, text)
	}
	return m[1]
}

// TestAnObjectIsCheckedShownAndWritten: U6.
func TestAnObjectIsCheckedShownAndWritten(t *testing.T) {
	docs, _ := documents(t, shopPolicy)
	s := newSite(t, Config{List: docs.List, Get: docs.Get, Check: docs.Check, Write: docs.Write})
	const path, document = "/ui/policy/acls/pay/edit", `{"api":"pay","groups":["staff","night"]}`
	stored := func() string {
		o, err := docs.Get(t.Context(), "acls/pay")
		if err != nil || o == nil {
			return fmt.Sprint("none ", err)
		}
		return string(o.Value)
	}
	before := stored()
	_, text := s.read(path, nil)
	index := hidden(t, text, "index")
	form := func(action, checked, doc string) url.Values {
		return url.Values{"action": {action}, "checked": {checked}, "document": {doc}, "index": {index}}
	}
	if resp, text := s.read(path, form("check", "", `{"groups": 7}`)); resp.StatusCode != 400 || !strings.Contains(text, "groups") || hidden(t, text, "checked") != "" {
		t.Errorf("what is wrong passes: %d\n%s", resp.StatusCode, text)
	}
	_, text = s.read(path, form("check", "", document))
	if !strings.Contains(text, `+     "night"`) || !strings.Contains(text, "Write it") {
		t.Errorf("the change is not shown:\n%s", text)
	}
	checked := hidden(t, text, "checked")
	for name, unchecked := range map[string]url.Values{
		"unchecked": form("write", "", document), "another document than was checked": form("write", checked, document+" "), "a deletion": form("delete", checked, document),
	} {
		if resp, _ := s.read(path, unchecked); resp.StatusCode != 200 || stored() != before {
			t.Errorf("%s is written: %d, %s", name, resp.StatusCode, stored())
		}
	}
	if resp, text := s.read(path, form("write", checked, document)); resp.StatusCode != 303 || stored() != document {
		t.Errorf("got %d, stored is %s\n%s", resp.StatusCode, stored(), text)
	}

	// The index is that of the former version now: somebody was quicker.
	mine := strings.Replace(document, "night", "day", 1)
	_, text = s.read(path, form("check", "", mine))
	if !strings.Contains(text, "Somebody has changed the object") || hidden(t, text, "checked") != "" {
		t.Errorf("the conflict is not told:\n%s", text)
	}
	_, now := s.read(path, nil)
	old := index
	index = hidden(t, now, "index")
	_, text = s.read(path, form("check", "", mine))
	checked = hidden(t, text, "checked")
	index = old
	resp, text := s.read(path, form("write", checked, mine))
	if resp.StatusCode != 412 || !strings.Contains(text, "Somebody has changed the object") || !strings.Contains(text, `-     "night"`) || stored() != document {
		t.Errorf("the conflict gives %d, stored is %s\n%s", resp.StatusCode, stored(), text)
	}
	index = hidden(t, text, "index")
	_, text = s.read(path, form("delete", "", ""))
	if resp, _ := s.read(path, form("delete", hidden(t, text, "checked"), "")); resp.StatusCode != 303 || !strings.HasPrefix(stored(), "none") {
		t.Errorf("deleting gives %d, stored is %s", resp.StatusCode, stored())
	}

	// A new one, which somebody else makes meanwhile.
	index = "0"
	_, text = s.read(path, form("check", "", document))
	checked = hidden(t, text, "checked")
	if _, err := docs.Check(&api.Transaction{}); err != nil {
		t.Error(err)
	}
	if resp, _ := s.read(path, form("write", checked, document)); resp.StatusCode != 303 {
		t.Errorf("making it gives %d", resp.StatusCode)
	}
	if resp, text := s.read(path, form("write", checked, document)); resp.StatusCode != 409 || !strings.Contains(text, "Somebody") {
		t.Errorf("making it twice gives %d", resp.StatusCode)
	}
}

func TestDiffs(t *testing.T) {
	tests := []struct{ name, before, after, want string }{
		{"the same", "a\nb\n", "a\r\nb", ""},
		{"a line is new", "a\nc\n", "a\nb\nc\n", " a|+b| c"},
		{"a line goes", "a\nb\nc\n", "a\nc\n", " a|-b| c"},
		{"a line changes", "a\nb\nc\n", "a\nB\nc\n", " a|-b|+B| c"},
		{"all is new", "", "a\nb", "+a|+b"},
		{"all goes", "a\nb", "", "-a|-b"},
		{"what is far is left out", "1\n2\n3\n4\n5\nx\n6\n7\n8\n9\n10", "1\n2\n3\n4\n5\ny\n6\n7\n8\n9\n10", "…| 3| 4| 5|-x|+y| 6| 7| 8|…"},
		{"JSON in a line is laid out", `{"a":1,"b":2}`, `{"a":1,"b":3}`, ` {|   "a": 1,|-  "b": 2|+  "b": 3| }`},
		{"two changes apart", "a\nb\nc\nd", "A\nb\nc\nD", "-a|+A| b| c|-d|+D"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, l := range diff(tt.before, tt.after) {
				got = append(got, l.Sign+l.Text)
			}
			if text := strings.Join(got, "|"); text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
	long := strings.Repeat("x\n", 20000)
	if d := diff("a\n"+long, "b\n"+strings.Repeat("y\n", 20000)); len(d) != 40002 {
		t.Errorf("two long documents differ in %d lines", len(d))
	}
}

func TestLiveIsFiltered(t *testing.T) { // U7
	s := newSite(t, Config{Prefix: "lictor/", Recent: func() *api.Recents {
		return &api.Recents{Missed: 7, Requests: []api.Recent{
			{Method: "GET", Host: "a.example", Path: "/shop", Client: "192.0.2.1", Status: 403, Reason: "acl", Rule: "lictor/policy/acls/x"},
			{Method: "PUT", Host: "b.example", Path: "/pay", Client: "192.0.2.2", Status: 200, Reason: "blacklist", Mode: "report", Consumer: "bob"},
		}}
	}})
	tests := []struct {
		path      string
		want, not string
	}{
		{"/ui/live", "7 more since the start", "and 7"},
		{"/ui/live?q=SHOP", "/ui/explain?from=192.0.2.1&method=GET&url=http%3A%2F%2Fa.example%2Fshop", "/pay"},
		{"/ui/live?q=SHOP", `"/ui/policy/acls/x"`, "/pay"},
		{"/ui/live?reason=blacklist", "200 blacklist, report only", "/shop"},
		{"/ui/live?q=bob", "PUT b.example/pay", "/shop"},
		{"/ui/live?q=nosuch", "None.", "/shop"},
	}
	for _, tt := range tests {
		_, text := s.read(tt.path, nil)
		_, text, _ = strings.Cut(text, `id="live"`)
		if !strings.Contains(text, tt.want) || strings.Contains(text, tt.not) {
			t.Errorf("%s: want %q and not %q in\n%s", tt.path, tt.want, tt.not, text)
		}
	}
}

// No page shows the secret of a plugin, however its document spells it.
func TestNoPageShowsASecret(t *testing.T) { // U4
	const secret = "a-secret-of-<32>-bytes-&-more-of-it"
	plugins := map[string]string{
		"plugins/json":    `{"name": "jwt", "config": {"secrets": ["` + secret + `", "another ` + secret + `"], "issuer": "https://id"}}`,
		"plugins/escaped": `{"name": "jwt", "config": {"secrets": ["a-secret-of-\u003c32\u003e-bytes-\u0026-more-of-it"]}}`,
		"plugins/mixed":   `{"name": "jwt", "config": {"secrets": ["\u0061-secret-of-<32>-bytes-&-more-of-it"]}}`,
		"plugins/hcl":     "name = \"jwt\"\nconfig = {\n  secrets = [\"" + secret + "\"]\n}\n",
		"plugins/text":    `{"name": "jwt", "config": {"secrets": "` + secret + `"}}`,
		"plugins/deep":    `{"name": "jwt", "config": {"secrets": {"a": "` + secret + `"}}}`,
		"plugins/twice":   `{"name": "jwt", "config": {"secrets": ["x"], "secrets": ["` + secret + `"]}}`,
		"plugins/broken":  `{"name": "jwt", "config": {"secrets": ["` + secret + `"`,
	}
	s := newSite(t, withDocuments(t, Config{Prefix: "lictor/"}, plugins))
	pages := []string{"/ui/policy", "/ui/policy?q=secret"}
	for key := range plugins {
		pages = append(pages, "/ui/policy/"+key, "/ui/policy/"+key+"/edit")
	}
	for _, page := range pages {
		answer, text := s.send(page, nil)
		if text = html.UnescapeString(text); answer.StatusCode != http.StatusOK || strings.Contains(text, "of-<32>-bytes") || strings.Contains(text, "32\\u003e-bytes") {
			t.Errorf("%s: %d, and shows a secret:\n%s", page, answer.StatusCode, text)
		}
	}
	// Nor does a search tell what stands in it: who may only read would find it piece by piece.
	for _, word := range []string{"a-secret", "of-<32>-bytes", "more-of-it", "u003c32", "another a"} {
		if _, text := s.send("/ui/policy?"+url.Values{"q": {word}}.Encode(), nil); strings.Contains(text, `<th scope="row"><a href="/ui/policy/plugins/`) {
			t.Errorf("a search for %q finds plugins by a secret:\n%s", word, text)
		}
	}
	if _, text := s.send("/ui/policy?q=https://id", nil); !strings.Contains(text, `<th scope="row"><a href="/ui/policy/plugins/json"`) {
		t.Errorf("a search for the rest of a document does not find it:\n%s", text)
	}
	if _, text := s.send("/ui/policy/plugins/json/edit", nil); !strings.Contains(html.UnescapeString(text), `"[secret]"`) || !strings.Contains(text, "https://id") {
		t.Errorf("the form has not the rest of the document:\n%s", text)
	}
	// A change of the secret alone is told, though no difference can be shown.
	_, text := s.send("/ui/policy/plugins/hcl/edit", nil)
	index := regexp.MustCompile(`name="index" value="(\d+)"`).FindStringSubmatch(text)[1]
	form := url.Values{"index": {index}, "action": {"check"}, "document": {strings.ReplaceAll(plugins["plugins/hcl"], secret, "another-"+secret)}}
	if _, text := s.send("/ui/policy/plugins/hcl/edit", form); !strings.Contains(text, "A secret, or the layout") || !strings.Contains(text, "Write it") {
		t.Errorf("a new secret is not told:\n%s", text)
	}
	// What would change is shown without what stands in the store.
	form = url.Values{"index": {index}, "action": {"delete"}}
	if _, text := s.send("/ui/policy/plugins/hcl/edit", form); strings.Contains(html.UnescapeString(text), secret) {
		t.Errorf("the difference shows a secret:\n%s", text)
	}
}
