package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/go-hclog"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/policy/tokens"
)

const tokenSecret = "a secret that the tests share with lictor"

// newToken is one that holds for a while.
func newToken(t testing.TB, holds time.Duration, claims jwt.MapClaims) string {
	t.Helper()
	claims["exp"] = float64(time.Now().Add(holds).UnixMilli()) / 1000
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// newTokenRig is a rig with a plugin jwt.
func newTokenRig(t testing.TB, edit func(*Settings), config string) *rig {
	t.Helper()
	var r *rig
	v, err := tokens.New(tokens.Config{Policy: func() *policy.Set { return r.rules.Set() }, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	r = newRigWith(t, edit, func(c *Config) { c.Tokens = v })
	r.rules.apply(
		put(t, policy.KindConsumers, "ann", `{"name": "ann", "groups": ["staff"]}`),
		put(t, policy.KindPlugins, "jwt", fmt.Sprintf(`{"name": "jwt", "config": {"secrets": [%q], "consumer_claim": "sub", %s}}`, tokenSecret, config)),
	)
	return r
}

// What the backend gets of a request with a token (P2).
func TestWhatABackendGetsOfAToken(t *testing.T) {
	r := newTokenRig(t, func(s *Settings) { s.TrustedNetworks = nil }, `"hide_credentials": true, "cookie_names": ["sid", "old"], "uri_param_names": ["jwt"],
		"claims_to_headers": ["X-Mail: email", "X-Tenant: tenant"], "groups_claim": "roles"`)
	r.backend(func(w http.ResponseWriter, req *http.Request) {
		var odd []string
		for name := range req.Header {
			if strings.HasPrefix(strings.ToLower(name), "x_") || strings.HasPrefix(strings.ToLower(name), "x.") {
				odd = append(odd, name)
			}
		}
		fmt.Fprintf(w, "%s|%s|%q|%s|%s|%s|%s|%v", req.URL.RawQuery, req.Header.Get("Authorization"), req.Header["Cookie"],
			strings.Join(req.Header["X-Mail"], "+"), strings.Join(req.Header["X-Tenant"], "+"), req.Header.Get("X-Consumer-Username"), req.Header.Get("X-Consumer-Groups"), odd)
	})
	good := newToken(t, time.Hour, jwt.MapClaims{"sub": "ann", "email": "ann@example.org", "roles": []string{"eng"}})
	const who = "ann@example.org||ann|staff, eng|[]"
	for _, tt := range []struct {
		name, target string
		fields       []string
		want         string
	}{
		{"a token in Authorization", "/svc/?a=1", []string{"Authorization: Bearer " + good}, "a=1||[]|" + who},
		{"one in an argument", "/svc/?a=1&jwt=" + good + "&b=2", nil, "a=1&b=2||[]|" + who},
		{"one in a cookie beside others", "/svc/", []string{"Cookie: a=1; sid=" + good + "; b=2;c"}, `||["a=1; b=2; c"]|` + who},
		{"one in a cookie alone", "/svc/", []string{"Cookie: sid=" + good}, "||[]|" + who},
		{"a cookie of such a name that is empty", "/svc/", []string{"Authorization: Bearer " + good, "Cookie: old=; a=1"}, `||["a=1"]|` + who},
		{"headers that the client makes up", "/svc/", []string{"Authorization: Bearer " + good, "X-Mail: root@example.org", "X-Tenant: acme", "x-mail: x"}, "||[]|" + who},
		{"the same in other spellings", "/svc/", []string{"Authorization: Bearer " + good, "X_Mail: root@example.org", "x.tenant: acme", "X_TENANT: a"}, "||[]|" + who},
		{"headers that the client wants to be of its connection", "/svc/", []string{"Authorization: Bearer " + good, "Connection: X-Mail, X-Tenant", "X-Tenant: acme"}, "||[]|" + who},
	} {
		if resp, body := r.get(tt.target, tt.fields...); resp.StatusCode != 200 || body != tt.want {
			t.Errorf("%s: got %d %s, want %s", tt.name, resp.StatusCode, body, tt.want)
		}
	}
	for _, fields := range [][]string{{}, {"Authorization: Bearer " + good + "x"}, {"Authorization: Bearer " + good, "Cookie: sid=" + good}} {
		resp, body := r.get("/svc/", fields...)
		if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), `Bearer realm="lictor"`) || strings.Contains(body, "eyJ") {
			t.Errorf("%v: got %d %s %v", fields, resp.StatusCode, body, resp.Header)
		}
	}
}

// Without hide_credentials all that the client sent is passed on, as it came.
func TestATokenIsPassedOnUnlessItIsHidden(t *testing.T) {
	r := newTokenRig(t, nil, `"cookie_names": ["sid"]`)
	r.backend(func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, req.Header.Get("Cookie")) })
	good := newToken(t, time.Hour, jwt.MapClaims{"sub": "ann"})
	if resp, body := r.get("/svc/", "Cookie: a=1;sid="+good); resp.StatusCode != 200 || body != "a=1;sid="+good {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// A stream ends soon after its token (X14).
func TestAStreamEndsWithItsToken(t *testing.T) {
	r := newTokenRig(t, nil, `"leeway": "0s"`)
	r.backend(func(w http.ResponseWriter, req *http.Request) {
		for {
			if _, err := io.WriteString(w, "tick\n"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-req.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	c := r.dial()
	defer c.Close()
	began := time.Now()
	c.send("GET /svc/ HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + newToken(t, 2*time.Second, jwt.MapClaims{"sub": "ann"}) + "\r\n\r\n")
	n, err := io.Copy(io.Discard, c) // the end is a cut, by whatever error the system tells it
	if took := time.Since(began); n < 10 || took < time.Second || took > 20*time.Second {
		t.Errorf("ended after %s and %d bytes: %v", took, n, err)
	}
	eventually.True(t, "the exchange is over", func() bool { return r.gw.live.Len() == 0 })
}
