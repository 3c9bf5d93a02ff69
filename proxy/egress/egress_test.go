package egress

import (
	"fmt"
	"strings"
	"testing"

	"lictor/proxy/egress/dns/dnstest"
)

func TestForward(t *testing.T) {
	b := start(t, quick())
	b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2"}})
	a := b.get(b.url("shop.example", "/a/b?c=d"))
	if a.StatusCode != 200 || a.body != fmt.Sprintf("GET /a/b?c=d host=shop.example:%d body=", b.origin.port) {
		t.Errorf("got %d %q", a.StatusCode, a.body)
	}
	if got := strings.Join(a.Header.Values("X-Two"), ","); got != "a,b" {
		t.Errorf("repeated headers came as %q", got)
	}
}
