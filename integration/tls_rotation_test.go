//go:build integration

package integration_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lictor/app/listener/certtest"
)

// TestCertificateRotationLosesNoRequest replaces the certificate again and
// again while clients of both versions ask on kept and on new connections.
func TestCertificateRotationLosesNoRequest(t *testing.T) {
	together(t)
	backend := startBackend(t, "one")
	ca := certtest.NewCA(t)
	block, dir := tlsConfig(t, ca)
	gw := startLictor(t, lictorConfig{Gateway: block, Rest: staticConfig("svc", "http://"+backend.Addr)})
	gw.Ready(t)

	var wg sync.WaitGroup
	var answers atomic.Int64
	quit := make(chan struct{})
	for i := range 4 {
		tr := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ForceAttemptHTTP2: i%2 == 0, DisableKeepAlives: i/2 == 0,
		}
		client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
		wg.Go(func() {
			defer tr.CloseIdleConnections()
			for {
				select {
				case <-quit:
					return
				default:
				}
				if err := askOnce(client, "https://"+gw.Gateway+"/svc/"); err != nil {
					t.Error(err)
				}
				answers.Add(1)
			}
		})
	}
	serial := ""
	for range 3 {
		certtest.Write(t, dir, "site", ca.Issue(t, "localhost", "127.0.0.1"))
		eventually(t, soon, "the new certificate is shown", func() error {
			c, err := tls.Dial("tcp", gw.Gateway, &tls.Config{RootCAs: ca.Pool()})
			if err != nil {
				return err
			}
			defer c.Close()
			if now := c.ConnectionState().PeerCertificates[0].SerialNumber.String(); now != serial {
				serial = now
				return nil
			}
			return io.ErrNoProgress
		})
	}
	enough(t, &answers, 50)
	close(quit)
	wg.Wait()
}

// enough waits until so many requests are, without which a test has shown nothing.
func enough(t *testing.T, answers *atomic.Int64, most int64) {
	t.Helper()
	eventually(t, time.Minute, "enough requests are answered", func() error {
		if n := answers.Load(); n < most {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

func askOnce(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
