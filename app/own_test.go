package app

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"lictor/config"
	"lictor/internal/eventually"
	"lictor/proxy/own"
)

// TestOwnInfrastructureIsFoundByItsNamesToo: Consul and the broker are mostly
// configured by name, and an instance is dialled at an address.
func TestOwnInfrastructureIsFoundByItsNamesToo(t *testing.T) { // X9
	here, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", here)
	if err != nil {
		t.Fatal(err)
	}
	const port = 8599 // nobody is asked there
	t.Setenv("CONSUL_HTTP_ADDR", net.JoinHostPort(here, strconv.Itoa(port)))
	dev, err := NewDev()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	p, err := Open(ctx, Options{Config: dev.Config("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"), Dev: dev, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, nil) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	eventually.True(t, "the gateway knows the addresses of its Consul", func() bool {
		return p.own.Set().ByAddr(addrs[0].Unmap(), port)
	})
}

// X9, D28: a further listener is as much lictor's own as the first.
func TestAFurtherListenerIsOwn(t *testing.T) {
	dev, err := NewDev()
	if err != nil {
		t.Fatal(err)
	}
	cfg := dev.Config("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	cfg.Listeners = []config.Listener{{Name: "internal", Address: "127.0.0.1:0"}}
	p, err := Open(t.Context(), Options{Config: cfg, Dev: dev, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	at := p.moreListeners[0].Addr().(*net.TCPAddr)
	if !slices.ContainsFunc(p.ownEndpoints(cfg), func(e own.Endpoint) bool { return e.Host == "127.0.0.1" && int(e.Port) == at.Port }) {
		t.Errorf("%s is not among %v", at, p.ownEndpoints(cfg))
	}
}

// X9: whatever is written as an address is found at it, also where a zone of IPv6 is a
// part of that.
func TestAnAddressWithAZoneIsOwn(t *testing.T) {
	dev, err := NewDev()
	if err != nil {
		t.Fatal(err)
	}
	cfg := dev.Config("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	cfg.Telemetry.Endpoint = "https://[fe80::3%25eth0]/v1/traces"
	p, err := Open(t.Context(), Options{Config: cfg, Dev: dev, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.moreListeners = append(p.moreListeners, listening{at: &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 8080}})
	egress := own.Find(t.Context(), p.ownEndpoints(cfg), own.NewNames(), nil)
	gateway := own.Find(t.Context(), p.infrastructure(), own.NewNames(), nil)
	for address, sets := range map[string][]*own.Set{"[fe80::1]:8080": {egress}, "[fe80::3]:443": {egress, gateway}} {
		at := netip.MustParseAddrPort(address)
		for i, set := range sets {
			if !set.ByAddr(at.Addr(), at.Port()) {
				t.Errorf("%s is not ours (set %d)", address, i)
			}
		}
	}
}

// listening is a listener of which there is only an address.
type listening struct {
	net.Listener
	at net.Addr
}

func (l listening) Addr() net.Addr { return l.at }
func (listening) Close() error     { return nil }
