//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// startEcho registers a service that answers with the header it got, or on /stream
// without end.
func startEcho(t *testing.T, c *consulAgent, name string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.URL.Path == "/stream" {
			fmt.Fprintln(w, "tick")
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		fmt.Fprintf(w, "user=%s consumer=%s groups=%s authorization=%s", strings.Join(r.Header["X-User"], "+"),
			r.Header.Get("X-Consumer-Username"), r.Header.Get("X-Consumer-Groups"), r.Header.Get("Authorization"))
	})}
	go srv.Serve(l) //nolint:errcheck // always ErrServerClosed
	t.Cleanup(func() { srv.Close() })
	register(t, c, name, name+"-1", l.Addr().String())
}

const jwtPlugin = "lictor/policy/plugins/login"

func putJWT(t *testing.T, c *consulAgent, config string) {
	t.Helper()
	kvPut(t, c, jwtPlugin, `{"name": "jwt", "config": {`+config+`}}`)
}

// P2: tokens whose keys a provider publishes: its keys change, strangers flood it, it
// goes away, lictor is restarted.
func TestTokensOfAProvider(t *testing.T) {
	together(t)
	c := startConsul(t)
	startEcho(t, c, "echo")
	s := startIssuer(t, "a")
	dir := t.TempDir()
	p := startLictor(t, lictorConfig{DataDir: dir, Rest: consulConfig(c, "")})
	url := "http://" + p.Gateway + "/echo/x"
	asks(t, soon, 200, "GET", url)
	kvPut(t, c, "lictor/policy/consumers/ann", `{"name": "ann", "groups": ["staff"]}`)
	putJWT(t, c, fmt.Sprintf(`"jwks_url": %q, "issuer": "issuer", "audience": ["mockbin"], "consumer_claim": "sub", "groups_claim": "roles",
		"claims_to_headers": ["X-User: sub"], "hide_credentials": true`, s.URL()))
	asks(t, soon, 401, "GET", url)
	a := s.token(t, "a", time.Hour, jwt.MapClaims{"roles": []string{"eng"}})
	asks(t, soon, 200, "GET", url, a)
	if _, body := fetch(t, url, "Authorization", strings.TrimPrefix(a, "Authorization: "), "X-User", "root", "X_User", "root"); body != "user=ann consumer=ann groups=staff, eng authorization=" {
		t.Errorf("the backend got %s", body)
	}
	for name, token := range map[string]string{
		"run out": s.token(t, "a", -time.Minute, nil), "for others": s.token(t, "a", time.Hour, jwt.MapClaims{"aud": "bank"}),
		"of nobody": s.token(t, "a", time.Hour, jwt.MapClaims{"sub": "eve"}),
	} {
		if status, why, h := ask(t, "GET", url, token); status != 401 || why != "bad_credentials" || !strings.Contains(h.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("%s: got %d %s %v", name, status, why, h)
		}
	}

	// A key comes. Nobody waits for it, however many ask, and it is fetched once in 30 s.
	s.show("a", "b")
	b := s.token(t, "b", time.Hour, nil)
	flooded, slowest := 0, time.Duration(0)
	eventually(t, time.Minute, "the new key is known", func() error {
		for range 50 {
			began := time.Now()
			forged := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()})
			forged.Header["alg"], forged.Header["kid"] = "ES256", fmt.Sprint("made-up-", flooded)
			text, err := forged.SignedString([]byte("x"))
			if err != nil {
				return err
			}
			if status, _, _ := ask(t, "GET", url, "Authorization: Bearer "+text); status != 401 {
				return fmt.Errorf("a forged token got %d", status)
			}
			flooded++
			slowest = max(slowest, time.Since(began))
		}
		if status, why, _ := ask(t, "GET", url, b); status != 200 {
			return fmt.Errorf("%d %s", status, why)
		}
		return nil
	})
	asked := s.fetches()
	for i := 1; i < len(asked); i++ {
		if d := asked[i].Sub(asked[i-1]); d < 29*time.Second {
			t.Errorf("fetch %d came %s after the one before", i, d)
		}
	}
	t.Logf("%d tokens with made-up keys, %d fetches, the slowest of them took %s", flooded, len(asked), slowest)
	asks(t, soon, 200, "GET", url, a)

	// The provider goes, and lictor is restarted.
	s.srv.Close()
	p.Stop(t)
	p.Start(t)
	p.Ready(t)
	asks(t, soon, 200, "GET", url, a)
	asks(t, soon, 200, "GET", url, b)
	eventually(t, soon, "status tells of it", func() error {
		sets := statusOf(t, p).KeySets
		if len(sets) != 1 || sets[0].Keys != 2 || !sets[0].LastGood || sets[0].Error == "" || sets[0].AgeSeconds == nil {
			return fmt.Errorf("%+v", sets)
		}
		return nil
	})
	if _, out, _ := runLictor(t, "status", "-admin=http://"+p.Admin); !strings.Contains(out, "from the last-good file") && !strings.Contains(out, "connection refused") {
		t.Errorf("status: %s", out)
	}
	if out := p.Log(); strings.Contains(out, strings.TrimPrefix(a, "Authorization: Bearer ")[:40]) {
		t.Error("a token stands in the log")
	}
}

// P2, X14: keys in the policy: a stream is cut with its key, and with its token.
func TestStreamsEndWithTheirTokens(t *testing.T) {
	together(t)
	c := startConsul(t)
	startEcho(t, c, "echo")
	s := startIssuer(t)
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "")})
	url := "http://" + p.Gateway + "/echo/"
	asks(t, soon, 200, "GET", url)
	both, err := json.Marshal([]string{s.PEM("a"), s.PEM("b")})
	if err != nil {
		t.Fatal(err)
	}
	putJWT(t, c, `"keys": `+string(both))
	a, b := s.token(t, "a", time.Hour, nil), s.token(t, "b", time.Hour, nil)
	brief := s.token(t, "b", 4*time.Second, nil)
	asks(t, soon, 401, "GET", url)
	asks(t, soon, 200, "GET", url, a)
	ended := make(map[string]chan time.Time)
	for name, token := range map[string]string{"a": a, "b": b, "brief": brief} {
		ended[name] = make(chan time.Time, 1)
		resp := open(t, url+"stream", token)
		go func() {
			_, _ = io.Copy(io.Discard, resp.Body) // its end is what counts
			ended[name] <- time.Now()
		}()
	}
	select {
	case <-ended["brief"]:
	case <-time.After(soon):
		t.Error("a stream outlives its token")
	}
	onlyB, err := json.Marshal([]string{s.PEM("b")})
	if err != nil {
		t.Fatal(err)
	}
	putJWT(t, c, `"keys": `+string(onlyB))
	began := time.Now()
	select {
	case at := <-ended["a"]:
		t.Logf("cut %s after its key went", at.Sub(began))
	case <-time.After(soon):
		t.Error("a stream outlives its key")
	}
	asks(t, soon, 401, "GET", url, a)
	asks(t, soon, 200, "GET", url, b)
	select {
	case <-ended["b"]:
		t.Error("the stream by the key that stayed was cut")
	default:
	}
}

// open begins a stream.
func open(t *testing.T, url, field string) *http.Response {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	name, value, _ := strings.Cut(field, ": ")
	req.Header.Set(name, value)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		t.Fatalf("got %d", resp.StatusCode)
	}
	return resp
}

// P2, X9: a policy does not make lictor ask its own infrastructure.
func TestKeysAreNotFetchedFromOurOwnInfrastructure(t *testing.T) {
	together(t)
	c, p := startMockbin(t)
	s := startIssuer(t, "a")
	url := "http://" + p.Gateway + "/mockbin/x"
	for name, at := range map[string]string{"Consul": c.Addr, "the admin API": p.Admin} {
		putJWT(t, c, fmt.Sprintf(`"jwks_url": "http://%s/v1/kv/"`, at))
		eventually(t, soon, name+" is not asked", func() error {
			sets := statusOf(t, p).KeySets
			if len(sets) != 1 || !strings.Contains(sets[0].URL, at) || !strings.Contains(sets[0].Error, "our own infrastructure") {
				return fmt.Errorf("%+v", sets)
			}
			return nil
		})
		if status, why, _ := ask(t, "GET", url, s.token(t, "a", time.Hour, nil)); status != 503 || why != "policy_unavailable" {
			t.Errorf("%s: got %d %s", name, status, why)
		}
	}
}

// P2: a secret is shown nowhere but in the documents, and survives what the API does
// with the plugin.
func TestSecretsOfTokensAreNotShown(t *testing.T) {
	together(t)
	c, p := startMockbin(t)
	const secret = "0123456789abcdef-shared-with-nobody-else"
	url, admin := "http://"+p.Gateway+"/mockbin/x", "-admin=http://"+p.Admin
	putJWT(t, c, fmt.Sprintf(`"secrets": [%q], "claims_to_headers": ["X-User: sub"]`, secret))
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	bearer := "Authorization: Bearer " + text
	asks(t, soon, 401, "GET", url)
	asks(t, soon, 200, "GET", url, bearer)
	var shown strings.Builder
	for _, args := range [][]string{{"explain", admin, "-H", bearer, "/mockbin/x"}, {"explain", admin, "-H", bearer + "x", "/mockbin/x"}, {"status", admin}, {"status", admin, "-json"}} {
		_, out, errs := runLictor(t, args...)
		shown.WriteString(out + errs)
	}
	shown.WriteString(p.ask(t, "GET", "/plugins/login", "").text)
	if out := shown.String(); strings.Contains(out, secret[:16]) || strings.Contains(out, text[len(text)-20:]) || strings.Count(out, "[secret]") < 3 {
		t.Errorf("shown: %s", out)
	}
	if out := shown.String(); !strings.Contains(out, "signature is wrong") || !strings.Contains(out, "holds until") {
		t.Errorf("explain does not tell of the token: %s", out)
	}
	if a := p.ask(t, "PATCH", "/plugins/login", `{"config": {"leeway": "10s"}}`); a.status != 200 || strings.Contains(a.text, secret) {
		t.Errorf("PATCH: %d %s", a.status, a.text)
	}
	asks(t, soon, 200, "GET", url, bearer)
	putJWT(t, c, `"secrets": ["`+secret[:20]+`"]`)
	eventually(t, soon, "a bad one is rejected", func() error {
		if _, out, _ := runLictor(t, "status", admin); !strings.Contains(out, "config.secrets[0]: has 20 bytes") || strings.Contains(out, secret[:16]) {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	asks(t, soon, 200, "GET", url, bearer) // the former value is in force
	putJWT(t, c, fmt.Sprintf(`"secrets": [%q]`, secret))

	dir := t.TempDir()
	for _, args := range [][]string{{"export", admin, dir}, {"check", dir}, {"diff", admin, dir}} {
		if status, out, errs := runLictor(t, append([]string{"policy"}, args...)...); status != 0 || strings.Contains(out+errs, secret[:16]) {
			t.Fatalf("%v: %d %s %s", args, status, out, errs)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "plugins", "login*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if exported, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(exported), secret) {
		t.Errorf("exported: %s %v", exported, err)
	}
	kvDelete(t, c, jwtPlugin)
	asks(t, soon, 200, "GET", url)
	if status, out, errs := runLictor(t, "policy", "apply", admin, dir); status != 0 || !strings.Contains(out, "plugins/login") || strings.Contains(out+errs, secret[:16]) {
		t.Fatalf("apply: %d %s %s", status, out, errs)
	}
	asks(t, soon, 401, "GET", url)
	asks(t, soon, 200, "GET", url, bearer)
	if strings.Contains(p.Log(), secret[:16]) || strings.Contains(p.Log(), text[len(text)-20:]) {
		t.Error("the log has a secret")
	}
}
