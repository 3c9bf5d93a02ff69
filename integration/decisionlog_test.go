//go:build integration

package integration_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lictor/admin/admintest"
)

// decisionsIn reads the lines of a decision log but the heads, once there are as many.
func decisionsIn(t *testing.T, path string, want int) (all []map[string]any, text string) {
	t.Helper()
	eventually(t, soon, "the decisions are written", func() error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all, text = nil, string(b)
		lines := bufio.NewScanner(bytes.NewReader(b))
		for lines.Scan() {
			var one map[string]any
			if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
				return err
			}
			if one["kind"] == nil {
				all = append(all, one)
			}
		}
		if len(all) != want {
			return fmt.Errorf("there are %d, want %d", len(all), want)
		}
		return nil
	})
	return all, text
}

// TestDecisionsAreKept has both listeners decide, and looks at what is kept of it: also
// over SIGHUP, a restart and a directory that goes away (R1).
func TestDecisionsAreKept(t *testing.T) {
	together(t)
	back := startBackend(t, "shop")
	dir := filepath.Join(t.TempDir(), "log")
	must(t, os.Mkdir(dir, 0o700))
	path, egress := filepath.Join(dir, "decisions"), freePort(t)
	cfg := lictorConfig{Rest: fmt.Sprintf(`policy {
  store = "file"
  dir   = %q
}
egress {
  address = "127.0.0.1:%d"
}
decision_log {
  path = %q
}
middleware "beta" {
  match {
    headers = { X-Beta = "yes" }
  }
  request {
    set = { X-Seen = "1" }
  }
}
`, t.TempDir(), egress, path) + staticConfig("shop", "http://"+back.Addr)}
	p := startLictor(t, cfg)
	p.Ready(t)
	p.play(t, []admintest.Step{
		{Method: "POST", Path: "/consumers", Body: `{"name": "ann"}`, Status: 201},
		{Method: "POST", Path: "/consumers/ann/key-auth/", Body: `{"key": "key-of-ann"}`, Status: 201},
		{Method: "POST", Path: "/apis/shop/acls/", Body: `{"id": "only-ann", "consumers": ["ann"]}`, Status: 201},
		{Method: "POST", Path: "/blacklist", Body: `{"name": "ops", "entries": ["/shop/admin", "evil.example"]}`, Status: 201},
	})
	p.send(t, http.MethodGet, "/shop/x?apikey=key-of-ann&secret=1", "X-Beta", "yes", "Cookie", "secret=2")
	p.send(t, http.MethodGet, "/shop/%61dmin/..;/x", "apikey", "key-of-ann")
	p.send(t, http.MethodGet, "/shop/x", "apikey", "key-of-eve")
	proxy, _ := url.Parse(fmt.Sprintf("http://127.0.0.1:%d", egress))
	resp, err := (&http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}).Get("http://evil.example/x?secret=3")
	must(t, err)
	resp.Body.Close()
	all, text := decisionsIn(t, path, 4)
	// Lines are written behind the answers; the times are those of the requests.
	asked := func(d map[string]any) time.Time {
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(d["time"]))
		must(t, err)
		return at
	}
	slices.SortFunc(all, func(a, b map[string]any) int { return asked(a).Compare(asked(b)) })
	for i, want := range []string{
		"listener=gateway method=GET path=/shop/x key=apikey headers=[beta] matched=[beta] verdict=pass by=segment service=shop status=200",
		"path=/shop/%61dmin/..;/x verdict=refuse reason=blacklist rule=lictor/policy/blacklist/ops entry=/shop/admin status=403",
		"path=/shop/x key_names=[apikey] key=apikey verdict=refuse reason=no_credentials rule=lictor/policy/acls/only-ann plugin=acl status=401",
		"listener=egress host=evil.example port=80 path=/x verdict=refuse reason=blacklist entry=evil.example status=403",
	} {
		for field := range strings.FieldsSeq(want) {
			key, value, _ := strings.Cut(field, "=")
			if got := fmt.Sprint(all[i][key]); got != value {
				t.Errorf("decision %d: %s is %s, want %s: %v", i, key, got, value, all[i])
			}
		}
	}
	if all[0]["consumer"] == nil || all[0]["credential"] == nil || all[0]["key_sum"] == nil || all[0]["mark"] == nil || all[2]["consumer"] != nil {
		t.Errorf("who asked: %v, %v", all[0], all[2])
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "key-of") || strings.Contains(text, "yes") {
		t.Errorf("it holds a query, a field's value or a key: %s", text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}

	// A SIGHUP takes the new mask, and opens what was moved away.
	must(t, os.Rename(path, path+".old"))
	cfg.Rest = strings.Replace(cfg.Rest, "decision_log {", "decision_log {\n  mask {\n    client        = \"/8,/32\"\n    path_segments = 1\n  }", 1)
	p.Configure(t, cfg)
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the reload is logged", func() error { return logged(p, "generation=2") })
	p.send(t, http.MethodGet, "/shop/private/x", "apikey", "key-of-ann")
	if all, text = decisionsIn(t, path, 1); all[0]["path"] != "/shop" || all[0]["cut"] != "plain" || all[0]["client"] != "127.0.0.0/8" || strings.Contains(text, "private") {
		t.Errorf("not masked: %v", all[0])
	}
}
