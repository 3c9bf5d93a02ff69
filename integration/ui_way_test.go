//go:build integration

package integration_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	consulapi "github.com/hashicorp/consul/api"
)

// failing registers an instance with a check that says why it does not pass.
func failing(t *testing.T, c *consulAgent, name, id, addr, output string) {
	t.Helper()
	register(t, c, name, id, addr, func(r *consulapi.AgentServiceRegistration) {
		r.Check = &consulapi.AgentServiceCheck{CheckID: id + "-disk", Name: "disk", TTL: "10m"}
	})
	for _, status := range []string{consulapi.HealthPassing, consulapi.HealthCritical} { // of output that comes without a change the servers hear minutes later
		if err := c.Client.Agent().UpdateTTL(id+"-disk", output, status); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOperatorsFindTheirWay: the questions of an operator, each from the first page by
// links and one form alone.
func TestOperatorsFindTheirWay(t *testing.T) {
	together(t)
	c := startConsul(t)
	shop := startBackend(t, "shop")
	p := startLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: consulConfig(c, "")})
	const hostile = `<img src=x onerror=alert(1)> disk is full`
	register(t, c, "shop", "shop-1", shop.Addr)
	failing(t, c, "shop", "shop-2", "127.0.0.1:9", hostile)
	failing(t, c, "dead", "dead-1", "127.0.0.1:9", "no route to the store")
	const k = "lictor/policy/"
	kvPut(t, c, k+"consumers/ann", `{"name": "ann"}`)
	kvPut(t, c, credentialKey("anns-key"), `{"consumer": "ann", "id": "anns-first", "not_after": "2020-01-01T00:00:00Z"}`)
	kvPut(t, c, k+"plugins/keys", `{"name": "key-auth"}`)
	kvPut(t, c, k+"plugin-mappings/keys", `{"api": "shop", "plugins": ["keys"]}`)
	kvPut(t, c, k+"blacklist/soon", `{"entries": ["/dead/old"], "direction": "ingress", "mode": "report"}`)
	kvPut(t, c, k+"blacklist/last", "/last\n") // once it is in force, all are that were put before
	asks(t, soon, 403, "GET", "http://"+p.Gateway+"/last")
	asks(t, soon, 401, "GET", "http://"+p.Gateway+"/shop/")
	asks(t, soon, 503, "GET", "http://"+p.Gateway+"/dead/old")
	b := newBrowser(t)
	first := "http://" + p.Admin + "/ui"

	open := func() string { return b.open(t, first) }
	eventually(t, soon, "the first page names the service", func() error {
		if text := open(); !strings.Contains(text, "service dead: none of its 1 instance can serve") {
			return errors.New(text)
		}
		return nil
	})
	wants(t, "why is this service 503, a click", b.send(t, `.troubles a[href="/ui/services/dead"]`), "critical", "disk: no route to the store")
	b.check(t, "a service that nobody serves")

	open()
	b.send(t, `header a[href="/ui/services"]`)
	wants(t, "which instance is bad, two clicks", b.send(t, `tbody a[href="/ui/services/shop"]`), "1 of 2 serve", "shop-2", "critical", "disk: "+hostile, "in dc1")

	open()
	b.send(t, `header a[href="/ui/explain"]`)
	b.do(t, chromedp.SetValue("#url", "curl -H 'apikey: anns-key' http://"+p.Gateway+"/shop/"))
	wants(t, "why is this key refused, a click and a line of curl", b.send(t, "main button.main"), "bad_credentials", "2020")

	open()
	wants(t, "what if this were enforced, a click", b.send(t, `header a[href="/ui/policy"]`), "What if these were enforced?", "blacklist/soon would have refused 1")
	b.check(t, "policy with hits")
	wants(t, "whom it would refuse, a second one", b.send(t, `.troubles a[href^="/ui/live"]`), "/dead/old", "blacklist/soon")

	open()
	wants(t, "who uses which key, a click", b.send(t, `header a[href="/ui/consumers"]`), "anns-first", "expired", "not used")
	open()
	wants(t, "the others", b.text(t), "1 lictor alive")
	b.check(t, "now with lictors")
	if said := b.console.String(); strings.Contains(said, "Security") || strings.Contains(said, "exception") {
		t.Errorf("the console says %s", said)
	}
}
