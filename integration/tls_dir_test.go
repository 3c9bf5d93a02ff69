//go:build integration

package integration_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lictor/app/listener/certtest"
)

// TestADirectoryOfCertificatesUnderTraffic (P8): a pair is renewed and spoiled,
// others come and go, while clients of each name ask.
func TestADirectoryOfCertificatesUnderTraffic(t *testing.T) {
	together(t)
	backend, ca, dir := startBackend(t, "one"), certtest.NewCA(t), t.TempDir()
	put := func(stem string, names ...string) {
		cert, key := certtest.Write(t, t.TempDir(), stem, ca.Issue(t, names...))
		for from, to := range map[string]string{key: stem + ".key", cert: stem + ".crt"} {
			if err := os.Rename(from, filepath.Join(dir, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("a", "first", "a.test")
	put("b", "b.test", "b.test")
	gw := startLictor(t, lictorConfig{
		Gateway: fmt.Sprintf("  tls {\n    cert_dir = %q\n  }\n", dir),
		Rest:    staticConfig("svc", "http://"+backend.Addr),
	})
	gw.Ready(t)

	var wg sync.WaitGroup
	var answers atomic.Int64
	quit := make(chan struct{})
	for _, name := range []string{"a.test", "b.test"} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: name}, DisableKeepAlives: true}
		client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
		wg.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				if err := askOnce(client, "https://"+gw.Gateway+"/svc/"); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				answers.Add(1)
			}
		})
	}
	shows := func(server, want string) {
		t.Helper()
		eventually(t, soon, server+" shows "+want, func() error {
			c, err := tls.Dial("tcp", gw.Gateway, &tls.Config{ServerName: server, RootCAs: ca.Pool(), InsecureSkipVerify: true})
			if err != nil {
				return err
			}
			defer c.Close()
			if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
				return errors.New(got)
			}
			return nil
		})
	}
	put("a", "second", "a.test")
	shows("a.test", "second")
	if err := os.WriteFile(filepath.Join(dir, "a.key"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	put("c", "c.test", "*.c.test")
	shows("x.c.test", "c.test")
	tells(t, gw, "gateway: tls: certificate", "a.crt", "tls: failed to find any PEM data in key input")
	if err := gw.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	put("a", "third", "a.test")
	shows("a.test", "third")
	for _, name := range []string{"c.crt", "c.key"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	shows("x.c.test", "third")
	enough(t, &answers, 20)
	close(quit)
	wg.Wait()
}
