package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lictor/proxy/own"
)

// X9, D23: a service that leads to the listener for redirects would be answered by it.
// The gateway's listeners are none of these: what leads back to one is a loop, 508.
func TestTheGatewayDialsNoOtherListenerOfLictor(t *testing.T) {
	p := redirecting(t, "")
	set := own.Find(t.Context(), p.infrastructure(), own.NewNames(), nil)
	for _, l := range []net.Listener{p.redirectListener, p.adminListener, p.egressListener} {
		if at := netip.MustParseAddrPort(l.Addr().String()); !set.ByAddr(at.Addr(), at.Port()) {
			t.Errorf("%s is dialled", at)
		}
	}
}

// D23: trusted_proxies hold for redirects as on the gateway.
func TestARedirectIsLoggedForTheClientBehindATrustedProxy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	p := redirecting(t, path)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, nil) }()
	tests := []struct{ fields, client string }{
		{"X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n", "203.0.113.9"},
		{"Forwarded: for=203.0.113.8\r\n", "203.0.113.8"},
		{"", "127.0.0.1"},
	}
	for _, tt := range tests {
		c, err := net.Dial("tcp", p.redirectListener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: example.org\r\n%s\r\n", tt.fields)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		c.Close()
		if err != nil || resp.StatusCode != http.StatusPermanentRedirect {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != len(tests) {
		t.Fatalf("logged is\n%s", text)
	}
	for i, tt := range tests {
		if !strings.Contains(lines[i], fmt.Sprintf(`"client": %q`, tt.client)) {
			t.Errorf("with %q logged is %s", tt.fields, lines[i])
		}
	}
}

// redirecting is a lictor with a listener for redirects, which trusts this machine.
func redirecting(t *testing.T, accessLog string) *Lictor {
	t.Helper()
	dev, err := NewDev()
	if err != nil {
		t.Fatal(err)
	}
	cfg := dev.Config("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	cfg.Gateway.RedirectAddress = "127.0.0.1:0"
	cfg.Gateway.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	cfg.AccessLog.Path = accessLog
	p, err := Open(t.Context(), Options{Config: cfg, Dev: dev, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
