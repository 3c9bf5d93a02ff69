package answer

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"lictor/proxy/http1/message"
)

func accept(values ...string) (fields []message.Field) {
	for _, v := range values {
		fields = append(fields, message.Field{Name: "Accept", Value: v, ID: message.FieldAccept})
	}
	return fields
}

func TestHTMLIsForThoseWhoPreferIt(t *testing.T) {
	for _, c := range []struct {
		name string
		html bool
		from []string
	}{
		{"nobody who says nothing", false, nil},
		{"nobody who says an empty list", false, []string{""}},
		{"not curl", false, []string{"*/*"}},
		{"Chromium", true, []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"}},
		{"Firefox", true, []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}},
		{"not an image of a page", false, []string{"image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}},
		{"not a script that fetches JSON", false, []string{"application/json, text/plain, */*"}},
		{"not who likes both alike", false, []string{"text/html, application/json"}},
		{"who likes JSON less", true, []string{"application/json;q=0.8, text/html;q=0.9"}},
		{"who likes JSON more", false, []string{"application/json;q=0.9, text/html;q=0.8"}},
		{"who likes all text", true, []string{"text/*"}},
		{"who takes anything but JSON", true, []string{"*/*, application/json;q=0"}},
		{"who takes anything but HTML", false, []string{"*/*, text/html;q=0"}},
		{"the more precise range, whatever its weight", false, []string{"text/*, text/html;q=0.1, */*;q=0.2"}},
		{"any HTML at all", true, []string{"text/html;q=0.001"}},
		{"not HTML of no weight", false, []string{"text/html;q=0.000"}},
		{"several fields as one list", true, []string{"application/json;q=0.5", "text/html"}},
		{"names in any case", true, []string{"TEXT/HTML;Q=0.7, Application/JSON;q=0.6"}},
		{"blanks", true, []string{" , \t text/html ; q=0.9 ,, application/json;q=0.1 "}},
		{"our charset", true, []string{`text/html;charset="UTF-8"`}},
		{"not another charset", false, []string{"text/html;charset=iso-8859-1"}},
		{"the range with our charset before that without", false, []string{"text/html;q=0.9, text/html;charset=utf-8;q=0.1, */*;q=0.5"}},
		{"not another level", false, []string{"text/html;level=1"}},
		{"a weight before the parameter", false, []string{"text/html;q=0.5;charset=utf-8, */*;q=0.6, text/html;q=0.9"}},
		{"a comma in a quoted string", false, []string{`application/json;x=", text/html, "`}},
		{"a quote in a quoted string", false, []string{`application/json;x="\", text/html, "`}},
		{"not behind a quoted string that does not end", false, []string{`application/json;x=", text/html`}},
		{"weights that are none", false, []string{"text/html;q=2, text/html;q=1.001, text/html;q=0.0001, text/html;q=-1, text/html;q=, text/html;q, text/html;q=.9"}},
		{"what is no range", false, []string{"html, text/, /html, */html, text/html/x, te xt/html, text"}},
		{"xhtml alone", false, []string{"application/xhtml+xml"}},
	} {
		if got := PrefersHTML(accept(c.from...)); got != c.html {
			t.Errorf("%s: %q: got %v, want %v", c.name, c.from, got, c.html)
		}
	}
	if PrefersHTML([]message.Field{{Name: "Accept-Language", Value: "text/html"}}) {
		t.Error("another field counts")
	}
}

// TestPreferenceIsThatOfTheMostSpecificRange compares with the rule as RFC 9110
// 12.5.1 says it, on lists that can be read.
func TestPreferenceIsThatOfTheMostSpecificRange(t *testing.T) {
	ranges := []string{"text/html", "text/*", "*/*", "application/json", "application/*", "image/png"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		weights := map[string]float64{}
		var list []string
		for _, one := range ranges {
			if r.IntN(2) == 0 {
				continue
			}
			q := strconv.FormatFloat(float64(r.IntN(1001))/1000, 'f', r.IntN(4), 64)
			weights[one], _ = strconv.ParseFloat(q, 64)
			list = append(list, one+";q="+q)
		}
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		first := func(names ...string) float64 {
			for _, n := range names {
				if q, ok := weights[n]; ok {
					return q
				}
			}
			return 0
		}
		want := first("text/html", "text/*", "*/*") > first("application/json", "application/*", "*/*")
		if got := PrefersHTML(accept(strings.Join(list, ", "))); got != want {
			t.Fatalf("%q: got %v, want %v", list, got, want)
		}
	}
}

func TestAPreferenceIsReadWithoutAllocating(t *testing.T) {
	fields := accept(`text/html;q="0.9",application/json;q=0.5,*/*;q=0.1`)
	if n := testing.AllocsPerRun(100, func() { PrefersHTML(fields) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzAccept: whatever the value is, what stands behind it in a field of its own is
// read as ever.
func FuzzAccept(f *testing.F) {
	f.Add("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	f.Add(`text/html;charset="utf-8\",x";q=0.123, application/json;q=1.000`)
	f.Add(strings.Repeat(",", 64))
	f.Fuzz(func(t *testing.T, value string) {
		both := PrefersHTML(accept(value))
		if again := PrefersHTML(accept(value, "image/png", "", `a/b;c="`)); again != both {
			t.Errorf("%q: %v, and with others %v", value, both, again)
		}
		if !PrefersHTML(accept(value, "text/html;charset=utf-8;q=1")) && !PrefersHTML(accept(value, "application/json;q=0, application/json;charset=utf-8;q=0, text/html;charset=utf-8")) {
			t.Errorf("%q: nothing makes it prefer HTML", value)
		}
	})
}

func BenchmarkPrefersHTML(b *testing.B) {
	fields := accept("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7")
	b.ReportAllocs()
	for b.Loop() {
		PrefersHTML(fields)
	}
}
