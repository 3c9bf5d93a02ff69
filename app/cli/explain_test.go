package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lictor/admin/api"
	"lictor/policy"
)

var update = flag.Bool("update", false, "write what comes out to the golden files")

// golden compares what came out with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestExplanationForPeople(t *testing.T) { // contract 1
	files, err := filepath.Glob("testdata/explain/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var e api.Explanation
			if err := json.Unmarshal(text, &e); err != nil {
				t.Fatal(err)
			}
			var out, trimmed strings.Builder
			if err := printExplanation(&out, "GET", &e); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
			}
			golden(t, strings.TrimSuffix(file, ".json")+".txt", trimmed.String())
		})
	}
}

func TestExplainAsks(t *testing.T) {
	var asked map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.URL.Path != "/explain" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("got %s %s %v", r.Method, r.URL, r.Header)
		}
		asked = nil
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		http.ServeFile(w, r, "testdata/explain/allowed.json")
	}))
	defer server.Close()
	tests := []struct {
		name   string
		args   []string
		want   string // the question
		status int
		out    string
	}{
		{"only a path", []string{"/svc/x"}, `{"method":"GET","url":"/svc/x"}`, 0, "ALLOWED"},
		{
			"everything, flags behind the URL too", []string{"-X", "POST", "-H", "A: 1", "/svc/x", "-H", "A:2", "-from", "10.0.0.1", "-egress"},
			`{"egress":true,"from":"10.0.0.1","headers":{"A":["1","2"]},"method":"POST","url":"/svc/x"}`, 0, "node/svc-2",
		},
		{"as a consumer", []string{"/svc/x", "-consumer", "ann"}, `{"consumer":"ann","method":"GET","url":"/svc/x"}`, 0, "ALLOWED"},
		{"as JSON", []string{"-json", "/svc/x"}, `{"method":"GET","url":"/svc/x"}`, 0, `"allowed": true`},
		{"no URL", nil, "null", 2, "want a URL"},
		{"two URLs", []string{"/a", "/b"}, "null", 2, `unexpected argument "/b"`},
		{"a header that is none", []string{"-H", "nonsense", "/a"}, "null", 2, "Name: value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked = nil
			var out bytes.Buffer
			args := append([]string{"explain", "-admin", server.URL, "-token", "secret"}, tt.args...)
			if got := Main(args, &out, &out); got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
			if got, _ := json.Marshal(asked); string(got) != tt.want {
				t.Errorf("asked %s, want %s", got, tt.want)
			}
			if !strings.Contains(out.String(), tt.out) {
				t.Errorf("got %s, want %s", out.String(), tt.out)
			}
		})
	}
}

func TestPolicyStatusForPeople(t *testing.T) { // contract 1
	age := 3.0
	for _, c := range []struct {
		name string
		p    api.PolicyStatus
		want string
	}{
		{"all is well", api.PolicyStatus{Live: true, AgeSeconds: &age}, "3f2a94d1c0ff  812    consul  7        1         3s   ok\n"},
		{"the store is away", api.PolicyStatus{AgeSeconds: &age}, "failing, last good policy kept\n"},
		{"it was never there", api.PolicyStatus{LastGood: true}, "-    from the last-good files"},
		{"objects are held", api.PolicyStatus{Live: true, Held: 2}, "2 objects held"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.p.Hash, c.p.Index, c.p.Store, c.p.Objects, c.p.Rejected = "3f2a94d1c0ffee00", 812, "consul", 7, []*policy.Rejection{{}}
			var out strings.Builder
			if err := printStatus(&out, &api.Status{Policy: &c.p}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("got\n%s\nwant %s", out.String(), c.want)
			}
		})
	}
}
