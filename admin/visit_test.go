package admin

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// pages are a server with two pages and a sign-in that say what they are.
func pages(t *testing.T, token string) *Server {
	t.Helper()
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text+" "+VisitOf(r).Form()) }
	}
	routes := []Route{
		{Method: "GET", Path: SignInPath, Open: true, Handler: say("sign-in")},
		{Method: "POST", Path: SignInPath, Open: true, Handler: func(w http.ResponseWriter, r *http.Request) {
			if err := VisitOf(r).SignIn(w, r, r.PostForm.Get("token")); err != nil {
				refuse(w, err)
			}
		}},
		{Method: "POST", Path: "/ui/sign-out", May: AnyRight, Handler: func(w http.ResponseWriter, r *http.Request) { VisitOf(r).SignOut(w, r) }},
		{Method: "GET", Path: "/ui", May: Read, Handler: say("page")},
		{Method: "POST", Path: "/ui", May: Write, Handler: say("done")},
	}
	for i := range routes {
		routes[i].Page = func(w http.ResponseWriter, _ *http.Request, why *Refusal) { refuse(w, why) }
	}
	return newServer(t, Config{Access: full(token), Routes: routes})
}

// visitor is a browser.
type visitor struct {
	server  *Server
	host    string
	cookies []*http.Cookie
	header  http.Header
	form    string
}

func (v *visitor) send(method, path string, form url.Values) *http.Response {
	var body io.Reader = http.NoBody
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, path, body)
	r.Host = v.host
	for name, values := range v.header {
		r.Header[name] = values
	}
	if form != nil && r.Header["Content-Type"] == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range v.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	v.server.ServeHTTP(w, r)
	resp := w.Result()
	if set := resp.Cookies(); len(set) > 0 {
		v.cookies = set
	}
	if _, form, ok := strings.Cut(w.Body.String(), " "); ok && method == "GET" && resp.StatusCode == 200 {
		v.form = form
	}
	return resp
}

// enter signs in with a token and returns the answer.
func (v *visitor) enter(token string) *http.Response {
	v.send("GET", SignInPath, nil)
	return v.send("POST", SignInPath, url.Values{FormField: {v.form}, "token": {token}})
}

func TestAVisitorSignsInAndOut(t *testing.T) { // U1, U2
	server := pages(t, "secret")
	v := &visitor{server: server, host: "lictor.example:8001"}
	if resp := v.send("GET", "/ui?a=b&c", nil); resp.StatusCode != 303 || resp.Header.Get("Location") != SignInPath+"?to=%2Fui%3Fa%3Db%26c" {
		t.Errorf("a stranger gets %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	resp := v.enter("secret")
	if resp.StatusCode != 200 || len(resp.Cookies()) != 1 {
		t.Fatalf("got %d with %v", resp.StatusCode, resp.Cookies())
	}
	c := resp.Cookies()[0]
	if c.Name != "lictor-session-8001" || c.Path != "/ui" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || len(c.Value) != 64 || c.MaxAge != 0 {
		t.Errorf("the cookie is %v", c)
	}
	if resp := v.send("GET", "/ui", nil); resp.StatusCode != 200 {
		t.Errorf("the page gives %d", resp.StatusCode)
	}
	if resp := v.send("GET", "/status", nil); resp.StatusCode != 401 {
		t.Errorf("the API takes the cookie: %d", resp.StatusCode)
	}
	old := v.cookies
	if resp := v.send("POST", "/ui/sign-out", url.Values{FormField: {v.form}}); resp.StatusCode != 200 || resp.Cookies()[0].MaxAge != -1 {
		t.Errorf("signing out gives %d %v", resp.StatusCode, resp.Cookies())
	}
	v.cookies = old
	if resp := v.send("GET", "/ui", nil); resp.StatusCode != 303 {
		t.Errorf("the session outlives its end: %d", resp.StatusCode)
	}
}

// setAccess has requests carry other tokens, as a reload does.
func setAccess(t *testing.T, s *Server, all []Access) {
	t.Helper()
	put, err := s.PrepareAccess(all)
	if err != nil {
		t.Fatal(err)
	}
	put()
}

func TestANewTokenEndsSessions(t *testing.T) {
	server := pages(t, "secret")
	v := &visitor{server: server, host: "lictor.example"}
	v.enter("secret")
	setAccess(t, server, full("another"))
	if resp := v.send("GET", "/ui", nil); resp.StatusCode != 303 {
		t.Errorf("the session of the former token gives %d", resp.StatusCode)
	}
}

func TestTheCookieIsSecureUnderTLS(t *testing.T) {
	r := httptest.NewRequest("GET", "https://lictor.example/ui", nil)
	r.TLS = &tls.ConnectionState{}
	if c := cookie(r, "x"); !c.Secure {
		t.Errorf("the cookie is %v", c)
	}
}

func TestWrongTokensAreSlowedOnThePageToo(t *testing.T) { // X8
	v := &visitor{server: pages(t, "secret"), host: "lictor.example"}
	wantError(t, v.enter(""), 403, "no_token")
	for range freeGuesses {
		wantError(t, v.enter("guess"), 403, "wrong_token")
	}
	resp := v.enter("guess")
	if wantError(t, resp, 429, "wrong_token"); resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if resp := v.enter("secret"); resp.StatusCode != 200 {
		t.Errorf("the right one gives %d", resp.StatusCode)
	}
}

func TestOnlyOwnFormsAreTaken(t *testing.T) { // U3
	tests := []struct {
		name   string
		host   string
		header http.Header
		form   func(own string) url.Values
		status int // with a token, and without
		open   int
	}{
		{name: "its own", status: 200, open: 200},
		{name: "its own, in a browser", header: http.Header{"Origin": {"http://localhost:8001"}, "Sec-Fetch-Site": {"same-origin"}}, status: 200, open: 200},
		{name: "without the secret", form: func(string) url.Values { return url.Values{"x": {"y"}} }, status: 403, open: 403},
		{name: "with half of it", form: func(own string) url.Values { return url.Values{FormField: {own[:32]}} }, status: 403, open: 403},
		{name: "of another origin", header: http.Header{"Origin": {"https://evil.example"}}, status: 403, open: 403},
		{name: "of an origin that hides", header: http.Header{"Origin": {"null"}}, status: 403, open: 403},
		{name: "of another site", header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, status: 403, open: 403},
		{name: "of the same site", header: http.Header{"Sec-Fetch-Site": {"same-site"}}, status: 403, open: 403},
		{name: "as text", header: http.Header{"Content-Type": {"text/plain"}}, status: 415, open: 415},
		{name: "in parts", header: http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}, status: 415, open: 415},
		{name: "without a type", header: http.Header{"Content-Type": {""}}, status: 415, open: 415},
		{name: "to a rebound name", host: "evil.example:8001", status: 200, open: 403},
		{name: "that is too large", form: func(own string) url.Values {
			return url.Values{FormField: {own}, "x": {strings.Repeat("x", maxBody)}}
		}, status: 413, open: 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for token, want := range map[string]int{"secret": tt.status, "": tt.open} {
				v := &visitor{server: pages(t, token), host: "localhost:8001"}
				if token != "" {
					v.enter(token)
				}
				v.send("GET", "/ui", nil)
				form := url.Values{FormField: {v.form}}
				if tt.form != nil {
					form = tt.form(v.form)
				}
				v.header = tt.header
				if tt.host != "" {
					v.host = tt.host
					if token != "" {
						v.cookies[0].Name = "lictor-session-8001"
					}
				}
				if resp := v.send("POST", "/ui", form); resp.StatusCode != want {
					t.Errorf("token %q: got %d, want %d", token, resp.StatusCode, want)
				}
			}
		})
	}
}

func TestAFormOfAnotherSessionIsNotTaken(t *testing.T) {
	server := pages(t, "secret")
	one, other := &visitor{server: server, host: "h"}, &visitor{server: server, host: "h"}
	for _, v := range []*visitor{one, other} {
		v.enter("secret")
		v.send("GET", "/ui", nil)
	}
	wantError(t, one.send("POST", "/ui", url.Values{FormField: {other.form}}), 403, "forbidden_origin")
}
