package gateway

import (
	"net/http"
	"slices"
	"testing"

	"lictor/proxy/middleware"
)

func TestHSTSIsToldByTLSAlone(t *testing.T) { // D24
	const own, theirs, edited = "max-age=31536000", "max-age=0", "max-age=7"
	edit := middleware.Edit{Set: []middleware.Field{{Name: "strict-transport-security", Value: edited}}}
	tests := []struct {
		name   string
		tls    bool
		hsts   string
		rules  []middleware.Rule
		path   string
		status int
		want   []string
	}{
		{"an answer of a service", true, own, nil, "/svc/", 200, []string{own}},
		{"takes the place of what the service says", true, own, nil, "/svc/says", 200, []string{own}},
		{"a refusal", true, own, nil, "/", 404, []string{own}},
		{"not in plain text", false, own, nil, "/svc/", 200, nil},
		{"where the service is heard as without", false, own, nil, "/svc/says", 200, []string{theirs}},
		{"without it the service is heard", true, "", nil, "/svc/says", 200, []string{theirs}},
		{"middleware has the last word", true, own, []middleware.Rule{{Name: "m", Effect: middleware.Effect{Response: &edit}}}, "/svc/says", 200, []string{edited}},
		{"in its own answer, too", true, own, []middleware.Rule{{Name: "m", Effect: middleware.Effect{Response: &edit, Block: &middleware.Block{Status: 403}}}}, "/svc/says", 403, []string{edited}},
		{"but not in the gateway's", true, own, []middleware.Rule{{Name: "m", Effect: middleware.Effect{Response: &edit}}}, "/gone/", 503, []string{own}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, ca := newTLSRig(t, func(c *Config) {
				c.Settings.HSTS, c.Settings.Middleware = tt.hsts, middleware.New(tt.rules)
				if !tt.tls {
					c.TLS = nil
				}
			})
			r.backend(func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path == "/says" {
					w.Header().Set("Strict-Transport-Security", theirs)
				}
			})
			c := r.dial()
			if tt.tls {
				c = r.dialTLS(ca)
			}
			c.send("GET " + tt.path + " HTTP/1.1\r\nHost: gw.test\r\n\r\n")
			resp, _ := c.answer("GET")
			if got := resp.Header.Values("Strict-Transport-Security"); resp.StatusCode != tt.status || !slices.Equal(got, tt.want) {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, tt.status, tt.want)
			}
		})
	}
}
