package ui

import (
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"lictor/admin"
	"lictor/admin/api"
)

func TestCurlLines(t *testing.T) {
	tests := []struct {
		name, line string
		want       string // the question, or the beginning of the error
	}{
		{"a URL", `curl http://h/x`, `{"url":"http://h/x"}`},
		{"without a scheme", `curl h:8000/x`, `{"url":"http://h:8000/x"}`},
		{"flags that do not matter", `curl -sSik --compressed -o /dev/null 'http://h/x?a=b&c'`, `{"url":"http://h/x?a=b\u0026c"}`},
		{"header fields", `curl -H 'Host: a.example' -H "X-Api-Key: k" -HAccept:text/plain http://h/`, `{"url":"http://h/","headers":{"Accept":["text/plain"],"Host":["a.example"],"X-Api-Key":["k"]}}`},
		{"a field that is taken away", `curl -H 'Accept:' http://h/`, `{"url":"http://h/"}`},
		{"a method", `curl -XDELETE http://h/x`, `{"method":"DELETE","url":"http://h/x"}`},
		{"a method in the long form", `curl --request=PUT http://h/x`, `{"method":"PUT","url":"http://h/x"}`},
		{"HEAD", `curl -sI http://h/x`, `{"method":"HEAD","url":"http://h/x"}`},
		{"a body", `curl -d a=b -d c http://h/x`, `{"method":"POST","url":"http://h/x","headers":{"Content-Length":["5"],"Content-Type":["application/x-www-form-urlencoded"]}}`},
		{"JSON", `curl --json '{}' http://h/x`, `{"method":"POST","url":"http://h/x","headers":{"Content-Length":["2"],"Content-Type":["application/json"]}}`},
		{"a user", `curl -u me:secret http://h/`, `{"url":"http://h/","headers":{"Authorization":["Basic bWU6c2VjcmV0"]}}`},
		{"a proxy", `curl -x http://127.0.0.1:8080 http://h/`, `{"url":"http://h/","egress":true}`},
		{"what a browser copies", "curl 'http://h/x' \\\n  -H $'X-Name: it\\'s \\u00e4' \\\n  --compressed", `{"url":"http://h/x","headers":{"X-Name":["it's ä"]}}`},
		{"quotes within a word", `curl http://h/"a b"'c'\ d`, `{"url":"http://h/a bc d"}`},

		{"no URL", `curl -s`, "the curl line has no URL"},
		{"two URLs", `curl http://a/ http://b/`, "the curl line has more than one URL"},
		{"an option that is not known", `curl --teleport http://h/`, "the option --teleport of curl is not understood"},
		{"a pipe", `curl http://h/ | jq`, "the line is more than one command"},
		{"an & without quotes", `curl http://h/?a&b`, "the line is more than one command"},
		{"a quote that stays open", `curl 'http://h/`, "a quotation mark"},
		{"another that stays open", `curl "http://h/`, "a quotation mark"},
		{"an option at the end", `curl http://h/ -H`, "-H of curl has no argument"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, err := parseCurl(tt.line)
			if err != nil {
				if !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				return
			}
			if text, _ := json.Marshal(q); string(text) != tt.want {
				t.Errorf("got %s, want %s", text, tt.want)
			}
		})
	}
}

func FuzzCurl(f *testing.F) {
	f.Add(`curl -H 'a: b' -d x -u a:b "http://h/x?y" -x p`)
	f.Add(`curl $'http://h/\'\x41' --request=PUT -sSXGET`)
	f.Fuzz(func(t *testing.T, line string) {
		q, err := parseCurl(line)
		if err != nil {
			return
		}
		if q.URL == "" {
			t.Errorf("%q is about nothing", line)
		}
		share, left, _ := shareable(q)
		if strings.ContainsAny(share.URL, "?#") {
			t.Errorf("the link has the query of %q", line)
		}
		// What is written as a command line is read as the same words.
		words, err := shellWords(command(share, left))
		if err != nil || words[len(words)-1] != share.URL {
			t.Errorf("%q is read as %q, %v", command(share, left), words, err)
		}
	})
}

func TestLinksHoldNoCredentials(t *testing.T) {
	for _, line := range []string{
		`curl -H 'apikey: SECRET' http://h/x`, `curl 'http://h/x?apikey=SECRET'`, `curl -u me:SECRET http://h/`, `curl -b s=SECRET http://h/x`,
		`curl 'http://me:SECRET@h/x'`, `curl -H 'X-Whatever: SECRET' /x`, `curl -e 'http://h/?SECRET' http://h/`, `curl 'http://h/x#SECRET'`,
	} {
		q, err := parseCurl(line)
		if err != nil {
			t.Fatal(err)
		}
		share, left, withheld := shareable(q)
		for _, text := range []string{shareLink(share), command(share, left), lines(share.Headers)} {
			if strings.Contains(text, "SECRET") || strings.Contains(text, "U0VDUkVU") {
				t.Errorf("%s is shown as %s", line, text)
			}
		}
		if !withheld {
			t.Errorf("%s: it is not told that something is left out", line)
		}
	}
}

// What was asked wrongly, or is refused, is shown again without what may be a credential.
func TestTheFormShowsNoCredentialAgain(t *testing.T) { // U4
	ask := func(_ context.Context, q *api.Question, _ netip.Addr) (any, error) {
		return &api.Explanation{Path: api.PathFact{Received: q.URL, Forwarded: q.URL}}, nil
	}
	s := newSite(t, Config{Explain: admin.Explainer{Gateway: ask, Egress: ask}})
	for _, form := range []url.Values{
		{"url": {`curl -H 'apikey: SECRET' --what-is-this /x`}},
		{"url": {`curl -u ann:SECRET`}},
		{"url": {"/x"}, "headers": {"apikey: SECRET\nno colon"}},
		{"url": {"/x"}, "headers": {"Accept: */*\nSECRET"}},
		{"url": {"http://ann:SECRET@h/x"}},
		{"url": {"http://ann:SECRET@h/x"}, "headers": {"no colon"}},
		{"url": {"ann:SECRET@h:443"}, "method": {"CONNECT"}, "egress": {"1"}},
	} {
		if resp, text := s.send("/ui/explain", form); resp.StatusCode != 200 || strings.Contains(text, "SECRET") {
			t.Errorf("%v: %d, and it is shown:\n%s", form, resp.StatusCode, text)
		}
	}
	if _, text := s.send("/ui/explain", url.Values{"url": {"/x"}, "headers": {"Accept: */*\nno colon"}}); !strings.Contains(text, "Accept: */*") {
		t.Error("a field that cannot be a credential is to be typed again")
	}
}

func TestLinksSayWhoseTheQuestionIs(t *testing.T) {
	share, left, _ := shareable(&api.Question{URL: "/shop/x", From: "10.0.0.1", Consumer: "ann b", Listener: "in"})
	if link := shareLink(share); link != "/ui/explain?consumer=ann+b&from=10.0.0.1&listener=in&url=%2Fshop%2Fx" {
		t.Errorf("the link is %s", link)
	}
	if line := command(share, left); line != "lictor explain -from 10.0.0.1 -consumer 'ann b' -listener in /shop/x" {
		t.Errorf("the line is %s", line)
	}
}
