package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lictor/admin/api"
)

func TestExitStatus(t *testing.T) { // contract 1
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.hcl", "gateway {\n}\n")
	wrong := write("wrong.hcl", "gateway {\n  timeout = \"soon\"\n}\nnonsense {\n}\n")
	twice := write("twice.hcl", "resolver \"static\" {\n  services = { a = [\"http://h\", \"http://h:80\"] }\n}\n")
	tests := []struct {
		name   string
		args   []string
		status int
		stdout string // is in it
		stderr string
	}{
		{"no command", nil, 2, "", "Available commands"},
		{"an unknown command", []string{"serve"}, 2, "", "Available commands"},
		{"help", []string{"-h"}, 0, "Available commands", ""},
		{"help of a command", []string{"run", "--help"}, 0, "-config path", ""},
		{"version", []string{"version"}, 0, "lictor dev (commit unknown, go1.", ""},
		{"an unknown flag", []string{"validate", "-nonsense"}, 2, "", "not defined: -nonsense"},
		{"an argument too many", []string{"version", "now"}, 2, "", `unexpected argument "now"`},
		{"a good configuration", []string{"validate", "-config", good}, 0, "valid", ""},
		{"two dashes are as good as one", []string{"validate", "--config=" + good}, 0, "valid", ""},
		{"all mistakes of a bad one", []string{"validate", "-config", good, "-config", wrong}, 2, "", wrong + ":2,13-19: gateway: timeout"},
		{"as above, the second", []string{"validate", "-config", wrong}, 2, "", wrong + ":4,1-9: unsupported block type"},
		{"what only the resolver can tell", []string{"validate", "-config", twice}, 2, "", "is there twice"},
		{"no configuration", []string{"validate"}, 2, "", "-config"},
		{"a missing file", []string{"run", "-config", dir + "/none"}, 2, "", "none: no such file"},
		{"run without anything", []string{"run"}, 2, "", "-config"},
		{"run with both", []string{"run", "-dev", "-config", good}, 2, "", "-dev takes no -config"},
		{"a development flag elsewhere", []string{"run", "-config", good, "-admin-address", "a:1"}, 2, "", "go with -dev"},
		{"nobody there to ask", []string{"status", "-admin", "127.0.0.1:1"}, 1, "", "refused"},
		{"no address to ask at", []string{"status", "-admin", "http://%"}, 2, "", "parse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if got := Main(tt.args, &stdout, &stderr); got != tt.status {
				t.Errorf("status: got %d, want %d", got, tt.status)
			}
			for _, out := range []struct{ name, got, want string }{
				{"stdout", stdout.String(), tt.stdout}, {"stderr", stderr.String(), tt.stderr},
			} {
				if !strings.Contains(out.got, out.want) || out.want == "" && out.got != "" {
					t.Errorf("%s: got %q, want %q", out.name, out.got, out.want)
				}
			}
		})
	}
}

func TestStatusForPeople(t *testing.T) {
	age, since := 75.0, time.Now().Add(-62*time.Minute)
	st := &api.Status{
		Version: "v1", Commit: "abc", Go: "go1.26", UptimeSeconds: 3700,
		NotReady:  []string{"resolver: consul has not answered yet"},
		Listeners: []api.Listener{{Name: "gateway", Address: "127.0.0.1:8000"}},
		Certificates: []api.Certificate{
			{Listener: "gateway", Name: "shop.example", Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Days: 17},
		},
		Resolvers: []api.ResolverStatus{{Kind: "consul", Services: 3, Watches: 2, AgeSeconds: &age, Ready: true, Snapshot: true, Mesh: 4}},
		Services: []api.ServiceStatus{
			{Name: "cart", Resolver: "consul"},
			{Name: "none", Resolver: "consul", Loaded: true},
			{Name: "shop", Resolver: "consul", Loaded: true, Instances: []api.InstanceStatus{
				{ID: "n/shop-1", Address: "10.0.0.1:80", State: "critical", Weight: 1, Note: "disk\n\x1b[31mfull", Since: &since, InFlight: 7, P50MS: 4.2, P99MS: 1300},
			}},
		},
		Problems: []string{"resolver consul: connection refused"},
	}
	const want = `lictor v1 (commit abc, go1.26), up 1h1m40s, NOT READY: resolver: consul has not answered yet

LISTENER  ADDRESS
gateway   127.0.0.1:8000

CERTIFICATE   LISTENER  EXPIRES               DAYS
shop.example  gateway   2026-12-01T00:00:00Z  17

RESOLVER  SERVICES  WATCHES  AGE    STATE
consul    3         2        1m15s  from the last-good file, 4 more are of the mesh

SERVICE  RESOLVER  INSTANCE  ADDRESS      STATE              FOR     WEIGHT  IN FLIGHT  P50    P99   NOTE
cart     consul    -         -            not asked for yet
none     consul    -         -            no instance
shop     consul    n/shop-1  10.0.0.1:80  critical           1h2m0s  1       7          4.2ms  1.3s  disk  [31mfull

PROBLEMS
resolver consul: connection refused
`
	var out strings.Builder
	if err := printStatus(&out, st); err != nil {
		t.Fatal(err)
	}
	var trimmed strings.Builder
	for line := range strings.Lines(out.String()) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got := trimmed.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
