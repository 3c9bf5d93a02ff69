package form

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func TestLists(t *testing.T) { // C32
	tests := []struct {
		name, kind, body string
		want             []string // nil = an error
	}{
		{"a JSON list", formType, `k=["a","b"]`, []string{"a", "b"}},
		{"a JSON list with blanks", formType, `k=["GET", "POST"]`, []string{"GET", "POST"}},
		{"a JSON list of numbers", formType, `k=[1,2.50]`, []string{"1", "2.50"}},
		{"an empty JSON list", formType, `k=[]`, []string{}},
		{"field after field", formType, `k=a&k=b`, []string{"a", "b"}},
		{"brackets", formType, `k[]=a&k[]=b,c`, []string{"a", "b,c"}},
		{"encoded brackets", formType, `k%5B%5D=a`, []string{"a"}},
		{"numbered, in the order of the numbers", formType, `k[2]=c&k[1]=b&k[10]=d`, []string{"b", "c", "d"}},
		{"mixed, in the order of the body", formType, `k[2]=a&k=b`, []string{"a", "b"}},
		{"commas", formType, `k=a, b ,c`, []string{"a", "b", "c"}},
		{"quotes keep commas", formType, `k="a,b"`, []string{"a,b"}},
		{"nothing", formType, `k=`, []string{}},
		{"an address with a port is no JSON list", formType, `k=[::1]:80`, []string{"[::1]:80"}},
		{"a broken JSON list", formType, `k=["a","b"`, nil},
		{"a JSON list with more behind it", formType, `k=["a"]x`, nil},
		{"a list of lists", formType, `k=[["a"]]`, nil},
		{"an element that is JSON is taken apart", formType, `k[]=["a","b"]`, []string{"a", "b"}},
		{"JSON", jsonType, `{"k":["a","b"]}`, []string{"a", "b"}},
		{"JSON with one string", jsonType, `{"k":"a,b"}`, []string{"a,b"}},
		{"JSON with a number", jsonType, `{"k":[1]}`, []string{"1"}},
		{"JSON with a boolean", jsonType, `{"k":[true]}`, nil},
		{"JSON with an object", jsonType, `{"k":{"a":1}}`, nil},
		{"JSON with null inside", jsonType, `{"k":[null]}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Decode(tt.kind, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := List("k", f["k"])
			if (err == nil) != (tt.want != nil) || !slices.Equal(got, tt.want) {
				t.Errorf("got %q %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestScalars(t *testing.T) { // C32
	tests := []struct {
		name, kind, body string
		text, truth      string
		whole            string
	}{
		{"plain text", formType, `k=a,b`, "a,b", "error", "error"},
		{"a quoted text", formType, `k="thefosk"`, "thefosk", "error", "error"},
		{"text in odd quotes", formType, `k="a"b"`, `"a"b"`, "error", "error"},
		{"an escape in quotes", formType, `k="a\u0041"`, "aA", "error", "error"},
		{"a number", formType, `k=10`, "10", "error", "10"},
		{"a quoted number", formType, `k="10"`, "10", "error", "10"},
		{"a boolean", formType, `k=TRUE`, "TRUE", "true", "error"},
		{"given twice", formType, `k=1&k=1`, "error", "error", "error"},
		{"an element", formType, `k[]=1`, "error", "error", "error"},
		{"JSON text", jsonType, `{"k":"a"}`, "a", "error", "error"},
		{"a JSON number", jsonType, `{"k":10}`, "10", "error", "10"},
		{"a JSON fraction", jsonType, `{"k":1.5}`, "1.5", "error", "error"},
		{"a JSON boolean", jsonType, `{"k":false}`, "error", "false", "error"},
		{"a JSON text for a number", jsonType, `{"k":"10"}`, "10", "error", "10"},
		{"a JSON list", jsonType, `{"k":[1]}`, "error", "error", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Decode(tt.kind, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			text, err1 := Text("k", f["k"])
			truth, err2 := Truth("k", f["k"])
			whole, err3 := Whole("k", f["k"])
			for _, c := range []struct {
				got  any
				err  error
				want string
			}{{text, err1, tt.text}, {truth, err2, tt.truth}, {whole, err3, tt.whole}} {
				got := fmt.Sprint(c.got)
				if c.err != nil {
					got = "error"
				}
				if got != c.want {
					t.Errorf("got %s %v, want %s", got, c.err, c.want)
				}
			}
		})
	}
}

func TestNesting(t *testing.T) { // C32
	tests := []struct {
		name, kind, body string
		want             string // as JSON, or the error
	}{
		{"dots nest", formType, `config.a=1&config.b.c=2`, `{"config":{"a":"1","b":{"c":"2"}}}`},
		{"dots nest in JSON too", jsonType, `{"config.a":1,"config":{"b":2}}`, `{"config":{"a":1,"b":2}}`},
		{"also inside", jsonType, `{"x":{"a.b":1}}`, `{"x":{"a":{"b":1}}}`},
		{"twice the same", jsonType, `{"config.a":1,"config":{"a":2}}`, "config.a is given twice"},
		{"twice in JSON", jsonType, `{"a":1,"a":1}`, "a is given twice"},
		{"a value and an object", formType, `a=1&a.b=2`, "a is given twice"},
		{"an object and a value", formType, `a.b=2&a=1`, "a is given twice"},
		{"too many dots", formType, strings.Repeat("a.", 40) + `b=1`, strings.Repeat("a.", 40) + `b is nested too deep`},
		{"too deep", jsonType, strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40), "cannot parse JSON body"},
		{"no object", jsonType, `[]`, "cannot parse JSON body"},
		{"more behind it", jsonType, `{} 1`, "cannot parse JSON body"},
		{"nothing", jsonType, ``, "cannot parse JSON body"},
		{"no UTF-8", formType, `a=%ff`, "a is no UTF-8 text"},
		{"a bad escape", formType, `a=%f`, "a is not encoded as a form wants it"},
		{"a bad escape in a name", formType, `%f=1`, "Cannot parse form body"},
		{"an odd bracket is a name", formType, `a[x]=1`, `{"a[x]":"1"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Decode(tt.kind, []byte(tt.body))
			got, _ := json.Marshal(Plain(f))
			if err != nil {
				got = []byte(err.Error())
			}
			if string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	if _, err := Decode(formType, []byte(strings.Repeat("a&", maxPairs))); err == nil {
		t.Error("a form of too many fields was read")
	}
	for _, kind := range []string{"", "text/plain", "application/json+x", ";;"} {
		if _, err := Decode(kind, []byte("{}")); !errors.Is(err, ErrMediaType) {
			t.Errorf("%q: got %v", kind, err)
		}
	}
	parts := strings.Repeat("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n", maxPairs+1) + "--x--\r\n"
	if _, err := Decode("multipart/form-data; boundary=x", []byte(parts)); err == nil {
		t.Error("a body of too many parts was read")
	}
}

// FuzzDecode looks for bodies that crash the decoders, that are read as
// something which is no JSON, or from which an urlencoded value gets lost.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`name="thefosk"&groups=["only_get"]&config.seconds=10`, `{"a.b":1,"c":["d",null,{"e":true}]}`, `k[2]=a&k[1]=b&k[]=c&k=d,e`,
		"--x\r\nContent-Disposition: form-data; name=\"k[]\"\r\n\r\nv\r\n--x--\r\n", `[`, `a=%zz`, `{"a":1,"a.b":2}`, `=&=&[]=1`, "\xff=\xff",
	} {
		for kind := range 3 {
			f.Add(kind, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		kinds := []string{formType, jsonType, "multipart/form-data; boundary=x"}
		kind = ((kind % len(kinds)) + len(kinds)) % len(kinds)
		fields, err := Decode(kinds[kind], body)
		if err != nil {
			return
		}
		if _, err := json.Marshal(Plain(fields)); err != nil {
			t.Errorf("%q is read as what is no JSON: %v", body, err)
		}
		for _, name := range fields.Names() {
			v := fields[name]
			_, _ = Text(name, v)
			_, _ = Truth(name, v)
			_, _ = Whole(name, v)
			_, _ = List(name, v)
			_, _ = Object(name, v)
		}
		if kind == 0 {
			nothingLost(t, fields, string(body))
		}
	})
}

// nothingLost compares an urlencoded body with what net/url reads.
func nothingLost(t *testing.T, fields Fields, body string) {
	want, err := url.ParseQuery(body)
	if err != nil {
		return // net/url minds semicolons
	}
	for name, values := range want {
		if strings.ContainsAny(name, ".[]") {
			continue
		}
		given, _ := fields[name].(said)
		var got []string
		for _, o := range given {
			if !o.listed {
				got = append(got, o.text)
			}
		}
		if !slices.Equal(got, values) {
			t.Errorf("%q: %q is read as %q, want %q", body, name, got, values)
		}
	}
}

// TestFieldsAreCounted wherever they stand.
func TestFieldsAreCounted(t *testing.T) {
	fields := func(n int, sep, format string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(list, sep)
	}
	for name, body := range map[string]func(n int) (kind, text string){
		"JSON":          func(n int) (string, string) { return jsonType, "{" + fields(n, ",", `"a%d":1`) + "}" },
		"nested JSON":   func(n int) (string, string) { return jsonType, `{"x":[{` + fields(n-1, ",", `"a%d":1`) + "}]}" },
		"a form":        func(n int) (string, string) { return formType, fields(n, "&", "a%d=1") },
		"a dotted form": func(n int) (string, string) { return formType, fields(n, "&", "a.b%d=1") },
		"a form in parts": func(n int) (string, string) {
			return "multipart/form-data; boundary=x", fields(n, "", "--x\r\nContent-Disposition: form-data; name=\"a%d\"\r\n\r\n1\r\n") + "--x--\r\n"
		},
	} {
		if _, err := decode(body(maxFields)); err != nil {
			t.Errorf("%s: %d fields: %v", name, maxFields, err)
		}
		if _, err := decode(body(maxFields + 1)); !errors.Is(err, errTooMany) {
			t.Errorf("%s: %d fields: got %v", name, maxFields+1, err)
		}
	}
	// A list may be long.
	if f, err := Decode(formType, []byte(fields(50_000, "&", "k[]=%d"))); err != nil || len(f) != 1 {
		t.Errorf("got %d fields, %v", len(f), err)
	}
}

func decode(kind, text string) (Fields, error) { return Decode(kind, []byte(text)) }
