package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"lictor/admin/api"
)

func TestExplainEndpoint(t *testing.T) { // contract 5
	asked := func(_ context.Context, q *api.Question, from netip.Addr) (any, error) {
		if q.URL == "bad" {
			return nil, errors.New("url: it is bad")
		}
		return map[string]any{"question": q, "from": from.String(), "pairs": q.Headers.Pairs()}, nil
	}
	s := newServer(t, Config{Routes: Explainer{Gateway: asked, Decision: func(id string) (json.RawMessage, bool) {
		return json.RawMessage(`{"allowed":true}`), id == "known"
	}}.Routes()})
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"a question", "POST", "/explain", `{"method":"PUT","url":"/a","headers":{"b":["1","2"],"A":"3"},"from":"::ffff:10.0.0.1"}`, 200, `"pairs":[["A","3"],["b","1"],["b","2"]]`},
		{"addresses are unmapped", "POST", "/explain/", `{"url":"/a","from":"::ffff:10.0.0.1"}`, 200, `"from":"10.0.0.1"`},
		{"nothing is asked", "POST", "/explain", `{}`, 400, "url is required"},
		{"an unknown field", "POST", "/explain", `{"url":"/a","headres":{}}`, 400, "headres"},
		{"no JSON", "POST", "/explain", `url=/a`, 400, "Cannot parse JSON body"},
		{"a header that is none", "POST", "/explain", `{"url":"/a","headers":{"a":5}}`, 400, "want a string or a list"},
		{"an address that is none", "POST", "/explain", `{"url":"/a","from":"here"}`, 400, "want an address"},
		{"what the listener does not understand", "POST", "/explain", `{"url":"bad"}`, 400, "it is bad"},
		{"a consumer", "POST", "/explain", `{"url":"/a","consumer":"ann"}`, 200, `"consumer":"ann"`},
		{"a consumer of the egress", "POST", "/explain", `{"url":"http://x/","egress":true,"consumer":"ann"}`, 400, "by their credentials alone"},
		{"a listener that there is not", "POST", "/explain", `{"url":"http://x/","egress":true}`, 400, "no egress"},
		{"a decision", "GET", "/explain/known", "", 200, `"allowed":true`},
		{"a decision that is gone", "GET", "/explain/unknown", "", 404, "Not found"},
		{"another method", "GET", "/explain", "", 405, "Method not allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
			r.Host = "localhost"
			r.Header.Set("Content-Type", "application/json")
			s.ServeHTTP(w, r)
			body, _ := io.ReadAll(w.Result().Body)
			compact := strings.NewReplacer("\n", "", "  ", "", ": ", ":").Replace(string(body))
			if w.Code != tt.status || !strings.Contains(compact, tt.want) && !strings.Contains(string(body), tt.want) {
				t.Errorf("got %d %s, want %d %s", w.Code, body, tt.status, tt.want)
			}
		})
	}
}

// FuzzQuestion looks for questions that crash the decoder.
func FuzzQuestion(f *testing.F) {
	f.Add([]byte(`{"method":"PUT","url":"/a","headers":{"b":["1","2"],"A":"3"},"from":"::1","egress":true}`))
	f.Add([]byte(`{"url":"http://h/","headers":{"a":[null]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parseQuestion(body)
		if err == nil {
			_, err = addressOf(q)
		}
		if err == nil && q.URL == "" {
			t.Errorf("%q is a question about nothing", body)
		}
		if err == nil {
			q.Headers.Pairs()
		}
	})
}
