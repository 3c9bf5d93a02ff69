package document

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"lictor/policy"
)

func key(kind policy.Kind, name string) policy.Key { return policy.Key{Kind: kind, Name: name} }

func TestParseLists(t *testing.T) { // A11, X11, A10
	full := &policy.List{Entries: []string{"a.example", "10.0.0.0/8"}, Direction: policy.Both, Mode: policy.Enforce}
	tests := []struct {
		name, text string
		kind       policy.Kind
		want       *policy.List
	}{
		{"an object in JSON", `{"entries":["a.example","10.0.0.0/8"]}`, policy.KindBlacklist, full},
		{"a bare JSON array", " \n[\"a.example\",\n\"10.0.0.0/8\"]", policy.KindBlacklist, full},
		{"one entry a line with comments", "# ours\n\na.example # bad\n  10.0.0.0/8\n", policy.KindBlacklist, full},
		{"an object in HCL", "# ours\nentries = [\"a.example\", \"10.0.0.0/8\"]\n", policy.KindBlacklist, full},
		{"HCL whose first field is another", "\n// x\nmode = \"enforce\"\nentries = [\"a.example\",\n\"10.0.0.0/8\"]", policy.KindBlacklist, full},
		{"a whitelist speaks of the egress unless it says so", "a.example\n10.0.0.0/8", policy.KindWhitelist,
			&policy.List{Allow: true, Entries: full.Entries, Direction: policy.Egress, Mode: policy.Enforce}},
		{"an empty text is an empty list", "", policy.KindBlacklist, &policy.List{Direction: policy.Both, Mode: policy.Enforce}},
		{"vumi's entries", "69.16.230.117\n2606:2800:220:1:248:1893:25c8:1946", policy.KindBlacklist,
			&policy.List{Entries: []string{"69.16.230.117", "2606:2800:220:1:248:1893:25c8:1946"}, Direction: policy.Both, Mode: policy.Enforce}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := Parse(key(tt.kind, "ops"), []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			got := *o.(*policy.List)
			if len(got.Lines) != len(got.Entries) {
				t.Errorf("%d lines for %d entries", len(got.Lines), len(got.Entries))
			}
			if got.Lines = nil; !reflect.DeepEqual(&got, tt.want) {
				t.Errorf("got %+v, want %+v", got, *tt.want)
			}
		})
	}
}

func TestParseTellsWhereWhatIsWrong(t *testing.T) { // X6: errors name line and field
	tests := []struct {
		name string
		kind policy.Kind
		text string
		want []string // line: field: text
	}{
		{"broken JSON", policy.KindBlacklist, "{\n\"entries\": [\n\"a\" \"b\"]}", []string{"line 3: invalid"}},
		{"JSON cut short", policy.KindACLs, "{\"api\":", []string{"line 1: the JSON value ends too early"}},
		{"something after JSON", policy.KindACLs, `{"api":"a","groups":["g"]} x`, []string{"line 1: something follows"}},
		{"a field given twice in JSON", policy.KindACLs, "{\"api\":\"a\",\n\"api\":\"b\"}", []string{"line 2: api is given twice"}},
		{"a field given twice in HCL", policy.KindACLs, "api = \"a\"\napi = \"b\"", []string{"line 2: Attribute redefined"}},
		{"broken HCL", policy.KindACLs, "api = \"a\"\ngroups = [", []string{"line 2: "}},
		{"HCL with a variable", policy.KindACLs, "api = nosuch\ngroups = [\"g\"]", []string{"line 1: Variables not allowed"}},
		{"unknown fields, all of them", policy.KindGroups, "{\"x\":1,\n\"y\":2}", []string{"line 1: x: is an unknown field", "line 2: y: is an unknown field"}},
		{"a wrong type", policy.KindACLs, "{\"api\":7,\n\"groups\":\"g\"}", []string{"line 1: api: is a number, want a string", "line 2: groups: is a string, want a list"}},
		{"a wrong element", policy.KindFilters, "methods = [\"GET\",\n  7]", []string{"line 2: methods[1]: is a number, want a string"}},
		{"a bad mode", policy.KindBlacklist, "mode = \"x\"", []string{`line 1: mode: is "x", want "enforce" or "report"`}},
		{"a bad method, address, path and country", policy.KindFilters,
			"methods = [\"G T\"]\nips = [\"1.2.3.4/33\"]\npaths = [\"x\"]\nlocations = [\"XX\"]\nhosts = [\"a..b\"]",
			[]string{"line 1: methods[0]", "line 2: ips[0]", "line 3: paths[0]", "line 4: locations[0]", "line 5: hosts[0]"}},
		{"an empty filter", policy.KindFilters, "{}", []string{"line 1: At least one property needs to be specified"}},
		{"a bad limit", policy.KindPlugins, "name = \"rate-limiting\"\nconfig {\n  second = 10\n  minute = 5\n}", []string{"line 4: config.minute: is 5, below"}},
		{"an unknown setting", policy.KindPlugins, "{\"name\":\"key-auth\",\n\"config\":{\"x\":1}}", []string{"line 2: config.x: is an unknown field"}},
		{"an unknown plugin", policy.KindPlugins, `{"name":"oauth2"}`, []string{`line 1: name: Plugin "oauth2" not found`}},
		{"another name than the key's", policy.KindConsumers, `{"name":"bob"}`, []string{`line 1: name: is "bob", want the key's own name "k"`}},
		{"a bad time", policy.KindConsumers, `{"created_at":"yesterday"}`, []string{"line 1: created_at: is"}},
		{"a bad credential name", policy.KindCredentials, `{"consumer":"bob"}`, []string{`line 1: the key's name "k" is no SHA-256`}},
		{"a bad domain and backend", policy.KindMappings, "{\"backends\":[\n\"ftp://x\"]}", []string{`line 1: domain: "k" is no domain`, "line 2: backends[0]"}},
		{"an ACL that says nothing", policy.KindACLs, `{"api":"a"}`, []string{"line 1: want consumers, groups or filters"}},
		{"a negative sequence", policy.KindMappings, `{"domain":"k","backends":["http://x"],"seq":-1}`, []string{"line 1: domain", "line 1: seq"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(key(tt.kind, "k"), []byte(tt.text))
			problems, ok := errors.AsType[policy.Problems](err)
			if !ok {
				t.Fatalf("got %v, want problems", err)
			}
			for _, want := range tt.want {
				found := false
				for _, p := range problems {
					found = found || strings.HasPrefix(p.String(), want)
				}
				if !found {
					t.Errorf("got %v, want %q among them", problems, want)
				}
			}
		})
	}
}

// TestPartOfABadObject checks that what closes can be told from the rest (X6).
func TestPartOfABadObject(t *testing.T) {
	for _, text := range []string{
		`{"api":"mockbin","groups":7}`, `{"api":"mockbin","groups":["`, "{\"api\":\"mockbin\",\"groups\":[\"\xff\"]}",
		"api = \"mockbin\"\ngroups = [", "api = \"mockbin\"\ngroups = nosuch", `{"api":"mockbin","groups":["g"]} x`,
	} {
		o, err := Parse(key(policy.KindACLs, "1"), []byte(text))
		if a, ok := o.(*policy.ACL); err == nil || !ok || a.API != "mockbin" {
			t.Errorf("%s gives %+v, %v, want the API and an error", text, o, err)
		}
	}
	if o, err := Parse(key("nosuch", "1"), nil); o != nil || err == nil {
		t.Errorf("an unknown kind gives %v, %v", o, err)
	}
}

// samples are one full object of each kind.
var samples = map[policy.Key]string{
	key(policy.KindBlacklist, "ops"): `{"entries":["a.example","GET http://b.example/x"],"direction":"ingress","mode":"report","reason":"why ${not} %{x} \"q\"\n"}`,
	key(policy.KindWhitelist, "ops"): `["a.example"]`,
	key(policy.KindConsumers, "bob"): `{"id":"1","custom_id":"c","groups":["g","h"],"created_at":"2026-01-02T03:04:05Z"}`,
	key(policy.KindCredentials, strings.Repeat("ab", 32)): `{"consumer":"bob","id":"7","created_at":"2026-01-02T03:04:05+01:00",
		"not_after":"2027-01-02T03:04:05Z"}`,
	key(policy.KindGroups, "g"):            `{"plugins":["p"]}`,
	key(policy.KindFilters, "f"):           `{"methods":["get"],"hosts":["*.x.org"],"paths":["/a"],"ips":["2.2.2.1/24"],"locations":["us"],"inline":true}`,
	key(policy.KindPlugins, "p"):           `{"name":"rate-limiting","config":{"seconds":10,"scope":"split"},"enabled":false,"global":false,"mode":"report"}`,
	key(policy.KindPlugins, "k"):           `{"name":"key-auth","config":{"keynames":["a","b"],"hide_credentials":true}}`,
	key(policy.KindACLs, "a"):              `{"api":"x","consumers":["bob"],"groups":["g"],"filters":["f"],"mode":"report"}`,
	key(policy.KindPluginMappings, "m"):    `{"api":"x","plugins":["p"],"consumers":["bob"],"groups":["g"],"filters":["f"]}`,
	key(policy.KindAPIs, "x"):              `{"filters":["f"],"backends":["http://h:1/p"],"protected_headers":["X-In-*"]}`,
	key(policy.KindMappings, "*.wm.org"):   `{"tenant":"t","backends":["http://h:1","https://[::1]:2/p"],"seq":7}`,
	key(policy.KindMappings, "a.b.wm.org"): `{"domain":"A.b.WM.org.","backends":["http://h:1"]}`,
}

func TestRoundTrip(t *testing.T) { // X11: JSON and HCL have the same schema
	for k, text := range samples {
		t.Run(k.String(), func(t *testing.T) {
			o, err := Parse(k, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			checkRoundTrip(t, k, o)
		})
	}
}

func checkRoundTrip(t *testing.T, k policy.Key, o policy.Object) {
	t.Helper()
	for _, write := range []func(policy.Object) ([]byte, error){JSON, HCL, Text} {
		data, err := write(o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(k, data)
		if err != nil {
			t.Fatalf("%v in\n%s", err, data)
		}
		for _, o := range []policy.Object{o, again} {
			if l, ok := o.(*policy.List); ok {
				l.Lines = nil
			}
		}
		if !reflect.DeepEqual(o, again) {
			t.Errorf("wrote %+v, read %+v from\n%s", o, again, data)
		}
	}
}

func FuzzParse(f *testing.F) {
	for k, text := range samples {
		f.Add(string(k.Kind), k.Name, []byte(text))
		if o, err := Parse(k, []byte(text)); err == nil {
			data, _ := HCL(o)
			f.Add(string(k.Kind), k.Name, data)
		}
	}
	f.Add("blacklist", "x", []byte("# c\n10.0.0.1\n[::1]:80"))
	f.Fuzz(func(t *testing.T, kind, name string, data []byte) {
		k := key(policy.Kind(kind), name)
		o, err := Parse(k, data)
		if err == nil {
			checkRoundTrip(t, k, o)
		} else if problems, ok := errors.AsType[policy.Problems](err); !ok || len(problems) == 0 {
			t.Errorf("an error that names nothing: %v", err)
		}
	})
}

// TestHCLAndJSONSayTheSame reads one text in both forms: what a rule guards must
// not depend on how it was written down.
func TestHCLAndJSONSayTheSame(t *testing.T) {
	for _, text := range []string{
		"/A\u0300", "/\u00c0", "/a\u0323\u0307", "/\u1100\u1161\u11a8", "/\u212b", "/e\u0301/\u00e9", "a ${b} %{c} $${d} %%{e}",
		"tab\tline\nquote\"back\\slash", "\u2028 \u00a0 \ufeff", "\u200d\U0001f468\u200d\U0001f469", "",
	} {
		json, err := JSON(&policy.List{Entries: []string{"a.example"}, Reason: text})
		if err != nil {
			t.Fatal(err)
		}
		hcl, err := HCL(&policy.List{Entries: []string{"a.example"}, Reason: text})
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{json, hcl} {
			o, err := Parse(key(policy.KindBlacklist, "x"), data)
			if err != nil || o.(*policy.List).Reason != text {
				t.Errorf("%q is read as %q, %v from %s", text, o.(*policy.List).Reason, err, data)
			}
		}
	}
}

// TestHCLForms checks the ways to write a value that the language has.
func TestHCLForms(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"comments everywhere", "/* a */ name = \"x\" // b\n# c\nconfig { # d\n a = 1 /* e\n */\n}\n", `{"name":"x","config":{"a":1}}`},
		{"a block on one line", "config { a = true }", `{"config":{"a":true}}`},
		{"an object on one line", `config = {a = 1, "b c" : -2.5, d = null}`, `{"config":{"a":1,"b c":-2.5,"d":null}}`},
		{"an object on lines", "config = {\n a = 1\n b = [1,\n 2,\n ]\n}", `{"config":{"a":1,"b":[1,2]}}`},
		{"whole numbers written otherwise", "config { a = 10.0\n b = 1e3 }", `{"config":{"a":10,"b":1000}}`},
		{"escapes", `name = "a\"\\\n\t\u00e9\U0001f600$${x}%%{y}$z%"`, `{"name":"a\"\\\n\té😀${x}%{y}$z%"}`},
		{"a heredoc", "name = <<A\n x\n  y\nA\n", `{"name":" x\n  y\n"}`},
		{"a heredoc whose indentation goes", "name = <<-A\n    x\n\n      y $${z}\n    A\n", `{"name":"x\n\n  y ${z}\n"}`},
		{"CRLF", "name = \"x\"\r\nconfig {\r\n  a = 1\r\n}\r\n", `{"name":"x","config":{"a":1}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := parseHCL([]byte(tt.text))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			want, problems := parseJSON([]byte(tt.want))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if g, w := got.plain(), want.plain(); !reflect.DeepEqual(g, w) {
				t.Errorf("got %#v, want %#v", g, w)
			}
		})
	}
}

// FuzzHCL compares what is read with what the language's own parser makes of a
// text, where that is data.
func FuzzHCL(f *testing.F) {
	for k, text := range samples {
		if o, err := Parse(k, []byte(text)); err == nil {
			data, _ := HCL(o)
			f.Add(data)
		}
	}
	f.Add([]byte("a = <<-E\n  x\n y\nE\nb { c = 1 }\nd = [1, {e = \"$${f}\"}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4<<10 {
			return // the other parser takes the square
		}
		got, problems := parseHCL(data)
		want, ok := byLanguage(data)
		if len(problems) > 0 || !ok || bytes.ContainsFunc(data, func(r rune) bool { return r > '~' }) { // it composes characters
			return
		}
		if g, w := got.plain(), want.plain(); !reflect.DeepEqual(g, w) {
			t.Errorf("%q: got %#v, want %#v", data, g, w)
		}
	})
}
