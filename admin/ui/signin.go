package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"lictor/admin"
)

// signInPage is what the page that asks for the token shows.
type signInPage struct {
	To    string // where it leads to
	Wrong string // why the visitor is not let in; "" = nothing was tried

	// Again: another site led here, so that the browser sent no cookie. It does when
	// this page leads to itself.
	Again string
}

func (u *UI) askToken(w http.ResponseWriter, r *http.Request) error {
	data := signInPage{To: ownPage(r.URL.Query().Get("to"))}
	if admin.VisitOf(r).In {
		return seeOther(w, data.To)
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		data.Again = admin.SignInPath + "?to=" + url.QueryEscape(data.To)
	}
	return u.show(w, r, http.StatusOK, "signin", "", "Sign in", data)
}

func (u *UI) signIn(w http.ResponseWriter, r *http.Request) error {
	to := ownPage(r.PostForm.Get("to"))
	err := admin.VisitOf(r).SignIn(w, r, r.PostForm.Get("token"))
	if err == nil {
		return seeOther(w, to)
	}
	refusal, ok := errors.AsType[*admin.Refusal](err)
	if !ok {
		return err
	}
	return u.show(w, r, refusal.Status, "signin", "", "Sign in", signInPage{To: to, Wrong: refusal.Message})
}

func (u *UI) signOut(w http.ResponseWriter, r *http.Request) error {
	admin.VisitOf(r).SignOut(w, r)
	return seeOther(w, admin.SignInPath)
}

// ownPage returns the path if it is one of a page here: nobody is led elsewhere.
func ownPage(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Path != "/ui" && !strings.HasPrefix(u.Path, "/ui/") || strings.Contains(path, `\`) {
		return "/ui"
	}
	return path
}

func seeOther(w http.ResponseWriter, to string) error {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
