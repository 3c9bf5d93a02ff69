package uri

import (
	"strings"
	"testing"
)

func TestCanDial(t *testing.T) {
	tests := []struct {
		host string
		want bool
	}{
		{"127.0.0.1", true}, {"::1", true}, {"::ffff:10.0.0.1", true}, {"fe80::1%eth0", true}, {"0.0.0.0", true},
		{"localhost", true}, {"shop.example.com", true}, {"shop.example.com.", true}, {"my_host", true}, {"xn--bcher-kva.example", true},
		{"1a", true}, {"3com.example", true}, {"10-0-0-1.nodes", true},
		{"", false}, {".", false}, {"..", false}, {"a..b", false}, {".a", false}, {"-a", false}, {"a-", false},
		{"[::1]", false}, {"http://10.0.0.1", false}, {"10.0.0.1:80", false}, {"10.0.0.1 ", false}, {" 10.0.0.1", false}, {"a b", false},
		{"unix:", false}, {"/run/x.sock", false}, {"127.0.0.1%00", false}, {"a%2eb", false}, {"a\x00b", false}, {"bücher.example", false},
		{"10.0.0.256", false}, {"10.0.1", false}, {"127", false}, {"0x7f000001", false}, {"010.0.0.1", false}, {"a.0x7f", false},
		{"a@b", false}, {"a/b", false}, {"a?b", false}, {"a#b", false}, {"a~b", false}, {"::1::", false}, {":80", false},
		{strings.Repeat("a", 64), false}, {strings.Repeat("abc.", 64) + "a", false}, {strings.Repeat("abc.", 62) + "abc", true},
	}
	for _, tt := range tests {
		if got := CanDial(tt.host); got != tt.want {
			t.Errorf("CanDial(%q) = %v, want %v", tt.host, got, tt.want)
		}
	}
}
