//go:build integration

package integration_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// activated is a lictor whose admin socket was opened by somebody else.
func activated(t *testing.T, socket interface{ File() (*os.File, error) }, admin string) *exec.Cmd {
	t.Helper()
	bin, err := lictorBinary()
	if err != nil {
		t.Fatal(err)
	}
	file, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	config := filepath.Join(t.TempDir(), "config.hcl")
	text := fmt.Sprintf("data_dir = \"\"\ngateway {\n  address = \"127.0.0.1:%d\"\n}\nadmin {\n  address = \"127.0.0.1:%d\"\n%s\n}\npolicy {\n  store = \"memory\"\n}\n",
		freePort(t), freePort(t), admin)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// LISTEN_PID must be the process's own.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" run -config "$1"`, bin, config)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=admin", "LICTOR_ADMIN_TOKEN=")
	return cmd
}

// TestATokenlessAdminIsLocalWhoeverOpenedItsSocket starts lictor on sockets
// that systemd might pass.
func TestATokenlessAdminIsLocalWhoeverOpenedItsSocket(t *testing.T) {
	together(t)
	for _, tt := range []struct {
		name, network, address, admin string
		starts                        bool
	}{
		{"all interfaces", "tcp4", "0.0.0.0:0", "", false},
		{"all interfaces by IPv6", "tcp", "[::]:0", "", false},
		{"all interfaces, with a token", "tcp4", "0.0.0.0:0", `token = "secret"`, true},
		{"loopback", "tcp", "127.0.0.1:0", "", true},
		{"a unix socket", "unix", "admin.sock", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.network == "unix" {
				tt.address = filepath.Join(t.TempDir(), tt.address)
			}
			l, err := net.Listen(tt.network, tt.address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			cmd := activated(t, l.(interface{ File() (*os.File, error) }), tt.admin)
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			if !tt.starts {
				select {
				case err := <-ended:
					if err == nil || !strings.Contains(said.String(), l.Addr().String()) || !strings.Contains(said.String(), "token") {
						t.Errorf("got %v and %s, want a refusal that names the socket", err, said.String())
					}
				case <-time.After(20 * time.Second):
					_ = cmd.Process.Kill() // it may be gone already
					<-ended
					t.Error("it serves the admin API to other machines without a token")
				}
				return
			}
			defer func() {
				_ = cmd.Process.Kill() // it may be gone already
				<-ended
			}()
			eventually(t, soon, "it answers", func() error {
				c, err := net.Dial(l.Addr().Network(), l.Addr().String())
				if err != nil {
					return err
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				fmt.Fprint(c, "GET /status HTTP/1.1\r\nHost: localhost\r\nX-Admin-Token: secret\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err == nil && resp.StatusCode != 200 {
					err = fmt.Errorf("got %s", resp.Status)
				}
				return err
			})
		})
	}
}

// TestNothingIsAnsweredWithoutTheToken asks for the server as a whole.
func TestNothingIsAnsweredWithoutTheToken(t *testing.T) {
	together(t)
	p := startLictor(t, lictorConfig{Admin: `token = "secret"`})
	for token, want := range map[string]int{"": 401, "X-Admin-Token: secret\r\n": 404} {
		c, err := net.Dial("tcp", p.Admin)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "OPTIONS * HTTP/1.1\r\nHost: x\r\n%s\r\n", token)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("OPTIONS * with %q: got %d, want %d", token, resp.StatusCode, want)
		}
	}
	eventually(t, soon, "it is logged", func() error {
		if n := strings.Count(p.Log(), "method=OPTIONS"); n != 2 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
}
