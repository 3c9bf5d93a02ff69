package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"lictor/proxy/middleware"
	"lictor/resolver"
)

// E7: a rule may spell a service as its registry shows it, and a client as it likes.
func TestMiddlewareMaySpellAServiceAsItsRegistryShowsIt(t *testing.T) {
	block := middleware.Effect{Block: &middleware.Block{Status: 410}}
	r := newRig(t, chainOf(
		middleware.Rule{Name: "path", Match: middleware.Match{Paths: []string{"/SVC/admin"}}, Effect: block},
		middleware.Rule{Name: "service", Match: middleware.Match{Services: []string{"Shut"}}, Effect: block},
		middleware.Rule{Name: "rest", Match: middleware.Match{Paths: []string{"/SVC/v1"}}, Effect: middleware.Effect{Path: "/v2{rest}"}},
	))
	s := r.backend(func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, q.URL.Path) })
	one := func(name string) *resolver.Service {
		return &resolver.Service{Name: name, Loaded: true, Instances: []*resolver.Instance{{ID: "a", Address: s.Listener.Addr().String(), Weight: 1, State: resolver.Passing}}}
	}
	services := []*resolver.Service{one("svc"), one("shut")}
	tests := []struct {
		name, target string
		folded, not  int // the status where its registry does not mind case, and where it does
		body         string
	}{
		{"as the rule spells it", "/SVC/admin", 410, 410, ""},
		{"as the resolver does", "/svc/admin", 410, 200, "/admin"},
		{"as nobody does", "/sVc/x/..;/admin", 410, 503, ""},
		{"what follows is compared with case", "/svc/Admin", 200, 200, "/Admin"},
		{"a longer name is another one", "/svcs/admin", 503, 503, ""},
		{"by the service's name", "/shut/x", 410, 200, "/x"},
		{"a path is made of the rest", "/svc/v1/a", 200, 200, "/v2/a"},
	}
	for _, tt := range tests {
		for folded, want := range map[bool]int{true: tt.folded, false: tt.not} {
			t.Run(fmt.Sprintf("%s, folded %v", tt.name, folded), func(t *testing.T) {
				r.src.catalog.Store(resolver.NewCatalog(services...))
				body := strings.Replace(tt.body, "/v2", "/v1", 1)
				if folded {
					r.src.catalog.Store(resolver.NewFoldedCatalog(services...))
					body = tt.body
				}
				if resp, got := r.get(tt.target); resp.StatusCode != want || want == 200 && got != body {
					t.Errorf("%s: got %d %s, want %d %s", tt.target, resp.StatusCode, got, want, body)
				}
			})
		}
	}
}
