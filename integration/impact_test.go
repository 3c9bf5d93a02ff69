//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lictor/policy/impact"
)

// TestImpactIsWhatTheRunningGatewayDoes imports a policy, proves what a change does,
// applies it, and sends the request that stands for each line before and after.
func TestImpactIsWhatTheRunningGatewayDoes(t *testing.T) { // R3
	together(t)
	c := startConsul(t)
	for _, name := range []string{"shop", "cart"} {
		register(t, c, name, name+"-1", startBackend(t, name).Addr)
	}
	p := startLictor(t, lictorConfig{DataDir: t.TempDir(), Gateway: `  trusted_proxies = ["127.0.0.0/8"]`, Rest: consulConfig(c, "")})
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	people := []string{"ann", "bob", "ci", "guest"}
	for _, who := range people {
		put("credentials/"+strings.TrimPrefix(credentialKey("key of "+who), "lictor/policy/credentials/"), fmt.Sprintf(`{"consumer": %q}`, who))
	}
	put("credentials/"+strings.TrimPrefix(credentialKey("other key of ci"), "lictor/policy/credentials/"), `{"consumer": "ci"}`)
	put("consumers/ann", `{"groups": ["staff"]}`)
	put("consumers/bob", `{"groups": ["staff", "reporting"]}`)
	put("consumers/ci", `{"groups": ["reporting"]}`)
	put("consumers/guest", `{}`)
	put("plugins/key", `{"name": "key-auth", "global": false}`)
	put("plugin-mappings/key", `{"api": "shop", "plugins": ["key"]}`)
	put("filters/export", `{"paths": ["/shop/export"], "ips": ["10.0.0.0/8"], "methods": ["GET", "POST"]}`)
	put("acls/shop", `{"api": "shop", "groups": ["reporting"], "filters": ["export"]}`)
	put("acls/staff", `{"api": "shop", "groups": ["staff"]}`)
	put("blacklist/ops", "10.6.6.0/24\n/shop/admin\n")
	lictor := func(args ...string) (int, string) {
		status, out, said := runLictor(t, append(append([]string{"policy"}, args...), "-admin=http://"+p.Admin, dir)...)
		return status, out + said
	}
	if status, out := lictor("apply"); status != 0 {
		t.Fatalf("apply: %d %s", status, out)
	}
	if status, out := lictor("diff", "-impact", "-exit-code"); status != 0 || !strings.HasSuffix(out, "proof: 0 classes of 0 APIs, complete\n") {
		t.Errorf("nothing is different: %d %s", status, out)
	}

	put("filters/export", `{"paths": ["/shop/export"], "ips": ["10.1.0.0/16"], "methods": ["GET"]}`)
	put("blacklist/ops", "10.6.6.0/24\n/shop/admin\nDELETE /cart/x\nevil.example\n")
	put("consumers/bob", `{"groups": ["reporting"]}`)
	put("filters/page", `{"paths": ["/shop/public"]}`)
	put("acls/page", `{"api": "shop", "consumers": ["guest"], "filters": ["page"]}`)
	put("filters/part", `{"paths": ["/cart/admin"]}`)
	put("apis/cart-admin", `{"service": "cart", "filters": ["part"]}`)
	put("acls/cart-admin", `{"api": "cart-admin", "consumers": ["ann"]}`)
	if err := os.Remove(filepath.Join(dir, "credentials", strings.TrimPrefix(credentialKey("key of ci"), "lictor/policy/credentials/"))); err != nil {
		t.Fatal(err)
	}
	status, out := lictor("diff", "-impact", "-json", "-exit-code")
	var rep impact.Report
	if err := json.Unmarshal([]byte(out), &rep); err != nil || status != 1 || !rep.Complete {
		t.Fatalf("diff: %d %v %s", status, err, out)
	}
	_, text := lictor("diff", "-impact")
	for _, want := range []string{"CLOSES  blacklist/ops DELETE /cart/x  ", "CLOSES  blacklist/ops evil.example  ",
		"OPENS   acls/page  consumers guest  ", "CLOSES  filters/export  ", "CLOSES  consumers/bob  ", "CLOSES  acls/cart-admin  ", "ci (by a key that is gone)", "complete\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told by\n%s", want, text)
		}
	}

	sent := 0
	agree := func(when string, after bool) {
		for _, l := range rep.Lines {
			e := l.Example
			if e == nil {
				t.Errorf("no request is known of %s", l.String())
				continue
			}
			want := e.Status
			if passes := (l.Effect == impact.Opens) == after; passes {
				want = http.StatusOK
			}
			fields := []string{"X-Forwarded-For: " + e.From.String()}
			if key := e.Before; key != "" || e.After != "" {
				if key == "" {
					key = e.After
				}
				if key = "key of " + key; key == "key of ci" && e.After == "ci" {
					key = "other key of ci" // the first one goes
				}
				fields = append(fields, "apikey: "+key)
			}
			req, err := http.NewRequest(e.Method, "http://"+p.Gateway+e.Path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range fields {
				name, value, _ := strings.Cut(f, ": ")
				req.Header.Set(name, value)
			}
			req.Host = e.Host
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			got := resp.StatusCode
			if reason(string(body)) == "unknown_service" {
				got = http.StatusOK // the policy let it pass, to a service that is not there
			}
			if sent++; got != want {
				t.Errorf("%s the change %s is %d, want %d, as told by\n%s", when, e, got, want, l.String())
			}
		}
	}
	for _, name := range []string{"shop", "cart"} {
		asks(t, soon, map[string]int{"shop": 401, "cart": 200}[name], "GET", "http://"+p.Gateway+"/"+name+"/x")
	}
	agree("before", false)
	if status, out := lictor("apply", "-prune"); status != 0 {
		t.Fatalf("apply: %d %s", status, out)
	}
	agree("after", true)
	if len(rep.Lines) < 8 || sent != 2*len(rep.Lines) {
		t.Errorf("%d lines, %d requests: the test proves little", len(rep.Lines), sent)
	}
	if status, out := lictor("diff", "-impact", "-exit-code"); status != 0 || !strings.HasSuffix(out, "proof: 0 classes of 0 APIs, complete\n") {
		t.Errorf("all is applied: %d %s", status, out)
	}
}
