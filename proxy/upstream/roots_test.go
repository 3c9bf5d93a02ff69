package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"lictor/app/listener/certtest"
	"lictor/resolver"
)

// The authorities are those of the handshake, whatever they were when the member
// was made; names are verified as ever.
func TestInstancesAreVerifiedByTheAuthoritiesOfNow(t *testing.T) {
	first, second := certtest.NewCA(t), certtest.NewCA(t)
	roots := first.Pool()
	cfg := &Settings{
		UpstreamTLS:   &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		UpstreamRoots: func() *x509.CertPool { return roots },
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var cert tls.Certificate
	server := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				c := tls.Server(conn, server)
				_, _ = c.Write([]byte("x")) // its handshake fails where the client's does
			}()
		}
	}()
	client := newSender(t).newGroup("svc").tls(&resolver.Instance{Address: l.Addr().String(), TLS: true}, cfg)
	for _, tt := range []struct {
		name  string
		cert  tls.Certificate
		roots *x509.CertPool
		good  bool
	}{
		{"by the first", first.Issue(t, "127.0.0.1"), first.Pool(), true},
		{"again, by its session", first.Issue(t, "127.0.0.1"), first.Pool(), true},
		{"which the second does not make good", first.Issue(t, "127.0.0.1"), second.Pool(), false},
		{"nor by the second for another name", second.Issue(t, "127.0.0.2"), second.Pool(), false},
		{"by the second", second.Issue(t, "127.0.0.1"), second.Pool(), true},
	} {
		cert, roots = tt.cert, tt.roots
		conn, err := tls.Dial("tcp", l.Addr().String(), client)
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // and the ticket of the session
			conn.Close()
		}
		if (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
