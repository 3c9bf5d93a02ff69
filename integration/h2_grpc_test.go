//go:build integration

package integration_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lictor/app/listener/certtest"
)

// interop are the cases of grpc-go's own interoperability client that need no
// credentials, nor a set-up of their own (ORCA, pick_first): unary calls and
// streams of all kinds, deadlines, cancellation, statuses, metadata.
var interop = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
	"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
	"special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
}

// grpcPolicy is a policy by which gRPC paths, which are fixed, lead to address.
func grpcPolicy(t *testing.T, address string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"filters/grpc": `{"name": "grpc", "paths": ["/grpc.testing.TestService", "/grpc.testing.UnimplementedService"]}`,
		"apis/grpc":    fmt.Sprintf(`{"name": "grpc", "filters": ["grpc"], "backends": ["http://%s"]}`, address),
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("policy {\n  store = \"file\"\n  dir = %q\n}\n", dir)
}

// TestGRPCInterop has grpc-go talk to itself through the gateway (D20).
func TestGRPCInterop(t *testing.T) {
	together(t)
	client, server := tool(t, "grpc", "grpc-interop-client"), tool(t, "grpc", "grpc-interop-server")
	backend := freePort(t)
	cmd := exec.Command(server, "-port", fmt.Sprint(backend))
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("the gRPC server said:\n%s", said.String())
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", backend)
	eventually(t, soon, "the gRPC server listens", func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
	ca := certtest.NewCA(t)
	block, dir := tlsConfig(t, ca)
	for _, way := range []struct {
		name, gateway string
		args          []string
	}{
		{"in plain text", "", nil},
		{"by TLS", block, []string{"-use_tls", "-use_test_ca", "-ca_file", ca.WriteCA(t, dir)}},
	} {
		t.Run(way.name, func(t *testing.T) {
			gw := startLictor(t, lictorConfig{Gateway: way.gateway, Rest: grpcPolicy(t, address)})
			gw.Ready(t)
			_, port, _ := net.SplitHostPort(gw.Gateway)
			for _, name := range interop {
				t.Run(name, func(t *testing.T) {
					args := append([]string{"-server_host", "localhost", "-server_port", port, "-test_case", name}, way.args...)
					if out, err := run(t, time.Minute, client, args...); err != nil {
						t.Errorf("%v\n%.2000s", err, out)
					}
				})
			}
		})
	}
}

// TestGRPCRefusals: grpc-go understands a refusal of lictor's own as a status.
func TestGRPCRefusals(t *testing.T) {
	together(t)
	client := tool(t, "grpc", "grpc-interop-client")
	gw := startLictor(t, lictorConfig{Rest: staticConfig("other", "http://127.0.0.1:1")})
	gw.Ready(t)
	_, port, _ := net.SplitHostPort(gw.Gateway)
	out, err := run(t, time.Minute, client, "-server_host", "localhost", "-server_port", port, "-test_case", "empty_unary")
	if err == nil || !strings.Contains(out, "code = Unavailable desc = Unknown service") {
		t.Errorf("got %v\n%.2000s", err, out)
	}
}
