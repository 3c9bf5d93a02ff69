//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lictor/admin/api"
)

// heldObjects are the objects that a lictor says are held, by key.
func heldObjects(t *testing.T, p *lictorProcess) (keys []string) {
	t.Helper()
	_, body := fetch(t, "http://"+p.Admin+"/policy/objects?held")
	var list api.List
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, o := range list.Objects {
		if !o.Held || o.Why == "" {
			t.Errorf("held is %+v", o)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// After the whole policy, or a kind of it, was deleted from Consul, what is in
// force stays, an apply restores it and says so, and one that is to go can be
// deleted.
func TestWhatConsulLostIsRestoredByAnApply(t *testing.T) {
	together(t)
	for _, lost := range []string{"", "acls/"} {
		t.Run("lost "+lost, func(t *testing.T) {
			c, p := startMockbin(t)
			base := "http://" + p.Gateway + "/mockbin"
			for _, n := range []string{"a", "b", "c"} {
				kvPut(t, c, "lictor/policy/acls/"+n, fmt.Sprintf(`{"api":"mockbin","groups":[%q]}`, n))
			}
			kvPut(t, c, "lictor/policy/blacklist/ops", "/mockbin/closed\n")
			asks(t, soon, 401, "GET", base+"/x")
			asks(t, soon, 403, "GET", base+"/closed")
			dir := t.TempDir()
			admin := "-admin=http://" + p.Admin
			if status, out, errs := runLictor(t, "policy", "export", admin, dir); status != 0 {
				t.Fatalf("export: %d %s %s", status, out, errs)
			}
			if _, err := c.Client.KV().DeleteTree("lictor/policy/"+lost, nil); err != nil {
				t.Fatal(err)
			}
			// At once, before this lictor need have noticed by itself.
			status, out, errs := runLictor(t, "policy", "diff", admin, dir)
			if status != 0 || !strings.Contains(out, "+ acls/a (the store had lost it)") {
				t.Errorf("diff: %d %s %s", status, out, errs)
			}
			if status, why, _ := ask(t, "GET", base+"/x"); status != 401 {
				t.Errorf("the API is open: %d %s", status, why)
			}
			if held := strings.Join(heldObjects(t, p), " "); !strings.HasPrefix(held, "acls/a acls/b acls/c") {
				t.Errorf("held are %s", held)
			}
			// What is to go goes, whatever the store lost.
			if status, why, body := ask(t, "DELETE", "http://"+p.Admin+"/mappings/acls/c"); status != 204 {
				t.Errorf("a held ACL cannot be deleted: %d %s %s", status, why, body)
			}
			if err := os.Remove(filepath.Join(dir, "acls/c")); err != nil {
				t.Fatal(err)
			}
			status, out, errs = runLictor(t, "policy", "apply", admin, dir)
			if status != 0 || !strings.Contains(out, "restored that the store had lost") {
				t.Errorf("apply: %d %s %s", status, out, errs)
			}
			for key, want := range map[string]bool{"acls/a": true, "acls/b": true, "acls/c": false, "blacklist/ops": true} {
				pair, _, err := c.Client.KV().Get("lictor/policy/"+key, nil)
				if err != nil || (pair != nil) != want {
					t.Errorf("%s in Consul: %v, %v", key, pair, err)
				}
			}
			if held := heldObjects(t, p); len(held) > 0 {
				t.Errorf("still held: %v", held)
			}
			if status, out, errs := runLictor(t, "policy", "diff", admin, dir); status != 0 || !strings.HasPrefix(out, "0 to make, 0 to change, 0 to delete") {
				t.Errorf("diff after the apply: %d %s %s", status, out, errs)
			}
			asks(t, soon, 401, "GET", base+"/x")
			asks(t, soon, 403, "GET", base+"/closed")
		})
	}
}

// Two lictors with one data_dir would mix what they keep: the second one says so.
func TestADataDirBelongsToOneLictor(t *testing.T) {
	together(t)
	data := t.TempDir()
	pol := t.TempDir()
	rest := fmt.Sprintf("policy {\n  store = \"file\"\n  dir = %q\n}\n", pol)
	p := startLictor(t, lictorConfig{DataDir: data, Rest: rest})
	second := newLictor(t, lictorConfig{DataDir: data, Rest: rest})
	status, _, errs := runLictor(t, "run", "-config", second.File)
	if status == 0 || !strings.Contains(errs, "another process uses "+data) {
		t.Errorf("a second lictor: %d %s", status, errs)
	}
	p.Stop(t)
	second.Start(t)
}
