package access_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/admin"
	"lictor/admin/access"
	"lictor/admin/admintest"
	"lictor/admin/edit"
	"lictor/admin/mapping"
	"lictor/admin/openapi"
	"lictor/policy"
	"lictor/policy/document"
	_ "lictor/policy/tokens" // reads keys
)

// shownAt are the paths of the API for each kind: of an object whose fields are
// the examples of its table, and as the routes have it.
var shownAt = map[policy.Kind]struct{ object, route string }{
	policy.KindBlacklist:      {"/blacklist/x", "/blacklist/{id}"},
	policy.KindWhitelist:      {"/whitelist/x", "/whitelist/{id}"},
	policy.KindConsumers:      {"/consumers/alice", "/consumers/{id}"},
	policy.KindCredentials:    {"/consumers/alice/key-auth/k-1", "/consumers/{consumer}/key-auth/{id}"},
	policy.KindGroups:         {"/groups/staff", "/groups/{id}"},
	policy.KindFilters:        {"/filters/reads", "/filters/{id}"},
	policy.KindPlugins:        {"/plugins/limit", "/plugins/{id}"},
	policy.KindACLs:           {"/mappings/acls/5eb456e3-3512-435a-8d96-cafc5ac1bb10", "/mappings/acls/{id}"},
	policy.KindPluginMappings: {"/mappings/plugins/5eb456e3-3512-435a-8d96-cafc5ac1bb10", "/mappings/plugins/{id}"},
	policy.KindAPIs:           {"/apis/shop", "/apis/{id}"},
	policy.KindMappings:       {"/v1/acme/mapping/shop.example.org", "/v1/{tenant}/mapping/{domain}"},
}

// example returns the example of a field as encoding/json has it.
func example(t *testing.T, f *policy.Field) any {
	t.Helper()
	switch f.Type {
	case policy.TypeText, policy.TypeMoment:
		return f.Example
	case policy.TypeList:
		return []any{f.Example}
	}
	var v any
	if err := json.Unmarshal([]byte(f.Example), &v); err != nil {
		t.Fatalf("the example of %s: %v", f.Name, err)
	}
	return v
}

// examples returns the examples of a kind's table, those that clients can set or
// all, by what call names a field.
func examples(t *testing.T, kind policy.Kind, all bool, call func(*policy.Field) string) map[string]any {
	values := make(map[string]any)
	table := policy.TableOf(kind)
	for i := range table.Fields {
		f := &table.Fields[i]
		onlyOfWhitelists := kind == policy.KindBlacklist && (f.Name == "consumers" || f.Name == "groups")
		if (all || !f.Fixed) && !onlyOfWhitelists {
			values[call(f)] = example(t, f)
		}
	}
	return values
}

func inDocuments(f *policy.Field) string { return f.Name }
func inTheAPI(f *policy.Field) string    { return cmp.Or(f.API, f.Name) }

// referred writes what the examples refer to.
func referred(t *testing.T, s *admintest.Server) {
	s.Write(t, policy.KindConsumers, "alice", `{"id":"c-1"}`)
	s.Write(t, policy.KindFilters, "reads", `{"methods":["GET"]}`)
	s.Write(t, policy.KindPlugins, "limit", `{"name":"key-auth"}`)
}

// keyOf returns the key of the object at a path.
func keyOf(kind policy.Kind, path string) policy.Key {
	if kind == policy.KindCredentials {
		return policy.Key{Kind: kind, Name: keyName}
	}
	return policy.Key{Kind: kind, Name: path[strings.LastIndexByte(path, '/')+1:]}
}

func TestEveryFieldOfADocumentIsShownAndCanBePutBack(t *testing.T) {
	for _, kind := range policy.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			s := admintest.Memory(t)
			referred(t, s)
			path := shownAt[kind].object
			text, err := json.Marshal(examples(t, kind, true, inDocuments))
			if err != nil {
				t.Fatal(err)
			}
			key := keyOf(kind, path)
			if _, err := document.Parse(key, text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			s.Write(t, kind, key.Name, string(text))
			shown := s.Want(t, 200, "GET", path, "")
			for name, want := range examples(t, kind, kind != policy.KindMappings, inTheAPI) {
				if !reflect.DeepEqual(shown.JSON[name], want) {
					t.Errorf("%s of %s is shown as %v, want %v", name, text, shown.JSON[name], want)
				}
			}
			f := full{kind: kind, name: key.Name}
			before := meaning(t, s, f)
			s.Want(t, 200, "PUT", path, shown.Text, "Content-Type", "application/json")
			if after := meaning(t, s, f); !reflect.DeepEqual(before, after) {
				t.Errorf("PUT of what GET showed makes %+v of %+v", after, before)
			}
		})
	}
}

func TestEveryFieldCanBeSet(t *testing.T) {
	for _, kind := range policy.Kinds {
		for spelling, encode := range map[string]func(map[string]any) string{"JSON": asJSON, "a form": asForm} {
			if kind == policy.KindMappings && spelling != "JSON" {
				continue // /v1 takes nothing else
			}
			t.Run(string(kind)+" in "+spelling, func(t *testing.T) {
				s := admintest.Memory(t)
				referred(t, s)
				given := examples(t, kind, false, inTheAPI)
				path, status := shownAt[kind].object, 201
				switch kind {
				case policy.KindMappings:
					path = path[:strings.LastIndexByte(path, '/')]
				case policy.KindConsumers, policy.KindFilters, policy.KindPlugins:
					status = 200 // it is there, for others refer to it
				case policy.KindCredentials:
					given["key"] = "secret"
				}
				s.Want(t, status, "PUT", path, encode(given))
				all, err := s.Store.List(t.Context(), string(kind))
				if err != nil || len(all) != 1 {
					t.Fatalf("got %d objects, %v", len(all), err)
				}
				var got map[string]any
				if err := json.Unmarshal(all[0].Value, &got); err != nil {
					t.Fatal(err)
				}
				for name, want := range examples(t, kind, false, inDocuments) {
					if name == "consumers" {
						want = []any{"c-1"} // a reference by name becomes one by id
					}
					if !reflect.DeepEqual(got[name], want) {
						t.Errorf("%s of %s is written as %v, want %v", name, encode(given), got[name], want)
					}
				}
			})
		}
	}
}

func asJSON(fields map[string]any) string {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func asForm(fields map[string]any) string {
	form := url.Values{}
	for name, value := range fields {
		switch v := value.(type) {
		case []any:
			form.Set(name+"[]", fmt.Sprint(v[0]))
		case map[string]any:
			for inner, v := range v {
				form.Set(name+"."+inner, fmt.Sprint(v))
			}
		default:
			form.Set(name, fmt.Sprint(v))
		}
	}
	return form.Encode()
}

// described returns the fields that the description has of the object at a route.
func described(t *testing.T, s *admintest.Server, path string) []openapi.Field {
	t.Helper()
	p := edit.New(s.Store, s.Policy.Loaded)
	routes, err := access.Routes(access.Config{Policy: p, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	more, err := mapping.Routes(p)
	if err != nil {
		t.Fatal(err)
	}
	routes = append(routes, more...)
	at := slices.IndexFunc(routes, func(r admin.Route) bool { return r.Method == "GET" && r.Path == path })
	if at < 0 {
		t.Fatalf("there is no route %s", path)
	}
	return routes[at].Doc.Answers[0].Body.Fields
}

func TestEveryFieldIsDescribed(t *testing.T) {
	s := admintest.Memory(t)
	for _, kind := range policy.Kinds {
		fields := described(t, s, shownAt[kind].route)
		for _, row := range policy.TableOf(kind).Fields {
			if kind == policy.KindMappings && row.Fixed {
				continue // the path says it, and the order
			}
			at := slices.IndexFunc(fields, func(f openapi.Field) bool { return f.Name == inTheAPI(&row) })
			if at < 0 || !strings.HasPrefix(fields[at].Schema.About, row.Doc) || fields[at].ReadOnly != row.Fixed {
				t.Errorf("%s: %s is not described as its table does", kind, row.Name)
			}
		}
	}
}

func TestEverySettingOfAPluginIsTakenAndDescribed(t *testing.T) {
	s := admintest.Memory(t)
	plugin := described(t, s, "/plugins/{id}")
	config := plugin[slices.IndexFunc(plugin, func(f openapi.Field) bool { return f.Name == "config" })].Schema
	for _, table := range policy.PluginTables() {
		for spelling, name := range map[string]func(*policy.Field) string{
			"the names": inDocuments, "the other spellings": func(f *policy.Field) string { return cmp.Or(f.Alias, f.Name) },
		} {
			for i := range table.Fields {
				f := &table.Fields[i]
				if !slices.ContainsFunc(config.Fields, func(d openapi.Field) bool { return d.Name == name(f) && d.Schema.About != "" }) {
					t.Errorf("%s of %s is not described", name(f), table.Plugin)
				}
			}
			for _, fields := range table.Choices() {
				given := make(map[string]any)
				for i := range fields {
					given[name(&fields[i])] = example(t, &fields[i])
				}
				takesSettings(t, s, table.Plugin+" by "+spelling, given, &table, name)
			}
		}
	}
}

// takesSettings makes a plugin in both formats, and looks whether it is shown as given.
func takesSettings(t *testing.T, s *admintest.Server, what string, given map[string]any, table *policy.PluginTable, name func(*policy.Field) string) {
	t.Helper()
	for format, body := range map[string]string{
		"JSON": asJSON(map[string]any{"name": table.Plugin, "config": given}), "a form": asForm(flat(table.Plugin, given)),
	} {
		got := s.Want(t, 201, "POST", "/plugins", body).JSON["config"]
		want := maps.Clone(given)
		for _, f := range table.Fields {
			if _, there := given[name(&f)]; f.Secret && there {
				want[name(&f)] = []any{"[secret]"}
			}
		}
		if !reflect.DeepEqual(got, any(want)) {
			t.Errorf("%s in %s: %s is shown as %v", what, format, body, got)
		}
	}
}

// flat spells a plugin as a form does: config.second=10.
func flat(plugin string, config map[string]any) map[string]any {
	fields := map[string]any{"name": plugin}
	for name, value := range config {
		fields["config."+name] = value
	}
	return fields
}
