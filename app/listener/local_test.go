package listener

import (
	"net"
	"testing"
)

func TestASocketIsLocalIfOnlyThisMachineReachesIt(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	for _, tt := range []struct {
		name string
		at   net.Addr
		want bool
	}{
		{"loopback", tcp("127.0.0.1"), true},
		{"another loopback address", tcp("127.9.9.9"), true},
		{"loopback by IPv6", tcp("::1"), true},
		{"a mapped loopback address", tcp("::ffff:127.0.0.1"), true},
		{"a unix socket", &net.UnixAddr{Name: "/run/x"}, true},
		{"an abstract unix socket", &net.UnixAddr{Name: "@x"}, true},
		{"all interfaces", tcp("0.0.0.0"), false},
		{"all interfaces by IPv6", tcp("::"), false},
		{"no address, which is all of them", &net.TCPAddr{Port: 1}, false},
		{"an address of the network", tcp("10.0.0.1"), false},
		{"a link-local address", tcp("fe80::1"), false},
		{"what is no TCP socket", &net.UDPAddr{IP: net.ParseIP("127.0.0.1")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := IsLocal(tt.at); got != tt.want {
				t.Errorf("%s: got %v, want %v", tt.at, got, tt.want)
			}
		})
	}
}
