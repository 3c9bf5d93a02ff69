package document_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"lictor/policy"
	"lictor/policy/document"
	_ "lictor/policy/tokens" // reads keys
)

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

// spellings returns documents that say one thing of a field.
func spellings(t *testing.T, f *policy.Field) map[string]string {
	t.Helper()
	value, err := json.Marshal(example(t, f)) // a value in JSON is one in HCL too
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"JSON": fmt.Sprintf(`{%q: %s}`, f.Name, value),
		"HCL":  fmt.Sprintf("%s = %s\n", f.Name, value),
	}
	if fields, ok := example(t, f).(map[string]any); ok {
		var block strings.Builder
		for name, v := range fields {
			fmt.Fprintf(&block, "\t%s = %v\n", name, v)
		}
		all["a block of HCL"] = f.Name + " {\n" + block.String() + "}\n"
	}
	return all
}

// Every field of every kind is read in every spelling of a document, and written
// again.
func TestEveryRowOfATableIsReadAndWritten(t *testing.T) {
	for _, kind := range policy.Kinds {
		table := policy.TableOf(kind)
		for i := range table.Fields {
			f := &table.Fields[i]
			for spelling, text := range spellings(t, f) {
				t.Run(fmt.Sprintf("%s of %s in %s", f.Name, kind, spelling), func(t *testing.T) {
					o, _ := document.Parse(policy.Key{Kind: kind, Name: "x"}, []byte(text)) // that the others are missing is no matter
					written, err := document.JSON(o)
					if err != nil {
						t.Fatal(err)
					}
					var got map[string]any
					if err := json.Unmarshal(written, &got); err != nil {
						t.Fatal(err)
					}
					if want := example(t, f); !reflect.DeepEqual(got[f.Name], want) {
						t.Errorf("%s is read as %v, want %v", text, got[f.Name], want)
					}
				})
			}
		}
	}
}

// The admin API takes a setting by its name, whichever plugin it is for.
func TestSettingsOfOneNameAreOfOneType(t *testing.T) {
	types := make(map[string]policy.Type)
	for _, table := range policy.PluginTables() {
		for i := range table.Fields {
			f := &table.Fields[i]
			if known, ok := types[f.Name]; ok && known != f.Type {
				t.Errorf("%s of %s is of the type %s, that of another plugin %s", f.Name, table.Plugin, f.Type, known)
			}
			types[f.Name] = f.Type
		}
	}
}

// Every setting of every plugin is read in both of its spellings.
func TestEverySettingOfAPluginIsRead(t *testing.T) {
	for _, table := range policy.PluginTables() {
		names := make(map[string]map[string]any)
		for n, fields := range table.Choices() {
			plain, other := make(map[string]any), make(map[string]any)
			for i := range fields {
				f := &fields[i]
				plain[f.Name] = example(t, f)
				other[cmp.Or(f.Alias, f.Name)] = example(t, f)
			}
			names[fmt.Sprint("the names ", n)], names[fmt.Sprint("the other spellings ", n)] = plain, other
		}
		for spelling, config := range names {
			t.Run(table.Plugin+" by "+spelling, func(t *testing.T) {
				text, err := json.Marshal(map[string]any{"name": table.Plugin, "config": config})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := document.Parse(policy.Key{Kind: policy.KindPlugins, Name: "x"}, text); err != nil {
					t.Errorf("%s: %v", text, err)
				}
				for i := range table.Fields {
					f := &table.Fields[i]
					without, err := json.Marshal(map[string]any{"name": table.Plugin, "config": map[string]any{}})
					if err != nil {
						t.Fatal(err)
					}
					_, err = document.Parse(policy.Key{Kind: policy.KindPlugins, Name: "x"}, without)
					if told := err != nil && strings.Contains(err.Error(), "config."+f.Name+": is missing"); told != f.Needed {
						t.Errorf("without %s: got %v, and the table says needed: %v", f.Name, err, f.Needed)
					}
				}
				for name := range config {
					wrong, err := json.Marshal(map[string]any{"name": table.Plugin, "config": map[string]any{name: []any{map[string]any{}}}})
					if err != nil {
						t.Fatal(err)
					}
					_, err = document.Parse(policy.Key{Kind: policy.KindPlugins, Name: "x"}, wrong)
					if err == nil || !strings.Contains(err.Error(), "config."+name+": is ") || strings.Contains(err.Error(), "unknown field") {
						t.Errorf("%s: got %v, want that it is of a wrong type", wrong, err)
					}
				}
			})
		}
	}
}
