package echo

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatsTheRequest(t *testing.T) {
	r := httptest.NewRequest("PUT", "http://example.org/a/../b//c?q=%20<", strings.NewReader("hello"))
	r.Header.Add("X-One", "1")
	r.Header.Add("X-One", "2")
	w := httptest.NewRecorder()
	Handler("echo-1").ServeHTTP(w, r)
	var got answer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Instance != "echo-1" || got.Method != "PUT" || got.Host != "example.org" ||
		!strings.HasSuffix(got.Path, "/a/../b//c?q=%20<") || got.Body != "hello" || got.Headers["X-One"] != "1, 2" {
		t.Errorf("got %+v", got)
	}
}

func TestSlowAnswersLate(t *testing.T) {
	tests := []struct {
		name, query string
		gone        time.Duration // when the client leaves, 0 = never
		after       time.Duration
		body        bool
	}{
		{"one second by itself", "", 0, time.Second, true},
		{"as long as asked", "?seconds=7", 0, 7 * time.Second, true},
		{"a minute at most", "?seconds=7000", 0, time.Minute, true},
		{"not after the client left", "?seconds=7", 2 * time.Second, 2 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.gone > 0 {
					time.AfterFunc(tt.gone, cancel)
				}
				began, w := time.Now(), httptest.NewRecorder()
				Handler("e").ServeHTTP(w, httptest.NewRequest("GET", "/slow"+tt.query, nil).WithContext(ctx))
				if got := time.Since(began); got != tt.after || (w.Body.Len() > 0) != tt.body {
					t.Errorf("got %d bytes after %s, want %v after %s", w.Body.Len(), got, tt.body, tt.after)
				}
			})
		})
	}
}

func TestStreamSendsEachEventAtOnce(t *testing.T) {
	server := httptest.NewServer(Handler("echo-2"))
	defer server.Close()
	began := time.Now()
	resp, err := http.Get(server.URL + "/stream?events=2")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != "id: 1" || time.Since(began) > 900*time.Millisecond {
		t.Errorf("first line %q after %s, want it at once", lines.Text(), time.Since(began))
	}
	var rest strings.Builder
	for lines.Scan() {
		rest.WriteString(lines.Text() + "|")
	}
	if got := rest.String(); !strings.Contains(got, "data: echo-2 at ") || !strings.Contains(got, "|id: 2|") {
		t.Errorf("got %q", got)
	}
}
