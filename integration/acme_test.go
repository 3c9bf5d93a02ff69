//go:build integration

package integration_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lictor/app/listener/certtest"
)

// acmeBlock is tls { acme } of a lictor whose certificates come from a.
func acmeBlock(a *authority, redirect int, more string) string {
	front := ""
	if redirect > 0 {
		front = fmt.Sprintf("  redirect_address = \"127.0.0.1:%d\"\n", redirect)
	}
	return front + fmt.Sprintf("  tls {\n    acme {\n      directory = %q\n      ca_file = %q\n      email = \"admin@example.com\"\n%s\n    }\n  }\n", a.directory, a.caFile, more)
}

// sealFile is a key that several lictors share.
func sealFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "seal")
	if err := os.WriteFile(file, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// shownFor is the serial number of what a lictor shows for a host.
func shownFor(l *lictorProcess, host string, roots *x509.CertPool) (string, error) {
	c, err := tls.Dial("tcp", l.Gateway, &tls.Config{ServerName: host, RootCAs: roots, InsecureSkipVerify: roots == nil})
	if err != nil {
		return "", err
	}
	defer c.Close()
	cert := c.ConnectionState().PeerCertificates[0]
	if err := cert.VerifyHostname(host); err != nil {
		return "", err
	}
	return cert.SerialNumber.String(), nil
}

// allShow waits until all lictors show the same certificate for a host, another
// than former, and returns it.
func allShow(t *testing.T, all []*lictorProcess, host, former string, roots *x509.CertPool) (serial string) {
	t.Helper()
	eventually(t, 10*soon, "all show a new certificate of "+host, func() error {
		serial = ""
		for _, l := range all {
			got, err := shownFor(l, host, roots)
			if err != nil {
				return err
			}
			if got == former || serial != "" && got != serial {
				return fmt.Errorf("%s shows %s, before it was %s, another shows %s", l.Gateway, got, former, serial)
			}
			serial = got
		}
		return nil
	})
	return serial
}

// kvDump is what lies below a prefix.
func kvDump(t *testing.T, c *consulAgent, prefix string) string {
	t.Helper()
	pairs, _, err := c.Client.KV().List(prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&text, "%s = %s\n", p.Key, p.Value)
	}
	return text.String()
}

// threeLictors share a storage in Consul, and a, which comes by way of a balancer,
// so that any of them answers it. more is of the block acme.
func threeLictors(t *testing.T, a *authority, c *consulAgent, more string) (all []*lictorProcess) {
	t.Helper()
	seal := sealFile(t)
	for range 3 {
		redirect := freePort(t)
		l := newLictor(t, lictorConfig{
			DataDir: t.TempDir(),
			Gateway: acmeBlock(a, redirect, fmt.Sprintf("storage = \"consul\"\nkey_file = %q\nhosts = [\"listed.test\"]\nhost_suffixes = [\"example.com\"]\n%s", seal, more)),
			Rest:    consulConfig(c, `host_suffixes = ["example.com"]`),
		})
		a.HTTP.add(fmt.Sprintf("127.0.0.1:%d", redirect))
		a.TLS.add(l.Gateway)
		all = append(all, l)
	}
	a.stop() // until any of them can be asked for a proof
	var starts sync.WaitGroup
	for _, l := range all {
		starts.Go(func() { l.Start(t) })
	}
	starts.Wait()
	for _, l := range all {
		l.Ready(t)
	}
	a.start()
	return all
}

// TestThreeLictorsOrderACertificateOnce (P8): one of them orders each, all serve it.
func TestThreeLictorsOrderACertificateOnce(t *testing.T) {
	together(t)
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		t.Run(kind, func(t *testing.T) {
			beside(t)
			a, c, backend := startAuthority(t, 3600), startConsul(t), startBackend(t, "one")
			register(t, c, "svc", "svc-1", backend.Addr, hostsMeta("claimed.example.com"))
			kvPut(t, c, "lictor/policy/mappings/mapped.example.com", `{"backends": ["service:svc"]}`)
			kvPut(t, c, "lictor/policy/mappings/mapped.example.org", `{"backends": ["service:svc"]}`)
			all := threeLictors(t, a, c, fmt.Sprintf("challenges = [%q]", kind))
			roots := a.pool()
			for _, host := range []string{"listed.test", "mapped.example.com", "claimed.example.com"} {
				allShow(t, all, host, "", roots)
			}
			if n := a.orders(); n != 3 {
				t.Errorf("%d orders for three certificates", n)
			}
			for _, host := range []string{"mapped.example.org", "invented.example.com"} {
				if _, err := shownFor(all[0], host, roots); err == nil {
					t.Errorf("%s has a certificate", host)
				}
			}
			sealed := kvDump(t, c, "lictor/acme/")
			if strings.Contains(sealed, "PRIVATE KEY") || strings.Contains(sealed, "BEGIN") || len(sealed) < 1000 {
				t.Errorf("what lies in Consul is not sealed:\n%.2000s", sealed)
			}
		})
	}
}

// TestThreeLictorsRenewACertificateOnce (P8): under load, and it is served on while
// the directory is away, which status tells, and by one that starts meanwhile.
func TestThreeLictorsRenewACertificateOnce(t *testing.T) {
	together(t)
	a, c, backend := startAuthority(t, 60), startConsul(t), startBackend(t, "one")
	register(t, c, "svc", "svc-1", backend.Addr)
	all := threeLictors(t, a, c, "")
	roots := a.pool()
	serial := allShow(t, all, "listed.test", "", roots)

	quit, load := make(chan struct{}), sync.WaitGroup{}
	var answers atomic.Int64
	for _, l := range all {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "listed.test"}, DisableKeepAlives: true}
		client := &http.Client{Transport: tr, Timeout: soon}
		load.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				if err := askOnce(client, "https://"+l.Gateway+"/svc/"); err != nil {
					t.Error(err)
				}
				answers.Add(1)
			}
		})
	}
	orders, issued := a.orders(), strings.Count(a.output.String(), "Issued certificate")
	serial = allShow(t, all, "listed.test", serial, roots)
	if n := strings.Count(a.output.String(), "Issued certificate") - issued; n != 1 || a.orders() != orders+1 {
		t.Errorf("%d orders, and %d certificates were issued, while one was renewed once", a.orders()-orders, n)
	}
	a.stop()
	close(quit)
	load.Wait()
	t.Logf("%d handshakes while it was renewed", answers.Load())

	for _, l := range all {
		eventually(t, 6*soon, "the status tells of the directory", func() error {
			told := strings.Join(problemsIn(t, l), "\n")
			if !strings.Contains(told, "is not renewed, tried in vain since") || !strings.Contains(told, "connection refused") {
				return errors.New(told)
			}
			return nil
		})
		if got, err := shownFor(l, "listed.test", nil); err != nil || got != serial {
			t.Errorf("while the directory is away: %s, %v", got, err)
		}
	}
	all[0].Stop(t)
	all[0].Start(t)
	a.start()
	began := time.Now()
	allShow(t, all, "listed.test", serial, a.pool())
	t.Logf("renewed %v after the directory was back", time.Since(began).Round(time.Second))
}

// TestALictorAloneKeepsCertificatesInItsDirectory (P8): also over a restart while
// the authority is away, and where clients must show a certificate.
func TestALictorAloneKeepsCertificatesInItsDirectory(t *testing.T) {
	together(t)
	a, backend := startAuthority(t, 3600), startBackend(t, "one")
	ca, dir := certtest.NewCA(t), t.TempDir()
	block := strings.Replace(acmeBlock(a, 0, "hosts = [\"one.test\", \"two.test\"]"), "  tls {\n", fmt.Sprintf("  tls {\n    client_ca_file = %q\n", ca.WriteCA(t, dir)), 1)
	l := newLictor(t, lictorConfig{DataDir: t.TempDir(), Gateway: block, Rest: staticConfig("svc", "http://"+backend.Addr)})
	a.TLS.add(l.Gateway)
	l.Start(t)
	roots := a.pool()
	ask := func() error {
		for _, host := range []string{"one.test", "two.test"} {
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host, Certificates: []tls.Certificate{ca.Issue(t, "me")}}}
			err := askOnce(&http.Client{Transport: tr, Timeout: soon}, "https://"+l.Gateway+"/svc/")
			tr.CloseIdleConnections()
			if err != nil {
				return err
			}
		}
		return nil
	}
	eventually(t, 6*soon, "the hosts have certificates", ask)
	a.stop()
	l.Stop(t)
	l.Start(t)
	eventually(t, soon, "it is served after a restart", ask)
	if n := a.orders(); n != 2 {
		t.Errorf("%d orders for two certificates", n)
	}
	c, err := tls.Dial("tcp", l.Gateway, &tls.Config{ServerName: "two.test", RootCAs: roots, NextProtos: []string{"acme-tls/1"}})
	if err == nil {
		c.Close()
		t.Error("acme-tls/1 is agreed on while no challenge is pending")
	}
}

// TestTheRightsOfCertificatesAreJustEnough (P8, K5): with those of
// deploy/consul-policy.hcl certificates are got and renewed; with one of them less
// the status says so, and the old one is served.
func TestTheRightsOfCertificatesAreJustEnough(t *testing.T) {
	mostlyWaiting(t)
	all := rights(t, "tls")
	for i, missing := range all {
		if strings.Contains(missing, "acme") || strings.Contains(missing, "session") {
			t.Run(missing, func(t *testing.T) {
				beside(t)
				missRight(t, all, i)
			})
		}
	}
}

// missRight has a lictor that has a certificate lose one right, until it tells so,
// and get it back.
func missRight(t *testing.T, all []string, missing int) {
	a, agent := startAuthority(t, 45), startConsul(t, withACL(rootToken))
	who := newBearer(t, agent, "lictor", all)
	l := newLictor(t, lictorConfig{
		DataDir: t.TempDir(),
		Gateway: acmeBlock(a, 0, "storage = \"consul\"\nhosts = [\"listed.test\"]"),
		Rest:    consulConfig(&consulAgent{Addr: agent.Addr, Token: who.secret}, ""),
	})
	a.TLS.add(l.Gateway)
	l.Start(t)
	told := func() string {
		return strings.Join(slices.DeleteFunc(problemsIn(t, l), func(s string) bool { return !strings.Contains(s, "acme: ") }), "\n")
	}
	serial := allShow(t, []*lictorProcess{l}, "listed.test", "", a.pool())
	who.may(t, slices.Delete(slices.Clone(all), missing, missing+1))
	eventually(t, 6*soon, "the lack is told", func() error {
		if text := told(); !strings.Contains(text, "403") {
			return fmt.Errorf("status tells %q", text)
		}
		return nil
	})
	if _, err := shownFor(l, "listed.test", nil); err != nil {
		t.Error(err)
	}
	who.may(t, all)
	allShow(t, []*lictorProcess{l}, "listed.test", serial, a.pool())
	eventually(t, 6*soon, "all is well again", func() error {
		if text := told(); text != "" {
			return errors.New(text)
		}
		return nil
	})
}
