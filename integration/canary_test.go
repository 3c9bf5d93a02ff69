//go:build integration

package integration_test

import (
	"fmt"
	"strings"
	"testing"
)

// K6: through a real Consul a canary gets what asks for it and nothing else, is
// fallen back from, and becomes an instance like the others.
func TestCanaryFromRegistrationToPromotion(t *testing.T) {
	together(t)
	c := startConsul(t)
	one, two := startBackend(t, "one"), startBackend(t, "two")
	canary := withMeta(map[string]string{"lictor-canary": "true"})
	register(t, c, "shop", "shop-1", one.Addr)
	register(t, c, "shop", "shop-2", two.Addr, canary, ttlCheck("passing"))
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "") + `
middleware "early" {
  match {
    headers = { "X-Early" = "yes" }
  }
  route {
    canary = true
  }
}
`})
	url := "http://" + p.Gateway + "/shop/x"
	early := func(want string) {
		t.Helper()
		eventually(t, soon, "who asks for a canary is answered by "+want, func() error {
			for range 8 {
				if status, body := fetch(t, url, "X-Early", "yes"); status != 200 || body != want {
					return fmt.Errorf("%d %s", status, body)
				}
			}
			return nil
		})
	}
	answersFrom(t, p, soon, "one")
	early("two")
	plain := startLoad(url, 4)
	setCheck(t, c, "shop-2", "critical")
	early("one")
	setCheck(t, c, "shop-2", "passing")
	early("two")
	two.Close() // and Consul does not notice
	early("one")
	if status, body := fetch(t, "http://"+p.Admin+"/metrics"); status != 200 || !strings.Contains(body, `lictor_canary_requests_total{code="2xx",service="shop"}`) {
		t.Errorf("the metrics know of no canary: %d", status)
	}
	answersFrom(t, p, soon, "one")
	deregister(t, c, "shop-2")
	three := startBackend(t, "two")
	register(t, c, "shop", "shop-3", three.Addr, canary)
	early("two")
	status, out, _ := runLictor(t, "explain", "-admin", "http://"+p.Admin, "-H", "X-Early: yes", "/shop/x")
	if status != 0 || !strings.Contains(out, "route to canaries") || !strings.Contains(out, "passing, canary  <- next") {
		t.Errorf("explained as %d %s", status, out)
	}
	answersFrom(t, p, soon, "one")
	register(t, c, "shop", "shop-3", three.Addr) // promoted
	answersFrom(t, p, soon, "one", "two")
	plain.stop(t)
}
