package egress

import (
	"net/netip"
	"testing"
)

func TestPrivateAddresses(t *testing.T) { // A15
	private := []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
		"168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
		"192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "::8.8.8.8", "::ffff:0:8.8.8.8",
		"64:ff9b::8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:102:304::1", "2001:2::1", "2001:10::1",
		"2001:20::1", "2001:db8::1", "2002:808:808::1", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
		"fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "4000::1", "e000::1",
	}
	for _, s := range private {
		if !isPrivate(netip.MustParseAddr(s)) {
			t.Errorf("%s counts as public", s)
		}
	}
	public := []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.1", "169.253.255.255", "172.15.255.255",
		"172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "69.16.230.117",
		"::ffff:8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "2001:4860:4860::8888", "2a00:1450::1", "2003::1", "3ffe::1",
	}
	for _, s := range public {
		if isPrivate(netip.MustParseAddr(s)) {
			t.Errorf("%s counts as private", s)
		}
	}
}

func TestExceptionsFromPrivate(t *testing.T) { // A15
	s := &Settings{AllowPrivate: prefixes("10.1.2.0/24", "64:ff9b::/96", "fd00::/8", "0.0.0.0/8")}
	tests := []struct {
		addr string
		want bool
	}{
		{"10.1.2.3", false},
		{"10.1.3.3", true},
		{"::ffff:10.1.2.3", false},
		{"64:ff9b::8.8.8.8", false},
		{"64:ff9b::10.1.2.3", false},
		{"64:ff9b::10.1.3.3", true}, // the exception is for NAT64, not for what lies behind
		{"64:ff9b::127.0.0.1", true},
		{"2002:a01:203::", true},
		{"fd00::1", false},
		{"8.8.8.8", false},
		{"0.0.0.0", true}, // which leads to 127.0.0.1
	}
	for _, tt := range tests {
		if got := s.private(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s: private is %v, want %v", tt.addr, got, tt.want)
		}
	}
	local := &Settings{AllowPrivate: prefixes("64:ff9b:1::/48", "10.1.2.0/24")}
	for addr, want := range map[string]bool{
		"64:ff9b:1::8.8.8.8":          false,
		"64:ff9b:1::10.1.2.3":         false,
		"64:ff9b:1::10.1.3.3":         true,
		"64:ff9b:1:a00:0:100:808:808": true, // 10.0.0.1, if the prefix has 48 bits
		"64:ff9b:1:420a:0:1:808:808":  true, // if it has 56
		"64:ff9b:1:4242:a:0:108:808":  true, // if it has 64
	} {
		if got := local.private(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: private is %v, want %v", addr, got, want)
		}
	}
	if (&Settings{}).private(netip.MustParseAddr("127.0.0.1")) != true {
		t.Error("the zero Settings open what is private")
	}
}
