//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lictor/app/listener/certtest"
)

// tool returns the path of a program that make builds into dir, or that PATH has.
func tool(t *testing.T, dir, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := filepath.Abs(filepath.Join(dir, "bin", name))
	if err == nil {
		_, err = exec.LookPath(path)
	}
	if err != nil {
		t.Fatalf("%v; make builds it", err)
	}
	return path
}

// run runs a program to its end and returns what it said.
func run(t *testing.T, limit time.Duration, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return string(out), err
}

// tlsConfig is the block tls of a gateway, with a certificate for localhost.
func tlsConfig(t *testing.T, ca *certtest.CA) (block, dir string) {
	t.Helper()
	dir = t.TempDir()
	cert, key := certtest.Write(t, dir, "site", ca.Issue(t, "localhost", "127.0.0.1"))
	return fmt.Sprintf("  tls {\n    cert_file = %q\n    key_file = %q\n  }\n", cert, key), dir
}

// preface is the one case that cannot pass where the same port speaks
// HTTP/1.1: what is not the preface of HTTP/2 is answered by that, with a 400,
// before the connection ends.
var preface = regexp.MustCompile(`(?s)3\.5\. HTTP/2 Connection Preface\s+(✔ )?.*?2: Sends invalid connection preface`)

// TestH2Spec runs h2spec against the gateway, by TLS and in plain text.
func TestH2Spec(t *testing.T) {
	together(t)
	h2spec := tool(t, "h2spec", "h2spec")
	backend := startBackend(t, "one")
	block, _ := tlsConfig(t, certtest.NewCA(t))
	tests := []struct {
		name, gateway string
		args          []string
		failures      int
	}{
		{"by TLS", block, []string{"-t", "-k"}, 0},
		{"in plain text", "", nil, 1}, // preface
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gw := startLictor(t, lictorConfig{Gateway: tt.gateway, Rest: staticConfig("svc", "http://"+backend.Addr)})
			_, port, _ := net.SplitHostPort(gw.Gateway)
			args := append([]string{"generic", "http2", "hpack", "-h", "127.0.0.1", "-p", port, "-P", "/svc/", "-o", "5"}, tt.args...)
			out, err := run(t, 4*time.Minute, h2spec, args...)
			if !strings.Contains(out, fmt.Sprintf(" %d failed", tt.failures)) {
				t.Errorf("h2spec: %v\n%s", err, out)
			}
			if tt.failures == 1 && !preface.MatchString(out) {
				t.Errorf("it is not the preface that failed:\n%s", out)
			}
		})
	}
}
