package tokens

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func readAll(t *testing.T, dir string) (all string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	return all
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Keys come from where the operator said, and from nowhere else.
func TestFetchesGoNowhereElse(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere++
		w.Write([]byte(jwks(newSigner("a"))))
	}))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/long":
			w.Write(make([]byte, maxAnswer+1))
		default:
			w.Write([]byte(jwks(newSigner("a"))))
		}
	}))
	defer server.Close()
	refuse := errors.New("it is our own infrastructure")
	for _, tt := range []struct {
		name, url string
		control   func(string, string, syscall.RawConn) error
		want      string
	}{
		{"a good answer", server.URL, nil, ""},
		{"a redirect to elsewhere", server.URL + "/away", nil, "redirects are not followed"},
		{"a redirect to the same place", server.URL + "/round", nil, "redirects are not followed"},
		{"an answer that is too long", server.URL + "/long", nil, "more than"},
		{"lictor's own infrastructure", server.URL, func(string, string, syscall.RawConn) error { return refuse }, refuse.Error()},
		{"plain text to another machine", "http://192.0.2.1/", nil, "not on this machine"},
		{"a certificate that nobody vouches for", strings.Replace(httptestTLS(t), "127.0.0.1", "localhost", 1), nil, "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFetcher(tt.control)
			defer f.close()
			_, err := f.fetch(context.Background(), tt.url)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if elsewhere != 0 {
		t.Errorf("%d requests came where none was sent", elsewhere)
	}
}

func httptestTLS(t *testing.T) string {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // the client hangs up
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}
