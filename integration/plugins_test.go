//go:build integration

package integration_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// sendBody sends a body of unknown length, if pieces, and returns status and reason.
func sendBody(t *testing.T, url, key, body string, pieces bool) (int, string) {
	t.Helper()
	var from io.Reader = strings.NewReader(body)
	if pieces {
		from = struct{ io.Reader }{from}
	}
	req, err := http.NewRequest("POST", url, from)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("apikey", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, reason(string(text))
}

// P4, P5: limits of bodies and maintenance, as an operator sets them in Consul.
func TestSizeLimitAndTerminationInKV(t *testing.T) {
	together(t)
	c, p := startMockbin(t)
	const k = "lictor/policy/"
	url := "http://" + p.Gateway + "/mockbin/x"
	kvPut(t, c, k+"consumers/ann", `{"name": "ann"}`)
	kvPut(t, c, credentialKey("ann-key"), `{"consumer": "ann"}`)
	kvPut(t, c, k+"plugins/size", `{"name": "request-size-limiting", "config": {"max_body": "1KiB"}}`)
	kvPut(t, c, k+"plugins/ann", `{"name": "request-size-limiting", "config": {"allowed_payload_size": 1}}`)
	kvPut(t, c, k+"plugin-mappings/ann", `{"plugins": ["ann"], "consumers": ["ann"]}`)
	kvPut(t, c, k+"plugins/try", `{"name": "request-termination", "mode": "report"}`)
	kvPut(t, c, k+"blacklist/last", "/mockbin/last\n")
	asks(t, soon, 403, "GET", "http://"+p.Gateway+"/mockbin/last")
	for _, tt := range []struct {
		name, key string
		size      int
		pieces    bool
		status    int
	}{
		{"a body within the limit passes", "", 1024, false, 200},
		{"one within the limit passes that tells no length", "", 1024, true, 200},
		{"a longer one is refused", "", 1025, false, 413},
		{"a longer one is refused that tells no length", "", 1025, true, 413},
		{"a consumer has a limit of its own", "ann-key", 1 << 20, false, 200},
		{"which is one, too", "ann-key", 1<<20 + 1, false, 413}, // by its head, for the backend answers before it has read a body
	} {
		if status, why := sendBody(t, url, tt.key, strings.Repeat("x", tt.size), tt.pieces); status != tt.status || status == 413 && why != "body_too_large" {
			t.Errorf("%s: got %d %q", tt.name, status, why)
		}
	}
	if !strings.Contains(p.Log(), "would be denied") || !strings.Contains(p.Log(), "terminated") {
		t.Error("the log does not tell what the plugin in report mode would have done")
	}
	admin := "-admin=http://" + p.Admin
	if _, out, _ := runLictor(t, "explain", admin, "/mockbin/x"); !strings.Contains(out, "request-size-limiting") || !strings.Contains(out, "request-termination") {
		t.Errorf("explain tells of no step of the plugins:\n%s", out)
	}

	dir := t.TempDir()
	for _, args := range [][]string{{"export", admin, dir}, {"check", dir}} {
		if status, out, errs := runLictor(t, append([]string{"policy"}, args...)...); status != 0 {
			t.Fatalf("%v: %d %s %s", args, status, out, errs)
		}
	}
	kvPut(t, c, k+"plugins/try", `{"name": "request-termination", "config": {"message": "Back at noon"}}`)
	asks(t, soon, 503, "GET", url)
	if _, why, _ := ask(t, "GET", url); why != "terminated" {
		t.Errorf("got %q", why)
	}
	if status, out, errs := runLictor(t, "policy", "apply", admin, dir); status != 0 || !strings.Contains(out, "plugins/try") {
		t.Fatalf("apply: %d %s %s", status, out, errs)
	}
	asks(t, soon, 200, "GET", url)
}
