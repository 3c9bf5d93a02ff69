//go:build integration

package integration_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// manager plays systemd: it holds the socket of the gateway and hears what
// lictor says.
type manager struct {
	t      *testing.T
	bin    string
	config string
	socket *os.File
	more   []*os.File // further ones
	names  string     // of all, as FileDescriptorName= has them
	said   *net.UnixConn
	path   string
	output lockedBuffer
}

// start starts lictor with the socket, as systemd does, and waits until it is ready.
func (m *manager) start() *exec.Cmd {
	m.t.Helper()
	// LISTEN_PID must be the process's own.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" run -config "$1"`, m.bin, m.config)
	cmd.ExtraFiles = append([]*os.File{m.socket}, m.more...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(cmd.ExtraFiles)), "LISTEN_FDNAMES="+m.names, "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=200000")
	cmd.Stdout, cmd.Stderr = &m.output, &m.output
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.hear("READY=1")
	return cmd
}

// hear waits until lictor says what begins with want.
func (m *manager) hear(want string) {
	m.t.Helper()
	m.said.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 1000)
	for {
		n, err := m.said.Read(buf)
		if err != nil {
			m.t.Fatalf("waiting for %s: %v", want, err)
		}
		if strings.HasPrefix(string(buf[:n]), want) {
			return
		}
	}
}

// TestSystemd starts lictor with a socket that systemd holds, reloads it, and
// restarts it under load: no connection is refused, and no request is lost.
func TestSystemd(t *testing.T) {
	together(t)
	bin, err := lictorBinary()
	if err != nil {
		t.Fatal(err)
	}
	backend := startBackend(t, "one")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	dir := t.TempDir()
	m := &manager{t: t, bin: bin, config: filepath.Join(dir, "lictor.hcl"), socket: socket, names: "lictor.socket", path: filepath.Join(dir, "notify")}
	if m.said, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	defer m.said.Close()
	text := fmt.Sprintf("data_dir = \"\"\nadmin {\n  address = \"127.0.0.1:%d\"\n}\n", freePort(t)) + staticConfig("svc", backend.URL)
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("lictor said:\n%s", m.output.String())
		}
	})

	cmd := m.start()
	defer func() { cmd.Process.Kill(); cmd.Wait() }() // it has ended, unless the test failed
	m.hear("WATCHDOG=1")
	cmd.Process.Signal(syscall.SIGHUP)
	m.hear("RELOADING=1\nMONOTONIC_USEC=")
	m.hear("READY=1")

	var wg sync.WaitGroup
	var answers atomic.Int64
	quit := make(chan struct{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				if err := askOnce(client, "http://"+l.Addr().String()+"/svc/"); err != nil {
					t.Error(err)
				}
				answers.Add(1)
			}
		})
	}
	for range 2 {
		before := answers.Load()
		eventually(t, soon, "requests are answered", func() error {
			if answers.Load() < before+20 {
				return io.ErrNoProgress
			}
			return nil
		})
		cmd.Process.Signal(syscall.SIGTERM)
		m.hear("STOPPING=1")
		if err := cmd.Wait(); err != nil {
			t.Errorf("lictor ended: %v", err)
		}
		cmd = m.start()
	}
	close(quit)
	wg.Wait()
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("lictor ended: %v", err)
	}
}
