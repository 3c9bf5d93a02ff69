package answer

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"lictor/policy"
)

const samplePage = `<!doctype html><title>{{.Status}} {{.StatusText}}</title>{{if eq .Status 429}}<p>Slow down{{else}}<p>{{.Message}}{{end}}
<p id="{{.Reason}}">{{.RequestID}}<script>var m = {{.Message}}</script>`

func mustPage(t *testing.T, text string) *ErrorPage {
	t.Helper()
	p, err := ParseErrorPage("error.html", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPageEscapesAllThatItTells(t *testing.T) {
	r := Refusal{Status: 403, Reason: "a\"><b>", Message: `</script><img src=x onerror="alert(1)">`, Err: errors.New("SECRET"), Entry: "ENTRY", Rule: policy.Rule{Key: "KEY"}, Challenge: "CHALLENGE"}
	head, body := r.Append(nil, "1f<i>", Form{Page: mustPage(t, samplePage), HTML: true})
	want := `<!doctype html><title>403 Forbidden</title><p>&lt;/script&gt;&lt;img src=x onerror=&#34;alert(1)&#34;&gt;
<p id="a&#34;&gt;&lt;b&gt;">1f&lt;i&gt;<script>var m = "\u003c/script\u003e\u003cimg src=x onerror=\"alert(1)\"\u003e"</script>`
	if string(body) != want {
		t.Errorf("got\n%s\nwant\n%s", body, want)
	}
	if !strings.Contains(string(head), "Content-Type: text/html; charset=utf-8\r\nVary: Accept\r\nContent-Length: "+strconv.Itoa(len(want))+"\r\n") {
		t.Errorf("the head is %q", head)
	}
}

func TestABodyIsChosenWhereThereIsAChoice(t *testing.T) {
	page := mustPage(t, "HTML {{.RequestID}}")
	for _, c := range []struct {
		name string
		r    Refusal
		form Form
		want string
		vary bool
	}{
		{"HTML for who prefers it", Refusal{Status: 404}, Form{Page: page, HTML: true}, "HTML id", true},
		{"JSON for others, who vary too", Refusal{Status: 404}, Form{Page: page}, `{"message"`, true},
		{"JSON without a page", Refusal{Status: 404}, Form{}, `{"message"`, false},
		{"a page of the policy's own", Refusal{Status: 503, Page: &policy.Page{Body: "own"}}, Form{Page: page, HTML: true}, "own", false},
		{"no body with 204", Refusal{Status: 204}, Form{Page: page, HTML: true}, "", false},
		{"JSON where middleware says what type it is", Refusal{Status: 403, Untyped: true}, Form{Page: page, HTML: true}, `{"message"`, false},
		{"nothing for gRPC", Refusal{Status: 404}, Form{Page: page, GRPC: "application/grpc"}, "", false},
	} {
		head, body := c.r.Append(nil, "id", c.form)
		if !strings.HasPrefix(string(body), c.want) || c.want == "" && len(body) > 0 {
			t.Errorf("%s: the body is %q", c.name, body)
		}
		if got := strings.Contains(string(head), "Vary: Accept\r\n"); got != c.vary {
			t.Errorf("%s: the head is %q", c.name, head)
		}
	}
}

func TestATemplateIsRefusedThatCouldDoMoreThanAPageNeeds(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", " \n", "is empty"},
		{"too long", strings.Repeat("x", maxTemplate+1), "has 65537 bytes, want at most 65536"},
		{"no text", "<p>\xff", "want UTF-8"},
		{"a comment alone", "{{/* nothing */}}", "the page of status 200 is empty"},
		{"no page of one status", "{{if ne .Status 404}}x{{end}}", "the page of status 404 is empty"},
		{"a syntax error", "<p>\n{{.Status", "error.html:2: unclosed action"},
		{"an unknown value", "{{.Password}}", "error.html:1:2: .Password: want .Status, .StatusText, .Reason, .Message, .RequestID"},
		{"an unknown value where it is not looked at", "{{if eq .Status 999}}{{.Password}}{{end}}", ".Password"},
		{"all mistakes at once", "{{.A}}{{.B}}", ".A: want .Status, .StatusText, .Reason, .Message, .RequestID; template: error.html:1:8: .B"},
		{"a method", "{{.Status.String}}", "want .Status"},
		{"the whole", "{{.}}", "want .Status"},
		{"an endless loop", "{{range 1000000000000}}{{end}}", "want values, if and else alone"},
		{"with", "{{with .Message}}{{.}}{{end}}", "want values, if and else alone"},
		{"a definition", `{{define "a"}}{{template "a"}}{{end}}x{{template "a"}}`, "want no define"},
		{"a template of itself", `x{{template "error.html" .}}`, "want values, if and else alone"},
		{"a block", `x{{block "a" .}}{{end}}`, "want no define"},
		{"a variable", `{{$x := .Message}}`, "want no variables"},
		{"a text that doubles", `{{$x := "aa"}}{{$x = print $x $x}}`, "want no variables"},
		{"a wide number", `{{printf "%1000000d" 1}}`, "want and, or, not, eq"},
		{"a call", `{{call .Message}}`, "want and, or, not, eq"},
		{"a call in brackets", `{{if (not (call .Message))}}{{end}}x`, "want and, or, not, eq"},
		{"a field of what is in brackets", `{{(eq .Status 1).X}}`, "want .Status"},
		{"the dollar", `{{$.Status}}`, "want .Status"},
		{"a comparison of what cannot be compared", `{{if lt .Status "a"}}x{{end}}`, "incompatible types"},
		{"HTML that leaves open where a value would stand", `{{if eq .Status 404}}<a href="{{end}}x`, "different contexts"},
		{"what becomes too long", strings.Repeat("{{.Message}}", 1000), "the page would have more than 262144 bytes"},
	} {
		_, err := ParseErrorPage("error.html", c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestEachStatusIsTried(t *testing.T) {
	if _, err := ParseErrorPage("e", `{{if eq .Status 421}}{{if lt .Reason 5}}{{end}}{{end}}x`); err == nil {
		t.Error("a mistake that one status alone comes to is not found")
	}
}

// What fails behind its first bytes sends none of them.
func TestAPageThatFailsIsJSON(t *testing.T) {
	page := mustPage(t, `<p>begun{{if eq .Reason "acl"}}{{if lt .Reason 5}}{{end}}{{end}}`)
	r := Refusal{Status: 403, Reason: "acl", Message: "no"}
	head, body := r.Append(nil, "id", Form{Page: page, HTML: true})
	if string(body) != "{\"message\": \"no\", \"reason\": \"acl\", \"request_id\": \"id\"}\n" || r.Err == nil ||
		!strings.Contains(string(head), "application/json") || !strings.Contains(string(head), "Vary: Accept\r\n") {
		t.Errorf("got %q %q, error %v", head, body, r.Err)
	}
}

// FuzzErrorPage: a template that is taken makes a bounded page of any message, or an
// error, and no message becomes an element.
func FuzzErrorPage(f *testing.F) {
	f.Add(samplePage, "no")
	f.Add(`<a href='/{{.Message}}?{{.Message}}' title={{.Reason}}>{{if and .Message (ne .Status 1)}}x{{else if .Reason}}y{{end}}</a>`, "\x00<")
	f.Add("<style>p { color: {{.Message}} }</style>", "red")
	f.Fuzz(func(t *testing.T, text, message string) {
		p, err := ParseErrorPage("e", text)
		if err != nil {
			return
		}
		body, err := p.render(&Refusal{Status: 403, Reason: "acl", Message: message + "<lictor>"}, "id")
		if err == nil && (len(body) > maxPage || strings.Contains(string(body), "<lictor>") && !strings.Contains(text, "lictor")) {
			t.Errorf("%q with %q: %q", text, message, body)
		}
	})
}

func BenchmarkErrorPage(b *testing.B) {
	p, err := ParseErrorPage("error.html", samplePage)
	if err != nil {
		b.Fatal(err)
	}
	r := Refusal{Status: 404, Reason: "no_service", Message: "No service is named by the path"}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = p.render(&r, "0123456789abcdef0123456789abcdef")
	}
}
