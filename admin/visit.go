package admin

import (
	"context"
	"crypto/subtle"
	"mime"
	"net/http"
	"net/url"
	"time"

	"lictor/policy/store"
)

// SignInPath is the page that asks for the token, and FormField the field in which
// each form of a page carries [Visit.Form].
const (
	SignInPath = "/ui/sign-in"
	FormField  = "form"

	pagesPath = "/ui" // the cookie is for what lies below it
)

// Visit is the request of a person to a page (U1). The handler of a [Route] with a
// Page gets it by [VisitOf].
type Visit struct {
	In   bool // the visitor holds a token; what it may do, the routes say
	Open bool // there is no token, so that nobody signs in or out

	server *Server
	who    *Access // nil = not known
	form   string
}

type visitKey struct{}

// VisitOf returns the visit that a request to a page is.
func VisitOf(r *http.Request) *Visit {
	v, _ := r.Context().Value(visitKey{}).(*Visit)
	return v
}

// Form is what the forms of a page carry in [FormField], so that no page of another
// origin can send one.
func (v *Visit) Form() string { return v.form }

// SignIn begins a session, with the rights of the token. A wrong token is refused
// as in the header: with 403, and 429 to who keeps guessing (X8).
func (v *Visit) SignIn(w http.ResponseWriter, r *http.Request, token string) error {
	guard := v.server.guard
	who, sum := guard.who(token)
	switch {
	case v.Open:
		return nil
	case token == "":
		return &Refusal{Status: http.StatusForbidden, Reason: "no_token", Message: "The admin token is missing."}
	case who == nil:
		if wait := guard.wrong.failed(networkOf(r), time.Now()); wait > 0 {
			return slowDown(w, wait)
		}
		return &Refusal{Status: http.StatusForbidden, Reason: "wrong_token", Message: "The admin token is wrong."}
	}
	id := v.server.sessions.begin(sum, time.Now())
	http.SetCookie(w, cookie(r, id))
	return nil
}

// SignOut ends the session.
func (v *Visit) SignOut(w http.ResponseWriter, r *http.Request) {
	for _, c := range r.CookiesNamed(cookieName(r)) {
		v.server.sessions.end(c.Value)
	}
	gone := cookie(r, "") //nolint:gosec // as below
	gone.MaxAge = -1
	http.SetCookie(w, gone)
}

func cookie(r *http.Request, id string) *http.Cookie {
	//nolint:gosec // it is Secure wherever the listener speaks TLS; elsewhere a browser would drop it
	return &http.Cookie{Name: cookieName(r), Value: id, Path: pagesPath, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil}
}

// cookieName holds the port, which a browser does not mind: two lictors of one host
// would sign each other's visitors out.
func cookieName(r *http.Request) string {
	_, port := splitHost(r.Host)
	return "lictor-session-" + port
}

// visit finds out whose request it is.
func (s *Server) visit(r *http.Request) *Visit {
	v := &Visit{server: s, form: s.form, Open: !s.guard.needed, In: !s.guard.needed}
	if v.Open {
		v.who = anybody
		return v
	}
	held := func(token sum) bool {
		v.who = s.guard.holderOf(token)
		return v.who != nil
	}
	cookies := r.CookiesNamed(cookieName(r))
	for _, c := range cookies[:min(len(cookies), 4)] {
		if form, ok := s.sessions.find(c.Value, held, time.Now()); ok {
			v.form, v.In = form, true
			break
		}
	}
	return v
}

// page serves a route that is for people: it lets them in by their session, and
// takes only forms of its own pages.
func (s *Server) page(w http.ResponseWriter, r *http.Request, route *Route) {
	v := s.visit(r)
	r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
	if !v.In && !route.Open {
		to := SignInPath
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			to += "?to=" + url.QueryEscape(r.URL.RequestURI())
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if !route.Open && !v.who.allows(route.May, "") {
		route.Page(w, r, mayNot(v.who, route))
		return
	}
	if v.who != nil {
		r = r.WithContext(store.WithWriter(r.Context(), writer(v.who, r)))
	}
	if r.Method == http.MethodPost {
		if err := v.own(r); err != nil {
			route.Page(w, r, RefusalOf(err))
			return
		}
	}
	route.Handler(w, r)
}

// own reads the form of a request and returns nil if it is one of lictor's own
// pages, which the origin says and the secret in the form proves.
func (v *Visit) own(r *http.Request) error {
	if !sameOrigin(r) || !sameSite(r) {
		return foreign("forbidden_origin", "No page of another origin may send forms")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return &Refusal{Status: http.StatusUnsupportedMediaType, Reason: "unsupported_media_type", Message: "Unsupported media type: want a form"}
	}
	if err := r.ParseForm(); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(r.PostForm.Get(FormField)), []byte(v.form)) == 0 {
		return foreign("forbidden_origin", "The form is not of this session; go back, load the page anew and send it again")
	}
	return nil
}
