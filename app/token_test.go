package app

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// K5: the admin token changes on SIGHUP, from a file that somebody else writes as
// well. A reload that would take it away needs a restart: it opens nothing.
func TestAdminTokenIsReloaded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	p := builtWith(t, "", "  token = file(\""+file+"\")")
	status := func(token string) int {
		r := httptest.NewRequest(http.MethodGet, "/status", http.NoBody)
		r.Header.Set("X-Admin-Token", token)
		w := httptest.NewRecorder()
		p.admin.ServeHTTP(w, r)
		return w.Code
	}
	if first, none := status("first"), status(""); first != 200 || none != 401 {
		t.Fatalf("got %d with the token, %d without", first, none)
	}
	write("second")
	p.reload()
	if first, second := status("first"), status("second"); first != 403 || second != 200 {
		t.Errorf("after a reload: got %d with the former token, %d with the new one", first, second)
	}
	write("")
	p.reload()
	if second, none := status("second"), status(""); second != 200 || none != 401 {
		t.Errorf("after a reload without a token: got %d with the token, %d without", second, none)
	}
}
