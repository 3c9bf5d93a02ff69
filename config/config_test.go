package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-multierror"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// clean takes away what consul/api would read of the environment.
func clean(t testing.TB) {
	for _, name := range []string{"ADDR", "TOKEN", "SSL", "AUTH", "SSL_VERIFY"} {
		t.Setenv("CONSUL_HTTP_"+name, "")
	}
}

// TestGolden loads every file and directory of testdata: what comes out, a
// configuration or all its mistakes (X15), stands beside it in NAME.golden.
func TestGolden(t *testing.T) {
	clean(t)
	t.Setenv("TOKEN", "hush")
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".hcl")
		if e.Name() == "fuzz" || !e.IsDir() && name == e.Name() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			golden(t, "testdata/"+name+".golden", load("testdata/"+e.Name()))
		})
	}
}

// load returns the mistakes in a configuration, or what of it is not as by
// default, so that a new block does not change what is known of the others.
func load(paths ...string) string {
	cfg, err := Load(paths...)
	if err != nil {
		return err.Error() + "\n"
	}
	got, usual := reflect.ValueOf(*cfg), reflect.ValueOf(*Default())
	var out strings.Builder
	for i := range got.NumField() {
		if one := got.Field(i).Interface(); !reflect.DeepEqual(one, usual.Field(i).Interface()) {
			text, _ := json.MarshalIndent(one, "", "  ")
			fmt.Fprintf(&out, "%s: %s\n", got.Type().Field(i).Name, nulls.ReplaceAllString(string(text), ""))
		}
	}
	return out.String()
}

// nulls are the fields of a Resolver that are not set.
var nulls = regexp.MustCompile(`\n *"[A-Za-z]+": null,?`)

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
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

func TestSeveralPathsAreOneConfiguration(t *testing.T) {
	clean(t)
	t.Run("different blocks come together", func(t *testing.T) {
		cfg, err := Load("testdata/merge/10-gateway.hcl", "testdata/merge/20-log.hcl")
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Gateway.Address != "127.0.0.1:9000" || len(cfg.Resolvers) != 1 {
			t.Errorf("got %+v", cfg)
		}
	})
	t.Run("missing files are reported together", func(t *testing.T) {
		_, err := Load("testdata/nothing-1", "testdata/nothing-2")
		if all, ok := errors.AsType[*multierror.Error](err); !ok || len(all.Errors) != 2 {
			t.Errorf("got %v, want two problems", err)
		}
	})
}

func TestConsulEnvironment(t *testing.T) {
	clean(t)
	t.Setenv("CONSUL_HTTP_ADDR", "10.0.0.9:8500")
	t.Setenv("CONSUL_HTTP_TOKEN", "from-env")
	tests := []struct{ name, file, address, token string }{
		{"counts without a block", ``, "10.0.0.9:8500", "from-env"},
		{"counts where the block is silent", `consul {}`, "10.0.0.9:8500", "from-env"},
		{"counts where the block says nothing in words", `consul { token = "" }`, "10.0.0.9:8500", "from-env"},
		{"gives way to the file", "consul {\n address = \"a:1\"\n token = \"t\"\n}", "a:1", "t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := Parse(OS(), File{Name: "a.hcl", Text: []byte(tt.file)})
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Consul; got.Address != tt.address || got.Token.Reveal() != tt.token {
				t.Errorf("got %q %q, want %q %q", got.Address, got.Token, tt.address, tt.token)
			}
		})
	}
}

func TestAdminNeedsATokenBeyondLoopback(t *testing.T) { // X8
	tests := []struct {
		name, address, token string
		fine                 bool
	}{
		{"IPv4 loopback", "127.0.0.1:8001", "", true},
		{"all of 127/8", "127.8.9.10:8001", "", true},
		{"IPv6 loopback", "[::1]:8001", "", true},
		{"localhost", "localhost:8001", "", true},
		{"every address", ":8001", "", false},
		{"every address, in numbers", "0.0.0.0:8001", "", false},
		{"a name that begins like localhost", "localhost.example.org:8001", "", false},
		{"a public address", "192.0.2.1:8001", "", false},
		{"a public address with a token", "192.0.2.1:8001", "secret", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := "admin {\n address = \"" + tt.address + "\"\n token = \"" + tt.token + "\"\n}"
			_, err := Parse(OS(), File{Name: "a.hcl", Text: []byte(file)})
			if tt.fine && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if !tt.fine && (err == nil || !strings.HasPrefix(err.Error(), "a.hcl:2,12-")) {
				t.Errorf("got %v, want an error at the address", err)
			}
		})
	}
}

// FuzzParse checks that whatever is accepted is safe to run with, and that
// whatever is refused says where.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.hcl")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	env := Env{
		Lookup:   func(name string) (string, bool) { return name, name != "NOT_SET" },
		ReadFile: func(string) ([]byte, error) { return []byte("text\n"), nil },
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := Parse(env, File{Name: "f.hcl", Text: text})
		if err != nil {
			checkProblems(t, err)
			return
		}
		if !cfg.Admin.Guarded() && !IsLoopback(cfg.Admin.Address) {
			t.Errorf("admin is open to all at %q", cfg.Admin.Address)
		}
		g := cfg.Gateway
		for name, d := range map[string]time.Duration{
			"timeout": g.Timeout, "idle_timeout": g.IdleTimeout, "header_timeout": g.HeaderTimeout,
			"stream_idle": g.StreamIdle, "drain": g.Drain + 1, "connect_timeout": cfg.HTTP.ConnectTimeout,
		} {
			if d <= 0 {
				t.Errorf("%s is %s", name, d)
			}
		}
		if g.MaxBody < 0 || g.MaxHeaderBytes < 1<<10 {
			t.Errorf("sizes are %d and %d", g.MaxBody, g.MaxHeaderBytes)
		}
	})
}

func checkProblems(t *testing.T, err error) {
	t.Helper()
	all, ok := errors.AsType[*multierror.Error](err)
	if !ok || len(all.Errors) == 0 {
		t.Fatalf("got %T %v, want problems", err, err)
	}
	for _, one := range all.Errors {
		p, ok := errors.AsType[*Problem](one)
		if !ok || p.At.Filename != "f.hcl" || p.At.Start.Line < 1 || p.Text == "" {
			t.Errorf("problem without a place: %#v", one)
		}
	}
}
