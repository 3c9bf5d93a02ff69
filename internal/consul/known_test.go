package consul

import (
	"fmt"
	"net/http"
	"testing"
)

// An index that went backwards is believed of a leader alone that has read its log.
func TestAnOlderAnswerIsAskedForAgain(t *testing.T) {
	for _, tt := range []struct {
		name       string
		q          Query
		consistent string // what a consistent answer has: index and body; "" = 500
		want       string
	}{
		{"while a server reads its log", Query{Known: 90}, "90 all", "90 all"},
		{"where a watch knows more", Query{Index: 90}, "91 all", "91 all"},
		{"where the history is lost", Query{Known: 90}, "5 less", "5 less"},
		{"where nobody can say", Query{Known: 90}, "", "error"},
		{"but not one that is as new", Query{Known: 50}, "", "50 part"},
		{"nor where nothing is known", Query{}, "", "50 part"},
		{"nor one that is consistent already", Query{Known: 90, Consistent: true}, "5 less", "5 less"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
				index, body := "50", "part"
				if r.URL.Query().Has("consistent") {
					if r.URL.Query().Has("index") {
						t.Error("it waits")
					}
					if _, err := fmt.Sscan(tt.consistent, &index, &body); err != nil {
						w.WriteHeader(http.StatusInternalServerError)
						return
					}
				}
				w.Header().Set("X-Consul-Index", index)
				fmt.Fprint(w, body)
			})
			var body string
			m, err := c.Get(t.Context(), "/v1/x", tt.q, readAll(&body))
			got := fmt.Sprint(m.Index, " ", body)
			if err != nil {
				got = "error"
			}
			if got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}
