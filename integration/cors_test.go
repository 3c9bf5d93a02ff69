//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// startBrowser runs Chromium, for which every name leads to this machine.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute) // it is ended by a clean-up
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(time.Minute), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1, EXCLUDE localhost, EXCLUDE 127.0.0.1"))
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("chromium does not end: %v", err)
		}
	})
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return ctx
}

// fetches has the page that is open ask for a URL, and returns what its script can
// read of the answer: the status and the body, "hidden" if it is nothing.
func fetches(t *testing.T, browser context.Context, url, options string) string {
	t.Helper()
	script := fmt.Sprintf(`(async () => {
		try {
			const answer = await fetch(%q, %s);
			return answer.status + " " + (answer.headers.get("Retry-After") ? "again " : "") + await answer.text();
		} catch (refused) {
			return "hidden";
		}
	})()`, url, options)
	read, err := chromedp.Run(browser, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return read
}

// echoOfCORS is a service with fields of CORS of its own, all of them wrong.
func echoOfCORS(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Set-Cookie", "session=s; Path=/")
	h.Set("Vary", "Accept")
	json.NewEncoder(w).Encode(map[string]string{"method": r.Method, "key": r.Header.Get("apikey"), "cookie": r.Header.Get("Cookie")})
}

// P1: what pages of two origins can do and read, in a browser, with and without
// credentials, of answers of a service and of lictor's own.
func TestPagesReadWhatCORSAllows(t *testing.T) {
	together(t)
	service := httptest.NewServer(http.HandlerFunc(echoOfCORS))
	t.Cleanup(service.Close)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sandbox" {
			w.Header().Set("Content-Security-Policy", "sandbox allow-scripts") // its origin is null
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!DOCTYPE html><title>a page</title>")
	}))
	t.Cleanup(site.Close)
	at := func(host, hostport string) string {
		_, port, err := net.SplitHostPort(hostport)
		if err != nil {
			t.Fatal(err)
		}
		return "http://" + host + ":" + port
	}
	app, other := at("app.shop.example", site.Listener.Addr().String()), at("other.shop.example", site.Listener.Addr().String())

	// The cookie is one login for all services, so its path stays as it was set (D25).
	p := startLictor(t, lictorConfig{Rest: "dispatch \"http\" {\n  rewrite_location = false\n}\n" + fmt.Sprintf("resolver \"static\" {\n  services = { \"shop\" = [%q], \"open\" = [%[1]q], \"old\" = [%[1]q], \"bare\" = [%[1]q] }\n}\npolicy {\n  store = \"memory\"\n}\n", service.URL)})
	p.Ready(t)
	for _, o := range []struct{ key, doc string }{
		{"consumers/ann", `{"name": "ann"}`},
		{strings.TrimPrefix(credentialKey("ann-key"), "lictor/policy/"), `{"consumer": "ann"}`},
		{"plugins/key", `{"name": "key-auth"}`},
		{"plugins/limit", `{"name": "rate-limiting", "config": {"year": 3}}`},
		{"plugins/cors", fmt.Sprintf(`{"name": "cors", "config": {"origins": [%q], "credentials": true, "exposed_headers": ["Retry-After"]}}`, app)},
		{"plugins/any", `{"name": "cors", "config": {"credentials": true}}`},
		{"plugins/go", fmt.Sprintf(`{"name": "cors", "config": {"origins": [%q], "preflight_continue": true}}`, app)},
		{"plugin-mappings/shop", `{"api": "shop", "plugins": ["key", "limit", "cors"]}`},
		{"plugin-mappings/open", `{"api": "open", "plugins": ["any"]}`},
		{"plugin-mappings/old", `{"api": "old", "plugins": ["key", "go"]}`},
	} {
		operation, err := json.Marshal(map[string]any{"operations": []any{map[string]any{"op": "put", "key": o.key, "value": []byte(o.doc)}}})
		if err != nil {
			t.Fatal(err)
		}
		if a := p.ask(t, "POST", "/policy/objects", string(operation)); a.status != 200 {
			t.Fatalf("%s: %d %s", o.key, a.status, a.text)
		}
	}
	api := at("api.shop.example", p.Gateway)
	const put = `method: "PUT", headers: {apikey: "ann-key"}`
	browser := startBrowser(t)
	for _, tt := range []struct{ name, page, path, options, want string }{
		{"a page of the service's own origin reads all, and gets a cookie", api + "/bare/", "/bare/x", `{}`, `200 {"cookie":"session=s"`},
		{"a page that is allowed asks with a key", app, "/shop/x", `{` + put + `}`, `200 {"cookie":"","key":"ann-key","method":"PUT"}`},
		{"and with cookies", app, "/shop/x", `{credentials: "include", ` + put + `}`, `200 {"cookie":"session=s","key":"ann-key","method":"PUT"}`},
		{"it reads why there is no answer without a key", app, "/shop/x", `{}`, `401 {"message": "No API key found in request", "reason": "no_credentials"`},
		{"also with cookies", app, "/shop/x", `{credentials: "include", method: "DELETE"}`, `401 {"message": "No API key found in request"`},
		{"a page that is not allowed reads nothing", other, "/shop/x", `{headers: {apikey: "ann-key"}}`, "hidden"},
		{"not even what needs no preflight", other, "/shop/x?apikey=ann-key", `{}`, "hidden"},
		{"nor why it got no answer", other, "/shop/x", `{}`, "hidden"},
		{"a page that is allowed reads when the limit is over", app, "/shop/x", `{` + put + `}`, `429 again {"message": "API rate limit exceeded"`},
		{"any page reads what is open", other, "/open/x", `{method: "PATCH", headers: {"X-Own": "1"}}`, `200 {"cookie":"","key":"","method":"PATCH"}`},
		{"but not with cookies, whatever the service says", other, "/open/x", `{credentials: "include"}`, "hidden"},
		{"nor does a page that is named elsewhere", app, "/open/x", `{credentials: "include"}`, "hidden"},
		{"any page in a sandbox reads what is open", app + "/sandbox", "/open/x", `{}`, `200 {"cookie":""`},
		{"and nothing else", app + "/sandbox", "/shop/x", `{}`, "hidden"},
		{"a service that answers preflights itself allows no methods here", app, "/old/x", `{` + put + `}`, "hidden"},
		{"an answer that needs none is read", app, "/old/x?apikey=ann-key", `{}`, `200 {"cookie":""`},
		{"without a plugin the service's own word counts", other, "/bare/x", `{}`, `200 {"cookie":""`},
	} {
		if _, err := chromedp.Run(browser, chromedp.Navigate(tt.page)); err != nil {
			t.Fatalf("%s: %v", tt.page, err)
		}
		if read := fetches(t, browser, api+tt.path, tt.options); !strings.HasPrefix(read, tt.want) {
			t.Errorf("%s: the page reads %q, want %q", tt.name, read, tt.want)
		}
	}
	if _, out, _ := runLictor(t, "explain", "-admin=http://"+p.Admin, "-X", "OPTIONS", "-H", "Origin: "+app, "-H", "Access-Control-Request-Method: PUT", "/shop/x"); !strings.Contains(out, "ANSWERED by lictor: 204") || !strings.Contains(out, "preflight") {
		t.Errorf("explain says of a preflight:\n%s", out)
	}
}
