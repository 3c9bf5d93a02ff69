package own

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhatMerelySharesTheMachineIsNotOurs: a listener at one address owns that
// address; a server that we only use may listen on all.
func TestWhatMerelySharesTheMachineIsNotOurs(t *testing.T) {
	exact := []Endpoint{{Host: "127.0.0.1", Port: 8001, Exact: true}}
	tests := []struct {
		name      string
		endpoints []Endpoint
		at        string
		want      bool
	}{
		{"the listener", exact, "127.0.0.1:8001", true},
		{"the listener in IPv6 spelling", exact, "[::ffff:127.0.0.1]:8001", true},
		{"by the address that is every address", exact, "0.0.0.0:8001", true},
		{"the same in IPv6", exact, "[::]:8001", true},
		{"another port of it", exact, "127.0.0.1:8002", false},
		{"another address with its port", exact, "127.0.0.2:8001", false},
		{"every address with another port", exact, "0.0.0.0:8002", false},
		{"a listener on every address", []Endpoint{{Port: 8001}}, "127.0.0.2:8001", true},
		{"and another machine's port", []Endpoint{{Port: 8001}}, "192.0.2.1:8001", false},
		{"a server on this machine, at any of its addresses", []Endpoint{{Host: "127.0.0.1", Port: 8500}}, "127.0.0.3:8500", true},
		{"a server called localhost", []Endpoint{{Host: "LocalHost.", Port: 8500}}, "[::1]:8500", true},
		{"a server elsewhere", []Endpoint{{Host: "192.0.2.1", Port: 8500}}, "192.0.2.1:8500", true},
		{"its neighbour", []Endpoint{{Host: "192.0.2.1", Port: 8500}}, "192.0.2.2:8500", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := NewKeeper(func() []Endpoint { return tt.endpoints })
			k.Begin()
			at := netip.MustParseAddrPort(tt.at)
			if got := k.Set().ByAddr(at.Addr(), at.Port()); got != tt.want {
				t.Errorf("%s is ours: %v, want %v", at, got, tt.want)
			}
			if err := k.Control("tcp", at.String(), nil); errors.Is(err, ErrOwn) != tt.want {
				t.Errorf("dialling %s: %v", at, err)
			}
		})
	}
}

// TestTheDialerSeesTheAddressThatIsReallyDialled, whatever name led there.
func TestTheDialerSeesTheAddressThatIsReallyDialled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	k := NewKeeper(func() []Endpoint {
		return []Endpoint{{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), Exact: true}}
	})
	k.Begin()
	d := net.Dialer{Control: k.Control}
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0", "::ffff:127.0.0.1", ""} {
		c, err := d.Dial("tcp4", net.JoinHostPort(host, port))
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, ErrOwn) {
			t.Errorf("%q: %v, want a refusal", host, err)
		}
	}
}

// TestNamesAreLookedUpAgainAndAgain: whoever runs a server by a name may move it.
func TestNamesAreLookedUpAgainAndAgain(t *testing.T) {
	first, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	synctest.Test(t, func(t *testing.T) {
		round := 0
		k := &Keeper{names: NewNames(), endpoints: func() []Endpoint { return []Endpoint{{Host: "consul.example", Port: 8500}} },
			look: []Lookup{func(context.Context, string) ([]netip.Addr, error) {
				round++
				return [][]netip.Addr{{first}, {second}}[min(round, 2)-1], nil
			}}}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go k.Run(ctx)
		synctest.Wait()
		if !k.Set().ByAddr(first, 8500) || k.Set().ByAddr(second, 8500) {
			t.Errorf("%s is ours: %v, %s: %v", first, k.Set().ByAddr(first, 8500), second, k.Set().ByAddr(second, 8500))
		}
		time.Sleep(RefreshEvery)
		synctest.Wait()
		if !k.Set().ByAddr(first, 8500) || !k.Set().ByAddr(second, 8500) {
			t.Error("what the name ever was is ours, and what it is now")
		}
	})
}
