package http1

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// TestNothingFollowsAHandshakeThatIsAChallenge (P8, RFC 8737): it asks for no
// certificate of the client, so that a request behind it would be let in.
func TestNothingFollowsAHandshakeThatIsAChallenge(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	serverTLS.NextProtos = append(serverTLS.NextProtos, challengeProtocol)
	f := &forwarder{now: make(map[*Conn]struct{}), pool: NewPool(PoolConfig{Address: startPeer(t, echoPeer), MaxIdle: 4, IdleTimeout: time.Minute})}
	s := NewServer(f, testLimits)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l, &Entrance{TLS: serverTLS}) }()
	t.Cleanup(func() { l.Close() })
	for protocol, answered := range map[string]bool{"http/1.1": true, challengeProtocol: false} {
		cfg := clientTLS.Clone()
		cfg.NextProtos = []string{protocol}
		c, err := tls.Dial("tcp", l.Addr().String(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		if got := c.ConnectionState().NegotiatedProtocol; got != protocol {
			t.Errorf("%s is agreed on, want %s", got, protocol)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, plainGet)
		n, err := c.Read(make([]byte, 1))
		if (n == 1) != answered {
			t.Errorf("%s: %d bytes, %v", protocol, n, err)
		}
		c.Close()
	}
}
