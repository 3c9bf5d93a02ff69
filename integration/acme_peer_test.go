//go:build integration

package integration_test

import (
	"crypto/tls"
	"crypto/x509"
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
	"testing"

	"lictor/app/listener/certtest"
)

// authority is a pebble: an ACME server that looks at challenges as the big ones do.
type authority struct {
	*testing.T
	directory string // URL
	roots     string // URL of who signs certificates
	caFile    string // whose certificate the directory shows
	config    string
	cas       *x509.CertPool
	dns       string
	cmd       *exec.Cmd
	output    lockedBuffer
	HTTP, TLS *balancer // where it looks for challenges
}

// startAuthority runs a pebble whose certificates hold for so many seconds.
func startAuthority(t *testing.T, seconds int) *authority {
	t.Helper()
	a := &authority{T: t, HTTP: startBalancer(t), TLS: startBalancer(t)}
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := certtest.Write(t, dir, "pebble", ca.Issue(t, "127.0.0.1"))
	a.caFile, a.cas = ca.WriteCA(t, dir), ca.Pool()
	at, management, dns := freePort(t), freePort(t), freePort(t)
	a.directory, a.roots = fmt.Sprintf("https://127.0.0.1:%d/dir", at), fmt.Sprintf("https://127.0.0.1:%d/roots/0", management)
	a.dns, a.config = fmt.Sprintf("127.0.0.1:%d", dns), filepath.Join(dir, "pebble.json")
	text := fmt.Sprintf(`{"pebble": {"listenAddress": "127.0.0.1:%d", "managementListenAddress": "127.0.0.1:%d", "certificate": %q, "privateKey": %q,
		"httpPort": %d, "tlsPort": %d, "retryAfter": {"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
		"profiles": {"default": {"description": "x", "validityPeriod": %d}}}}`, at, management, cert, key, a.HTTP.port, a.TLS.port, seconds)
	if err := os.WriteFile(a.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	names := exec.Command(tool(t, "pebble", "pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
		"-dnsserver", a.dns, "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	names.Stdout, names.Stderr = &a.output, &a.output
	if err := names.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		names.Process.Kill()
		names.Wait()
		if t.Failed() {
			t.Logf("pebble said:\n%s", a.output.String())
		}
	})
	a.start()
	t.Cleanup(a.stop)
	return a
}

func (a *authority) start() {
	a.Helper()
	a.cmd = exec.Command(tool(a.T, "pebble", "pebble"), "-config", a.config, "-dnsserver", a.dns)
	a.cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	a.cmd.Stdout, a.cmd.Stderr = &a.output, &a.output
	if err := a.cmd.Start(); err != nil {
		a.Fatal(err)
	}
	eventually(a.T, soon, "pebble answers", func() error { _, err := a.get(a.directory); return err })
}

func (a *authority) stop() {
	a.cmd.Process.Kill()
	a.cmd.Wait()
}

func (a *authority) get(url string) ([]byte, error) {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.cas}}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: soon}).Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// pool is who signs its certificates, since its last start.
func (a *authority) pool() *x509.CertPool {
	a.Helper()
	pem, err := a.get(a.roots)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		a.Fatalf("no root: %v, %s", err, pem)
	}
	return pool
}

// orders is how many it was asked for, a nonce that it refused not counted twice.
func (a *authority) orders() int { return strings.Count(a.output.String(), "Added order ") }

// balancer passes connections on to one server after another.
type balancer struct {
	port    int
	next    atomic.Uint64
	mu      sync.Mutex
	servers []string
}

func startBalancer(t *testing.T) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &balancer{port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.pass(c)
		}
	}()
	return b
}

func (b *balancer) add(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers = append(b.servers, server)
}

func (b *balancer) pass(c net.Conn) {
	defer c.Close()
	b.mu.Lock()
	if len(b.servers) == 0 {
		b.mu.Unlock()
		return
	}
	server := b.servers[b.next.Add(1)%uint64(len(b.servers))]
	b.mu.Unlock()
	s, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		io.Copy(s, c)
		s.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(c, s)
}
