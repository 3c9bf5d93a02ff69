package mesh

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// shake has m connect to a peer that has the certificate and wants one of lictor.
// It returns whom the peer saw and how the handshake ended for lictor.
func shake(m *Mesh, peer tls.Certificate, identity string) (saw string, err error) {
	here, there := net.Pipe()
	defer here.Close()
	for _, end := range []net.Conn{here, there} {
		end.SetDeadline(time.Now().Add(time.Second)) // both may write at once, and a pipe holds nothing
	}
	done := make(chan string, 1)
	go func() {
		defer there.Close()
		s := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{peer}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12})
		if s.Handshake() != nil {
			done <- ""
			return
		}
		done <- s.ConnectionState().PeerCertificates[0].URIs[0].String()
	}()
	err = tls.Client(here, m.TLS(identity)).Handshake()
	if err != nil {
		here.Close()
	}
	return <-done, err
}

func TestAPeerIsWhoItsCertificateSays(t *testing.T) {
	inMesh(t, func(b *bench, a *authority) {
		stranger, between := newAuthority(t, nil), newAuthority(t, a)
		through := between.issue(nil, testID)
		chain := through
		chain.Certificate = append(chain.Certificate[:1:1], between.cert.Raw)
		for _, tt := range []struct {
			name string
			peer tls.Certificate
			want string // in the error; "" = it is trusted
		}{
			{"the service, in this trust domain and datacenter", a.issue(nil, testID), ""},
			{"the service, by an intermediate authority that it shows", chain, ""},
			{"by an intermediate authority that nobody shows", through, "unknown authority"},
			{"another service", a.issue(nil, strings.Replace(testID, "svc/web", "svc/db", 1)), `it is "spiffe://` + testDomain + `/ns/default/dc/dc1/svc/db", want ` + testID},
			{"a service whose name begins so", a.issue(nil, testID+"2"), "want " + testID},
			{"a path that goes on", a.issue(nil, testID+"/x"), "want " + testID},
			{"the name in another case", a.issue(nil, strings.Replace(testID, "web", "Web", 1)), "want " + testID},
			{"another spelling of the name", a.issue(nil, strings.Replace(testID, "web", "%77eb", 1)), "want " + testID},
			{"another datacenter", a.issue(nil, strings.Replace(testID, "dc1", "dc2", 1)), "want " + testID},
			{"another namespace", a.issue(nil, strings.Replace(testID, "default", "other", 1)), "want " + testID},
			{"another trust domain", a.issue(nil, strings.Replace(testID, testDomain, "9"+testDomain, 1)), "want " + testID},
			{"another scheme", a.issue(nil, strings.Replace(testID, "spiffe", "https", 1)), "want " + testID},
			{"a query behind it", a.issue(nil, testID+"?x"), "want " + testID},
			{"an agent", a.issue(nil, "spiffe://"+testDomain+"/agent/client/dc/dc1/id/web"), "want " + testID},
			{"the mesh itself", a.issue(nil, "spiffe://"+testDomain), "want " + testID},
			{"two ids", a.issue(nil, testID, strings.Replace(testID, "web", "db", 1)), "2 URIs"},
			{"no id, but a name", a.issue(func(c *x509.Certificate) { c.DNSNames = []string{"web"} }), "0 URIs"},
			{"another authority", stranger.issue(nil, testID), "unknown authority"},
			{"it signs itself", newAuthority(t, nil).issue(nil, testID), "unknown authority"},
			{"it ran out", a.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, testID), "expired"},
			{"it does not hold yet", a.issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, testID), "not yet valid"},
			{"it is for clients only", a.issue(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, testID), "usage"},
		} {
			saw, err := shake(b.Mesh, tt.peer, testWeb)
			switch _, untrusted := errors.AsType[*PeerError](err); {
			case tt.want == "" && (err != nil || saw != lictorID):
				t.Errorf("%s: %v, the peer saw %q", tt.name, err, saw)
			case tt.want != "" && (!untrusted || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
			case tt.want != "" && errors.Is(err, ErrNoCertificate):
				t.Errorf("%s: it is taken for lictor's own fault", tt.name)
			}
		}
	})
}

// What a peer calls itself does not fill the log.
func TestALongIDIsCut(t *testing.T) {
	inMesh(t, func(b *bench, a *authority) {
		_, err := shake(b.Mesh, a.issue(nil, testID+strings.Repeat("x", 4000)), testWeb)
		if err == nil || len(err.Error()) > 700 {
			t.Errorf("got %v", err)
		}
	})
}

func TestWithoutACertificateNobodyIsSpokenTo(t *testing.T) {
	inMesh(t, func(b *bench, a *authority) {
		peer := a.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(100 * 24 * time.Hour) }, testID)
		for name, c := range map[string]*credentials{"neither": {}, "no authorities": {leaf: b.cur.Load().leaf}, "no certificate": {roots: b.cur.Load().roots}} {
			m := newMesh(t, b.agent, "", b.log)
			m.cur.Store(c)
			if _, err := shake(m, peer, testWeb); !errors.Is(err, ErrNoCertificate) || m.Ready() == nil {
				t.Errorf("%s: got %v", name, err)
			}
		}
		b.agent.edit(func() { b.agent.away = true })
		pass(24*time.Hour + time.Second)
		_, err := shake(b.Mesh, peer, testWeb)
		if _, untrusted := errors.AsType[*PeerError](err); !errors.Is(err, ErrNoCertificate) || untrusted || !strings.Contains(err.Error(), "it ran out at ") {
			t.Errorf("it ran out: got %v", err)
		}
		if s := b.Status(); len(s.Problems) < 2 || !strings.Contains(s.Problems[0], "it ran out at ") || b.Ready() != nil {
			t.Errorf("it ran out: status is %+v, ready %v", s, b.Ready())
		}
	})
}
