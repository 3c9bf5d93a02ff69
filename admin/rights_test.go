package admin

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/secret"
	"lictor/policy/store"
)

func access(t *testing.T, name, token string, may ...string) Access {
	t.Helper()
	a := Access{Name: name, Token: secret.New(token)}
	if err := a.SetMay(may); err != nil {
		t.Fatal(err)
	}
	return a
}

// rightsRoutes has a route for each right.
func rightsRoutes() (routes []Route) {
	echo := func(w http.ResponseWriter, r *http.Request) { WriteJSON(w, 200, store.WriterOf(r.Context())) }
	for path, may := range map[string]Right{"/r": Read, "/m": Metrics, "/e": Explain, "/w": Write, "/t/{tenant}": Tenant | Read, "/tw/{tenant}": Tenant | Write, "/any": AnyRight, "/forgotten": 0} {
		routes = append(routes, Route{Method: "GET", Path: path, May: may, Handler: echo})
	}
	return routes
}

func TestATokenMayWhatItsRightsSay(t *testing.T) { // R6
	s := newServer(t, Config{Routes: rightsRoutes(), Access: []Access{
		{Name: "admin", Token: secret.New("t-all"), All: true},
		access(t, "second", "t-second", "admin"),
		access(t, "viewer", "t-read", "read"),
		access(t, "prometheus", "t-metrics", "metrics"),
		access(t, "support", "t-explain", "explain"),
		access(t, "ci", "t-policy", "policy"),
		access(t, "acme", "t-acme", "mapping:acme", "mapping:acme2"),
		access(t, "mix", "t-mix", "metrics", "mapping:acme"),
	}})
	all := []string{"/r", "/m", "/e", "/w", "/t/acme", "/t/acme2", "/t/evil", "/tw/acme", "/tw/evil", "/any", "/forgotten", "/status", "/metrics"}
	for token, may := range map[string]string{
		"t-all":     strings.Join(all, " "),
		"t-second":  strings.Join(all, " "),
		"t-read":    "/r /t/acme /t/acme2 /t/evil /any /status",
		"t-metrics": "/m /any /metrics",
		"t-explain": "/e /any",
		"t-policy":  "/r /w /t/acme /t/acme2 /t/evil /tw/acme /tw/evil /any /status",
		"t-acme":    "/t/acme /t/acme2 /tw/acme /any",
		"t-mix":     "/m /t/acme /tw/acme /any /metrics",
	} {
		for _, path := range all {
			want := 403
			if strings.Contains(" "+may+" ", " "+path+" ") {
				want = 200
			}
			if got, body := get(t, s, path, token); got != want {
				t.Errorf("%s with %s: got %d %s, want %d", path, token, got, body, want)
			}
		}
	}
	if _, body := get(t, s, "/w", "t-read"); !strings.Contains(body, `"reason": "forbidden"`) || !strings.Contains(body, `The token of \"viewer\" may not do this; it needs the right policy.`) {
		t.Errorf("got %s", body)
	}
	// Who holds a token learns which paths there are, and who made a change is known.
	if got, _ := get(t, s, "/nothing", "t-metrics"); got != 404 {
		t.Errorf("got %d", got)
	}
	if _, body := get(t, s, "/w", "t-policy"); !strings.Contains(body, `"ci 192.0.2.1:1234"`) {
		t.Errorf("got %s", body)
	}
	for _, token := range []string{"t-", "t-al", "t-all2"} {
		if got, _ := get(t, s, "/any", token); got != 403 {
			t.Errorf("%s is let in: %d", token, got)
		}
	}
	if got, _ := get(t, s, "/r", ""); got != 401 {
		t.Errorf("got %d without a token", got)
	}
}

// get asks with a token, and returns the status and the body.
func get(t *testing.T, s *Server, path, token string) (int, string) {
	t.Helper()
	header := []string{}
	if token != "" {
		header = append(header, "X-Admin-Token", token)
	}
	resp := ask(t, s, "GET", path, header...)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestOnlyWhoMayReadLearnsWhyItIsNotReady(t *testing.T) { // R6
	s := newServer(t, Config{Access: []Access{access(t, "viewer", "t-read", "read"), access(t, "m", "t-metrics", "metrics")},
		Closed: func() []string { return []string{"egress: evil"} }})
	for token, want := range map[string]bool{"t-read": true, "t-metrics": false, "wrong": false, "": false} {
		if _, body := get(t, s, "/readyz", token); strings.Contains(body, "resolver") != want {
			t.Errorf("%q: got %s", token, body)
		}
	}
}

func TestOwnRoutesNameTheirRight(t *testing.T) { // R6
	for _, r := range newServer(t, Config{}).routes() {
		if !r.Open && r.May == 0 {
			t.Errorf("%s %s names none", r.Method, r.Path)
		}
	}
}

func TestRightsAreSpelledRight(t *testing.T) { // R6
	var a Access
	err := a.SetMay([]string{"reed", "mapping:", "READ", "policy"})
	for _, want := range []string{`"reed" is no right`, `"mapping:" is no right`, `"READ" is no right`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := new(Access).SetMay(nil); err == nil {
		t.Error("a token that may do nothing is taken")
	}
}

// A file holds the token: another one counts within a second, and one that is gone is
// a token taken away.
func TestTheTokenOfAFileIsReadAgain(t *testing.T) { // R6
	file := filepath.Join(t.TempDir(), "token")
	put := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put("first\n")
	synctest.Test(t, func(t *testing.T) {
		one := Access{Name: "ci", TokenFile: file, May: Read}
		var told []string
		g, err := newGuard("", []Access{one}, func(a *Access, err error) {
			told = append(told, a.Name)
			if err != nil {
				told = append(told, "not")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		want := func(token string, in bool) {
			t.Helper()
			if who, _ := g.who(token); (who != nil) != in {
				t.Errorf("%q is let in: %v, want %v", token, who != nil, in)
			}
		}
		want("first", true)
		put("second")
		want("first", true) // not looked at yet
		time.Sleep(refreshEvery)
		want("first", false)
		want("second", true)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(refreshEvery)
		want("second", false)
		want("", false)
		put("")
		time.Sleep(refreshEvery)
		want("", false)
		put("third")
		time.Sleep(refreshEvery)
		want("third", true)
		if got := strings.Join(told, " "); got != "ci ci not ci not ci" {
			t.Errorf("told %s", got)
		}
	})
	for text, want := range map[string]string{"": "is empty", "a b": "no space", "\xff": "no space", strings.Repeat("x", maxToken+1): "has more than"} {
		put(text)
		if _, err := New(Config{Log: hclog.NewNullLogger(), Registry: prometheus.NewRegistry(), Access: []Access{{Name: "ci", TokenFile: file}}}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `access "ci"`) {
			t.Errorf("%.10q: got %v, want %s", text, err, want)
		}
	}
}

// TestAPipeInPlaceOfATokenLocksNobodyElseOut: everybody's token is compared with all.
func TestAPipeInPlaceOfATokenLocksNobodyElseOut(t *testing.T) { // R6
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := newGuard("", []Access{{Name: "ci", TokenFile: file, May: Read}, {Name: "all", Token: secret.New("everything"), All: true}}, func(*Access, error) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)); err != nil {
		t.Fatal(err)
	}
	for i := range *g.holders.Load() {
		(*g.holders.Load())[i].looked = time.Time{}
	}
	in := make(chan bool)
	go func() {
		who, _ := g.who("everything")
		former, _ := g.who("first")
		in <- who != nil && former == nil
	}()
	select {
	case ok := <-in:
		if !ok {
			t.Error("who may everything is not let in, or who had the file's token is")
		}
	case <-time.After(5 * time.Second):
		t.Error("everybody waits for who writes to the pipe")
	}
}

// A session has the rights of the token that it was begun with.
func TestASessionMayWhatItsTokenMay(t *testing.T) { // R6, U2
	s := pages(t, "secret")
	all := []Access{access(t, "viewer", "t-read", "read"), access(t, "acme", "t-acme", "mapping:acme"), access(t, "ci", "t-policy", "policy")}
	setAccess(t, s, all)
	for token, want := range map[string][2]int{"t-read": {200, 403}, "t-acme": {403, 403}, "t-policy": {200, 200}} {
		v := &visitor{server: s, host: "lictor.example"}
		v.enter(token)
		if got := v.send("GET", "/ui", nil); got.StatusCode != want[0] {
			t.Errorf("%s reads: got %d, want %d", token, got.StatusCode, want[0])
		}
		if want[0] != 200 {
			continue
		}
		if got := v.send("POST", "/ui", url.Values{FormField: {v.form}}); got.StatusCode != want[1] {
			t.Errorf("%s writes: got %d, want %d", token, got.StatusCode, want[1])
		}
	}
	v := &visitor{server: s, host: "lictor.example"}
	v.enter("t-read")
	setAccess(t, s, all[1:])
	if got := v.send("GET", "/ui", nil); got.StatusCode != 303 {
		t.Errorf("the session of a token that is gone: got %d", got.StatusCode)
	}
}
