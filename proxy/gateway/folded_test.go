package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"lictor/internal/eventually"
	"lictor/policy"
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

// E7: nor does it matter whether a filter leads to the service that the path names.
func TestMiddlewareMaySpellAServiceThatAFilterLeadsTo(t *testing.T) {
	r := newRig(t, chainOf(middleware.Rule{Name: "path", Match: middleware.Match{Paths: []string{"/SVC/admin"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 410}}}))
	r.backend(func(http.ResponseWriter, *http.Request) {})
	svc := *r.src.catalog.Load().Lookup("svc")
	r.src.catalog.Store(resolver.NewFoldedCatalog(&svc))
	r.rules.apply(put(t, policy.KindFilters, "f", `{"paths": ["/svc"]}`))
	r.rules.apply(put(t, policy.KindAPIs, "svc", `{"name": "svc", "filters": ["f"]}`))
	for target, want := range map[string]int{"/svc/admin": 410, "/svc/other": 200} {
		if resp, _ := r.get(target); resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", target, resp.StatusCode, want)
		}
	}
}

// E7: of a rule that denies, no spelling of a service is a way round, where its registry
// does not mind the case of names. What grants does not grant more for it.
func TestNoSpellingOfAServiceIsAWayRoundARule(t *testing.T) {
	type object struct {
		kind policy.Kind
		name string
		text string
	}
	const anyoneElse = `"groups": ["nobody"]`
	list := func(entry string) []object {
		return []object{{policy.KindBlacklist, "b", `{"entries": ["` + entry + `"]}`}}
	}
	admin := object{policy.KindFilters, "f", `{"paths": ["/Svc/admin"]}`}
	tests := []struct {
		name   string
		rules  []object
		folded [3]int // of /SVC/admin, /Svc/admin and /svc/admin, where its registry does not mind case
		not    [3]int // and where it does, and calls it svc
	}{
		{"an entry of a blacklist with a path", list("/Svc/admin"), [3]int{403, 403, 403}, [3]int{503, 403, 200}},
		{"one with a host", list("http://gw.test/SVC/admin"), [3]int{403, 403, 403}, [3]int{403, 503, 200}},
		{"one with a method", list("GET /Svc"), [3]int{403, 403, 403}, [3]int{503, 403, 200}},
		{"one with the service", list("service:SVC"), [3]int{403, 403, 403}, [3]int{403, 503, 200}},
		{"an ACL", []object{{policy.KindACLs, "a", `{"id": "a", "api": "Svc", ` + anyoneElse + `}`}}, [3]int{401, 401, 401}, [3]int{503, 401, 200}},
		{"an ACL for each spelling", []object{{policy.KindACLs, "a", `{"id": "a", "api": "Svc", "filters": ["f"]}`}, admin,
			{policy.KindACLs, "b", `{"id": "b", "api": "sVC", ` + anyoneElse + `}`}}, [3]int{403, 401, 403}, [3]int{503, 503, 200}},
		{"a mapped plugin", []object{{policy.KindPlugins, "p", `{"id": "p", "name": "request-termination"}`},
			{policy.KindPluginMappings, "m", `{"id": "m", "api": "SVC", "plugins": ["p"]}`}}, [3]int{503, 503, 503}, [3]int{503, 503, 200}},
		{"a plugin mapped to a path", []object{{policy.KindPlugins, "p", `{"id": "p", "name": "key-auth"}`}, admin,
			{policy.KindPluginMappings, "m", `{"id": "m", "api": "svc", "plugins": ["p"], "filters": ["f"]}`}}, [3]int{401, 401, 401}, [3]int{503, 503, 200}},
		{"a part of the service", []object{admin, {policy.KindAPIs, "part", `{"name": "part", "service": "SVC", "filters": ["f"]}`},
			{policy.KindACLs, "a", `{"id": "a", "api": "part", ` + anyoneElse + `}`}}, [3]int{401, 401, 401}, [3]int{503, 401, 200}},
		{"an API that a filter leads to", []object{{policy.KindFilters, "f", `{"hosts": ["gw.test"]}`}, {policy.KindAPIs, "SVC", `{"name": "SVC", "filters": ["f"]}`},
			{policy.KindACLs, "a", `{"id": "a", "api": "svc", ` + anyoneElse + `}`}}, [3]int{401, 401, 401}, [3]int{503, 503, 503}},
		{"an API of the name that has its own backends", append(list("/Svc/admin"), object{policy.KindAPIs, "svc", `{"name": "svc", "backends": ["http://127.0.0.1:1"]}`}),
			[3]int{403, 403, 403}, [3]int{503, 403, 503}},
		{"a whitelist admits what it says", []object{{policy.KindWhitelist, "w", `{"entries": ["/Svc"], "direction": "ingress"}`}}, [3]int{403, 200, 403}, [3]int{403, 503, 403}},
	}
	for _, tt := range tests {
		for _, folded := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, folded %v", tt.name, folded), func(t *testing.T) {
				r := newRig(t, nil)
				s := r.backend(func(http.ResponseWriter, *http.Request) {})
				svc := &resolver.Service{Name: "svc", Loaded: true, Instances: []*resolver.Instance{{ID: "a", Address: s.Listener.Addr().String(), Weight: 1, State: resolver.Passing}}}
				want := tt.not
				if r.src.catalog.Store(resolver.NewCatalog(svc)); folded {
					r.src.catalog.Store(resolver.NewFoldedCatalog(svc))
					want = tt.folded
				}
				for _, one := range tt.rules {
					r.rules.apply(put(t, one.kind, one.name, one.text))
				}
				for i, target := range []string{"/SVC/admin", "/Svc/admin", "/svc/admin"} {
					if resp, body := r.get(target); resp.StatusCode != want[i] {
						t.Errorf("%s: got %d %s, want %d", target, resp.StatusCode, body, want[i])
					}
				}
			})
		}
	}
}

// X14: what lasts is cut by a rule for another spelling of its service, too.
func TestWhatLastsIsCutByARuleInAnotherSpelling(t *testing.T) {
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		io.Copy(io.Discard, in)
	})
	svc := *r.src.catalog.Load().Lookup("svc")
	r.src.catalog.Store(resolver.NewFoldedCatalog(&svc))
	c := r.dial()
	c.send("GET /svc/s HTTP/1.1\r\nHost: x\r\n\r\n")
	readHead(c.in)
	r.oneLasts()
	r.rules.apply(put(t, policy.KindACLs, "a", `{"id": "a", "api": "Svc", "groups": ["nobody"]}`))
	r.gw.PolicyChanged()
	eventually.True(t, "it is cut", func() bool { return r.lasting() == 0 })
}
