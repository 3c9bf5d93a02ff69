//go:build integration

package integration_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"lictor/admin/admintest"
)

// TestThePageThatEditsShowsTheReplay has requests recorded, and edits a blacklist in a
// browser: before anything is written the page says which of them it would close, by
// what and for whom, and nothing that a client sent is markup in it (R2, U6).
func TestThePageThatEditsShowsTheReplay(t *testing.T) {
	together(t)
	shop := startBackend(t, "shop")
	path := filepath.Join(t.TempDir(), "decisions")
	p := startLictor(t, lictorConfig{Rest: fmt.Sprintf("policy {\n  store = \"memory\"\n}\ndecision_log {\n  path = %q\n}\n", path) + staticConfig("shop", "http://"+shop.Addr)})
	p.Ready(t)
	p.play(t, []admintest.Step{
		{Method: "POST", Path: "/consumers", Body: `{"name": "ann"}`, Status: 201},
		{Method: "POST", Path: "/consumers/ann/key-auth/", Body: `{"key": "key-of-ann"}`, Status: 201},
		{Method: "POST", Path: "/apis/shop/acls/", Body: `{"consumers": ["ann"]}`, Status: 201},
		{Method: "POST", Path: "/blacklist", Body: `{"name": "ops", "entries": ["/shop/admin"], "direction": "ingress"}`, Status: 201},
	})
	b := newBrowser(t)
	edit := "http://" + p.Admin + "/ui/policy/blacklist/ops/edit"
	check := func(entries string) string {
		t.Helper()
		b.open(t, edit)
		b.do(t, chromedp.SetValue("#document", `{"entries": [`+entries+`], "direction": "ingress"}`))
		return b.send(t, "button[value=check]")
	}
	wants(t, "before any request", check(`"/shop/admin", "/shop/export"`), "What it does to the traffic of the last hour", "No request was recorded")

	const markup = "/shop/export/a&lt;b"
	for _, r := range []struct {
		path   string
		status int
	}{{"/shop/export", 200}, {"/shop/export", 200}, {markup, 200}, {"/shop/cart", 200}, {"/shop/admin", 403}} {
		if resp := p.send(t, http.MethodGet, r.path, "apikey", "key-of-ann"); resp.StatusCode != r.status {
			t.Fatalf("%s: got %d, want %d", r.path, resp.StatusCode, r.status)
		}
	}
	decisionsIn(t, path, 5)
	text := check(`"/shop/admin", "/shop/export"`)
	wants(t, "what it closes", text, "Of 5 decisions it closes 3 and opens 0; 2 stay as they are", "/shop/export", "ann", "closes", "Write it")
	b.check(t, "replayed")
	text = check(`"/shop/none"`)
	wants(t, "what it opens", text, "Of 5 decisions it closes 0 and opens 1; 4 stay as they are", "opens", "/shop/admin")
	wants(t, "a path like markup", check(`"`+markup+`", "/shop/admin"`), "closes 1 and opens 0", "GET "+markup)
	if stored := p.ask(t, "GET", "/blacklist/ops", "").text; strings.Contains(stored, "export") {
		t.Errorf("a check wrote it: %s", stored)
	}
	check(`"/shop/admin", "/shop/export"`)
	wants(t, "written", b.send(t, "button[value=write]"), "in force", "/shop/export")
	if resp := p.send(t, http.MethodGet, "/shop/export", "apikey", "key-of-ann"); resp.StatusCode != 403 {
		t.Errorf("what the page said it closes gets %d", resp.StatusCode)
	}
	if said := b.console.String(); strings.Contains(said, "Security") || strings.Contains(said, "exception") {
		t.Errorf("the console says %s", said)
	}
}
