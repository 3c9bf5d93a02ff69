package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answering starts an admin listener that gives the same answer to everything.
func answering(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// With -exit-code, a command that tells how things are has that for its status;
// what it prints is the same.
func TestExitCodeSaysHowThingsAre(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "blacklist"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "blacklist", "a"), []byte("/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		answer  string
		args    []string
		plain   int // status without -exit-code
		coded   int // and with it
		printed string
	}{
		{"ready and no problem", `{"ready":true}`, []string{"status"}, 0, 0, "ready"},
		{"not ready", `{"ready":false,"not_ready":["policy"]}`, []string{"status"}, 0, 1, "NOT READY: policy"},
		{"a problem", `{"ready":true,"problems":["resolver consul: EOF"]}`, []string{"status"}, 0, 1, "resolver consul: EOF"},
		{"a problem as JSON", `{"ready":true,"problems":["EOF"]}`, []string{"status", "-json"}, 0, 1, `["EOF"]`},
		{"let through and served", `{"allowed":true,"status":200}`, []string{"explain", "/a"}, 0, 0, "ALLOWED"},
		{"let through and not served", `{"allowed":true,"status":503,"reason":"unknown_service"}`, []string{"explain", "/a"}, 0, 1, "503 unknown_service"},
		{"refused", `{"allowed":false,"status":403,"reason":"acl"}`, []string{"explain", "/a"}, 0, 1, "REFUSED: 403 acl"},
		{"the policy is that of the files", `{"objects":[{"key":"blacklist/a","index":7,"value":"L3gK"}]}`, []string{"policy", "diff", dir}, 0, 0, ""},
		{"the policy is another one", `{"objects":[]}`, []string{"policy", "diff", dir}, 0, 1, "blacklist/a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := answering(t, 200, tt.answer)
			for _, with := range []struct {
				flags []string
				want  int
			}{{nil, tt.plain}, {[]string{"-exit-code"}, tt.coded}} {
				var stdout, stderr bytes.Buffer
				args := append(append(tt.args, "-admin", address), with.flags...)
				if got := Main(args, &stdout, &stderr); got != with.want {
					t.Errorf("%v: got %d, want %d: %s", with.flags, got, with.want, &stderr)
				}
				if !strings.Contains(stdout.String(), tt.printed) || stderr.Len() > 0 {
					t.Errorf("%v: got %q and %q", with.flags, &stdout, &stderr)
				}
			}
		})
	}
}

// Who has no token is told where it comes from.
func TestRefusalByTheAdminListenerSaysWhatToDo(t *testing.T) {
	for status, want := range map[int]bool{401: true, 403: false, 404: false} {
		address := answering(t, status, `{"message":"no","reason":"why"}`)
		var stdout, stderr bytes.Buffer
		if got := Main([]string{"status", "-admin", address}, &stdout, &stderr); got != 1 {
			t.Errorf("%d: got %d", status, got)
		}
		if strings.Contains(stderr.String(), "LICTOR_ADMIN_TOKEN") != want {
			t.Errorf("%d: got %q", status, &stderr)
		}
	}
}
