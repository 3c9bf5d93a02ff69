package gateway

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lictor/policy"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// tellToken answers with what a backend gets of a token.
func tellToken(w http.ResponseWriter, req *http.Request) {
	n, _ := io.Copy(io.Discard, req.Body)
	fmt.Fprintf(w, "%q %q %q %d", req.Header["X-User"], req.Header["X_user"], req.Header["Authorization"], n)
}

// Each verdict on a request holds, not the last one alone: that for a service from
// which middleware routed away, or under the host that a service claims.
func TestEachVerdictHolds(t *testing.T) { // P2, P4, K2, D19, D26
	r := newTokenRig(t, chainOf(
		middleware.Rule{Name: "route", Match: middleware.Match{Paths: []string{"/shop/route"}}, Effect: middleware.Effect{Route: "other"}},
		middleware.Rule{Name: "path", Match: middleware.Match{Paths: []string{"/shop/old"}}, Effect: middleware.Effect{Path: "/new"}},
	), `"hide_credentials": true, "claims_to_headers": ["X-User: sub"]`)
	at := r.backend(tellToken).Listener.Addr().String()
	of := func(name string, hosts ...resolver.Claim) *resolver.Service {
		return &resolver.Service{Name: name, Loaded: true, Hosts: hosts, Instances: []*resolver.Instance{{ID: name, Address: at, Weight: 1, State: resolver.Passing}}}
	}
	r.src.catalog.Store(resolver.NewCatalog(of("shop", resolver.Claim{Host: "shop.example.com"}), of("other")))
	mapped := func(filter string, apis ...string) (all []policy.Change) {
		for _, api := range apis {
			all = append(all, put(t, policy.KindPluginMappings, api, fmt.Sprintf(`{"api": %q, "plugins": ["jwt", "size"]%s}`, api, filter)))
		}
		return all
	}
	r.rules.apply(append(mapped("", "shop.example.com"), put(t, policy.KindPlugins, "size", `{"name": "request-size-limiting", "config": {"max_body": "10B"}}`))...)
	r.rules.apply(append(mapped(`, "filters": ["old"]`, "shop"), put(t, policy.KindFilters, "old", `{"paths": ["/shop/old", "/shop/route"]}`))...)
	good := newToken(t, time.Hour, jwt.MapClaims{"sub": "ann"})
	for _, tt := range []struct{ name, host, path string }{
		{"by middleware to another service", "x", "/shop/route"},
		{"by middleware to another path", "x", "/shop/old"},
		{"by a host that the service claims", "shop.example.com", "/x"},
	} {
		for body, want := range map[string]string{"5 bytes": `["ann"] [] [] 7`, "more bytes than 10": "body_too_large"} {
			c := r.dial()
			c.send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nX-User: root\r\nX_User: root\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
				tt.path, tt.host, good, len(body), body))
			if resp, got := c.answer("POST"); got != want && !strings.Contains(got, `"reason": "`+want) {
				t.Errorf("%s: got %d %s, want %s", tt.name, resp.StatusCode, got, want)
			}
		}
	}
}

// A preflight that goes on brings nothing that looks like the word of an authority.
func TestAPreflightForgesNoWordOfAnAuthority(t *testing.T) { // P1, P3
	r := newRig(t, nil)
	r.backend(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "%s %q %q", req.Method, req.Header["X-Auth-User"], req.Header["X_auth_user"])
	})
	a := r.authority(`"response_headers": ["X-Auth-*"]`, func(http.ResponseWriter, *http.Request) {})
	r.rules.apply(put(t, policy.KindPlugins, "cors", `{"name": "cors", "config": {"origins": ["https://app.example"], "preflight_continue": true}}`))
	c := r.dial()
	c.send("OPTIONS /svc/ HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\nX-Auth-User: root\r\nX_Auth_User: root\r\n\r\n")
	if _, body := c.answer("OPTIONS"); body != "OPTIONS [] []" || len(a.got) != 0 {
		t.Errorf("the backend got %s, and the authority %d questions", body, len(a.got))
	}
}

// What says who the client is was looked for under one spelling of its name, so the
// backend gets no other: a careless one would take it for the first.
func TestNoOtherSpellingSaysWhoItIs(t *testing.T) { // P2, P3, C19
	r := newTokenRig(t, nil, `"header_names": ["X-Token"]`)
	r.backend(func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		var got []string
		for _, all := range []http.Header{req.Header, req.Trailer} {
			for name, values := range all { // a name without a value was announced, and did not come
				if slices.ContainsFunc(values, func(v string) bool { return v == "forged" || v == "mine" || v == "other" }) {
					got = append(got, strings.ToLower(name))
				}
			}
		}
		slices.Sort(got)
		fmt.Fprint(w, strings.Join(got, " "))
	})
	a := r.authority(`"request_headers": ["X-Session"]`, func(http.ResponseWriter, *http.Request) {})
	r.rules.apply(put(t, policy.KindPlugins, "key", `{"name": "key-auth", "config": {"key_names": ["X-Key"]}}`), put(t, policy.KindCredentials, keyHash("k"), `{"consumer": "ann"}`))
	c := r.dial()
	c.send("POST /svc/ HTTP/1.1\r\nHost: x\r\nX-Token: " + newToken(t, time.Hour, jwt.MapClaims{"sub": "ann"}) + "\r\nX-Key: k\r\nX-Session: mine\r\n" +
		"X_Token: forged\r\nx.key: forged\r\nX_SESSION: forged\r\nX_Task: other\r\nTE: trailers\r\nTrailer: X-Token, X_Key, X-Tale\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"0\r\nX-Token: forged\r\nX_Key: forged\r\nX-Tale: other\r\n\r\n")
	if resp, body := c.answer("POST"); body != "x-session x-tale x_task" || len(a.got) != 1 {
		t.Errorf("got %d %s, and the authority %d questions", resp.StatusCode, body, len(a.got))
	}
}
