package consul

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestNameList(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string // nil: an error
	}{
		{"names without their tags", `{"a":["x","y"],"b":[]}`, []string{"a", "b"}},
		{"white space, as -dev prints it", "{\n    \"a\": [\n \"t\" ],\n \"b\" : []\n}", []string{"a", "b"}},
		{"tags that look like names", `{"a":["b\":[]","{","}"],"c":["[","]",","]}`, []string{"a", "c"}},
		{"escapes", `{"\u0061\"\\":["\\"],"b\\":[]}`, []string{`a"\`, `b\`}},
		{"no service", `{}`, []string{}},
		{"names too long for a service", `{"` + strings.Repeat("n", 6*maxName+1) + `":[],"` + strings.Repeat("n", 64<<10) + `":[],"a":[]}`, []string{"a"}},
		{"another kind of value", `[]`, nil},
		{"cut in a name", `{"a":[],"b`, nil},
		{"cut behind a backslash", `{"a":[],"b\`, nil},
		{"cut in the tags", `{"a":["x"`, nil},
		{"nothing", ``, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := nameList{seed: maphash.MakeSeed()}
			err := readText(&list, tt.text)
			if (err != nil) != (tt.want == nil) || !slices.Equal(list.names, tt.want) {
				t.Fatalf("got %q, %v, want %q", list.names, err, tt.want)
			}
			if err != nil {
				return
			}
			again := nameList{seed: list.seed, known: list.hash}
			if err := readText(&again, tt.text); err != nil || again.names != nil || again.hash != list.hash {
				t.Errorf("an equal answer gives %q, %v", again.names, err)
			}
		})
	}
}

// FuzzNameList compares with encoding/json: what it reads, lictor reads alike.
func FuzzNameList(f *testing.F) {
	for _, seed := range []string{`{"a":["x"],"b":[]}`, `{"a\"b":["{"]}`, `{`, `[]`, "{\"\\u00e4\":\n[]}", `{"a":["\\"],"\\":[]}`, "{\"\xb0\":[]}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list := nameList{seed: maphash.MakeSeed()}
		err := readText(&list, text)
		var want map[string][]string
		if json.Unmarshal([]byte(text), &want) != nil || want == nil {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		tooLong := func(name string) bool { return len(name) > maxName }
		maps.DeleteFunc(want, func(name string, _ []string) bool { return tooLong(name) })
		list.names = slices.DeleteFunc(list.names, tooLong)
		slices.Sort(list.names)
		if got := slices.Compact(list.names); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Errorf("%q gives %q", text, got)
		}
	})
}

// BenchmarkNameList is what each registration anywhere costs at the least.
func BenchmarkNameList(b *testing.B) {
	services := map[string][]string{}
	for i := range 1000 {
		services[fmt.Sprintf("service-%d", i)] = []string{"http", "v1"}
	}
	text, err := json.Marshal(services)
	if err != nil {
		b.Fatal(err)
	}
	answer := string(text)
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%v", known), func(b *testing.B) {
			first := nameList{seed: maphash.MakeSeed()}
			if err := readText(&first, answer); err != nil || len(first.names) != 1000 {
				b.Fatalf("%d names, %v", len(first.names), err)
			}
			b.ReportAllocs()
			for b.Loop() {
				list := nameList{seed: first.seed, room: 1000}
				if known {
					list.known = first.hash
				}
				if err := readText(&list, answer); err != nil || (list.names == nil) != known {
					b.Fatal("the wrong path is measured")
				}
			}
		})
	}
}
