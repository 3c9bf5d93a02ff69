package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"

	"lictor/admin"
)

//go:embed assets pages
var files embed.FS

// policyOfPages allows a page what lies beside it, and nothing inline: text that
// got into a page as markup could still do nothing.
const policyOfPages = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// asset is a file that pages refer to.
type asset struct {
	path, kind string
	text       []byte
	version    string // part of its address, so that a browser may keep it
}

var assets = []*asset{
	readAsset("style.css", "text/css; charset=utf-8"),
	readAsset("script.js", "text/javascript; charset=utf-8"),
	readAsset("icon.svg", "image/svg+xml"),
}

func readAsset(name, kind string) *asset {
	text, err := files.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(text)
	return &asset{path: "/ui/" + name, kind: kind, text: text, version: hex.EncodeToString(sum[:6])}
}

func (a *asset) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "max-age=86400")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	w.Write(a.text) // the client may have gone: nobody to tell
}

// address is where pages find an asset.
func address(name string) string {
	for _, a := range assets {
		if a.path == "/ui/"+name {
			return a.path + "?v=" + a.version
		}
	}
	panic("ui: no asset " + name)
}

// link is an entry of the menu.
type link struct {
	Path, Text string
	Here       bool
}

var menu = []link{
	{Path: "/ui", Text: "Now"}, {Path: "/ui/services", Text: "Services"}, {Path: "/ui/explain", Text: "Explain"}, {Path: "/ui/live", Text: "Live"}, {Path: "/ui/policy", Text: "Policy"},
	{Path: "/ui/consumers", Text: "Consumers"}, {Path: "/ui/certificates", Text: "Certificates"}, {Path: "/ui/egress", Text: "Egress"},
}

// view is what the frame of each page shows, around its own Data.
type view struct {
	Title string
	Menu  []link // nil = the visitor is not signed in
	Visit *admin.Visit
	Data  any
}

// show answers with a page, made by the template of that name. at is the path of its
// entry in the menu.
func (u *UI) show(w http.ResponseWriter, r *http.Request, status int, name, at, title string, data any) error {
	v := view{Title: title, Visit: admin.VisitOf(r), Data: data}
	if v.Visit.In {
		for _, l := range menu {
			l.Here = l.Path == at
			v.Menu = append(v.Menu, l)
		}
	}
	var page bytes.Buffer
	if err := templates[name].ExecuteTemplate(&page, "frame", v); err != nil {
		panic(err) // data that a page cannot show is a mistake of the program
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policyOfPages)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	// Not no-referrer: under it browsers hide the origin of lictor's own forms.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	w.Write(page.Bytes()) // the client may have gone: nobody to tell
	return nil
}

// templates are the pages, by name.
var templates = readTemplates("signin", "refused", "now", "services", "service", "explain", "live", "policy", "object", "edit", "consumers", "certificates", "changes", "egress")

func readTemplates(names ...string) map[string]*template.Template {
	frame := template.Must(template.New("").Funcs(functions).ParseFS(files, "pages/frame.html"))
	all := make(map[string]*template.Template)
	for _, name := range names {
		all[name] = template.Must(template.Must(frame.Clone()).ParseFS(files, "pages/"+name+".html"))
	}
	return all
}

// refused shows why a request is refused.
func (u *UI) refused(w http.ResponseWriter, r *http.Request, why *admin.Refusal) {
	if err := u.show(w, r, why.Status, "refused", "", http.StatusText(why.Status), why); err != nil {
		http.Error(w, why.Message, why.Status) // the page says no more than this
	}
}
