//go:build integration

package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// oauth2Proxy answers as oauth2-proxy does with --upstream=static://202,
// --set-xauthrequest and --skip-provider-button: what is not logged in is
// redirected, but for a script, and below /oauth2/auth it is told 401.
func oauth2Proxy(w http.ResponseWriter, q *http.Request) {
	cookie, err := q.Cookie("_oauth2_proxy")
	switch {
	case err == nil && cookie.Value == "ann":
		w.Header().Set("X-Auth-Request-User", "ann")
		w.Header().Set("X-Auth-Request-Email", "ann@example.org")
		w.WriteHeader(202)
	case q.URL.Path == "/oauth2/auth" || q.Header.Get("Accept") == "application/json":
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	default:
		w.Header().Set("Set-Cookie", "_oauth2_proxy_csrf=x; Path=/; HttpOnly")
		w.Header().Set("Cache-Control", "no-cache, no-store, must-revalidate, max-age=0")
		http.Redirect(w, q, "https://idp.example.org/authorize?state=1:"+q.Header.Get("X-Forwarded-Uri"), http.StatusFound)
	}
}

// authelia answers as Authelia's endpoints forward-auth and auth-request do. It
// wants to know what the request is in the manner of each.
func authelia(w http.ResponseWriter, q *http.Request) {
	url, method := q.Header.Get("X-Original-URL"), q.Header.Get("X-Original-Method")
	if q.URL.Path == "/api/authz/forward-auth" {
		method = q.Header.Get("X-Forwarded-Method")
		url = q.Header.Get("X-Forwarded-Proto") + "://" + q.Header.Get("X-Forwarded-Host") + q.Header.Get("X-Forwarded-Uri")
	}
	if method == "" || !strings.HasPrefix(url, "http://") || q.Header.Get("X-Forwarded-For") == "" {
		http.Error(w, "400 Bad Request", 400)
		return
	}
	if cookie, err := q.Cookie("authelia_session"); err == nil && cookie.Value == "ann" {
		for _, name := range []string{"User", "Groups", "Name", "Email"} {
			w.Header().Set("Remote-"+name, "ann")
		}
		return
	}
	to := "https://auth.example.org/?rd=" + url + "&rm=" + method
	if q.URL.Path == "/api/authz/auth-request" {
		w.Header().Set("Location", to)
		http.Error(w, `<a href="`+to+`">401 Unauthorized</a>`, http.StatusUnauthorized)
		return
	}
	http.Redirect(w, q, to, http.StatusFound)
}

// P3: as an operator puts oauth2-proxy and Authelia in front of a service.
func TestForwardAuthInKV(t *testing.T) {
	together(t)
	c, p := startMockbin(t)
	const k = "lictor/policy/"
	url := "http://" + p.Gateway + "/mockbin/x?y=1"
	var asked atomic.Int64
	server := func(h http.HandlerFunc) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { asked.Add(1); h(w, q) }))
		t.Cleanup(s.Close)
		return s
	}
	o2p, auth := server(oauth2Proxy), server(authelia)
	register(t, c, "authelia", "authelia-1", strings.TrimPrefix(auth.URL, "http://"))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	see := func(url string, fields ...string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			req.Header.Add(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, reason(string(body)), resp.Header
	}
	becomes := func(status int, fields ...string) {
		t.Helper()
		eventually(t, soon, fmt.Sprintf("it is %d", status), func() error {
			if got, why, _ := see(url, fields...); got != status {
				return fmt.Errorf("%d %s", got, why)
			}
			return nil
		})
	}

	for _, tt := range []struct {
		name, config, session string
		refused               int
		fields                map[string]string
	}{
		{"oauth2-proxy, for browsers", fmt.Sprintf(`{"url": %q, "path": "/", "request_headers": ["Cookie", "Accept"], "response_headers": ["X-Auth-Request-*"], "cache": "1m", "cache_by": ["cookie:_oauth2_proxy"]}`, o2p.URL),
			"_oauth2_proxy=ann", 302, map[string]string{"Location": "https://idp.example.org/authorize?state=1:/mockbin/x?y=1", "Set-Cookie": "_oauth2_proxy_csrf=x; Path=/; HttpOnly", "Cache-Control": "no-store"}},
		{"oauth2-proxy, for scripts", fmt.Sprintf(`{"url": %q, "path": "/oauth2/auth", "response_headers": ["X-Auth-Request-User", "X-Auth-Request-Email"]}`, o2p.URL),
			"_oauth2_proxy=ann", 401, map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		{"Authelia, forward-auth", `{"service": "authelia", "path": "/api/authz/forward-auth", "response_headers": ["Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email"]}`,
			"authelia_session=ann", 302, map[string]string{"Location": "https://auth.example.org/?rd=" + url + "&rm=GET"}},
		{"Authelia, auth-request", `{"service": "authelia", "path": "/api/authz/auth-request", "response_headers": ["Remote-*"]}`,
			"authelia_session=ann", 401, map[string]string{"Location": "https://auth.example.org/?rd=" + url + "&rm=GET"}},
	} {
		kvPut(t, c, k+"plugins/sso", `{"name": "forward-auth", "config": `+tt.config+`}`)
		becomes(tt.refused)
		status, _, h := see(url)
		for name, want := range tt.fields {
			if got := h.Get(name); got != want || status != tt.refused {
				t.Errorf("%s: got %d, %s is %q, want %q", tt.name, status, name, got, want)
			}
		}
		for range 3 {
			if status, why, _ := see(url, "Cookie: "+tt.session, "X-Auth-Request-User: eve", "Remote_User: eve"); status != 200 {
				t.Errorf("%s: got %d %s with a session", tt.name, status, why)
			}
		}
	}

	n := asked.Load()
	admin := "-admin=http://" + p.Admin
	if _, out, _ := runLictor(t, "explain", admin, "/mockbin/x"); !strings.Contains(out, "service authelia /api/authz/auth-request would be asked") || asked.Load() != n {
		t.Errorf("explain asked %d times, and says\n%s", asked.Load()-n, out)
	}
	dir := t.TempDir()
	for _, args := range [][]string{{"export", admin, dir}, {"check", dir}} {
		if status, out, errs := runLictor(t, append([]string{"policy"}, args...)...); status != 0 {
			t.Fatalf("%v: %d %s %s", args, status, out, errs)
		}
	}
	kvPut(t, c, k+"plugins/sso", fmt.Sprintf(`{"name": "forward-auth", "mode": "report", "config": {"url": %q, "path": "/oauth2/auth"}}`, o2p.URL))
	becomes(200)
	eventually(t, soon, "the log tells what would be denied", func() error {
		if !strings.Contains(p.Log(), "would be denied") {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	o2p.Close()
	kvPut(t, c, k+"plugins/sso", fmt.Sprintf(`{"name": "forward-auth", "config": {"url": %q}}`, o2p.URL))
	becomes(503)
	if _, why, _ := see(url); why != "forward_auth" {
		t.Errorf("got %q", why)
	}
	if status, out, errs := runLictor(t, "policy", "apply", admin, dir); status != 0 {
		t.Fatalf("apply: %d %s %s", status, out, errs)
	}
	becomes(200, "Cookie: authelia_session=ann")
	kvPut(t, c, k+"plugins/sso", fmt.Sprintf(`{"name": "forward-auth", "config": {"url": "http://%s"}}`, p.Admin)) // X9
	becomes(503)
}
