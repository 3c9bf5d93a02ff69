//go:build integration

package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// overTLS is the configuration of a lictor at an agent that it reaches over TLS, by
// another address if one is given, where its watches are streams of HTTP/2.
func overTLS(agent *consulAgent, address, token, resolvers string) lictorConfig {
	if address == "" {
		address = strings.TrimPrefix(agent.HTTPS, "https://")
	}
	return lictorConfig{Rest: fmt.Sprintf("consul {\n  address = %q\n  scheme = \"https\"\n  token = %q\n  tls {\n    ca_file = %q\n  }\n}\n%s\n",
		address, token, agent.CA, resolvers)}
}

// answers waits until a path is answered so: by a status, or a text.
func (l *lictorProcess) answers(t *testing.T, path, want string) {
	t.Helper()
	eventually(t, soon, path+" is answered by "+want, func() error {
		if code, body := fetch(t, "http://"+l.Gateway+path); body != want && fmt.Sprint(code) != want {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// told waits until what a resolver tells of its trouble holds a text; "" = it tells of none.
func (l *lictorProcess) told(t *testing.T, kind, text string) {
	t.Helper()
	eventually(t, 2*soon, fmt.Sprintf("%s tells of %q", kind, text), func() error {
		if r := resolverStatus(t, l.Status(t), kind); !strings.Contains(r.Error, text) || text == "" && r.Error != "" {
			return errors.New(r.Error)
		}
		return nil
	})
}

// TestRightsThatGoAndComeOverTLS: K5. What was served is served on, and what changed
// meanwhile counts as soon as it may be read again.
func TestRightsThatGoAndComeOverTLS(t *testing.T) {
	together(t)
	agent := startConsul(t, withACL(rootToken), withTLS(t))
	all := rights(t)
	who := newBearer(t, agent, "lictor", all)
	one, two := startMortal(t, "one"), startMortal(t, "two")
	register(t, agent, "shop", "shop-1", one.Addr)
	register(t, agent, "cart", "cart-1", one.Addr)
	l := startLictor(t, overTLS(agent, "", who.secret, "resolver \"consul\" {\n}"))
	l.Ready(t)
	l.answers(t, "/shop/", "one")
	l.answers(t, "/cart/", "one")
	load := startTraffic(t, l.Gateway, "/shop/")
	for _, part := range []string{`service "shop" { policy = "deny" }`, `service_prefix "" { policy = "deny" }`} {
		less := append(slices.Clone(all), part)
		if strings.HasPrefix(part, "service_prefix") {
			less = slices.DeleteFunc(slices.Clone(all), func(rule string) bool { return strings.HasPrefix(rule, `service_prefix ""`) })
		}
		who.may(t, less)
		turn := 0
		eventually(t, 2*soon, "it is told", func() error { // by a query that began since: one that waits has the rights of before
			turn++
			register(t, agent, "shop", "shop-1", one.Addr, withTags(fmt.Sprint("wakes-", turn)))
			if r := resolverStatus(t, l.Status(t), "consul"); !strings.Contains(r.Error, "ACLs") {
				return fmt.Errorf("got %q", r.Error)
			}
			return nil
		})
		register(t, agent, "shop", "shop-1", two.Addr)
		load.answeredSoon(t, soon, "one")
		who.may(t, all)
		load.answeredSoon(t, 2*soon, "two")
		l.told(t, "consul", "")
		register(t, agent, "shop", "shop-1", one.Addr)
		load.answeredSoon(t, soon, "one")
	}
	load.lost(t)
}

// TestAPartitionOverTLS: the way to the agent is cut, without a word or by resets.
func TestAPartitionOverTLS(t *testing.T) {
	together(t)
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprint("refused=", deaf), func(t *testing.T) {
			agent := startConsul(t, withTLS(t))
			way := startLink(t, strings.TrimPrefix(agent.HTTPS, "https://"))
			one, two := startMortal(t, "one"), startMortal(t, "two")
			register(t, agent, "shop", "shop-1", one.Addr)
			l := startLictor(t, overTLS(agent, way.Addr, "", "resolver \"consul\" {\n}"))
			l.Ready(t)
			load := startTraffic(t, l.Gateway, "/shop/")
			load.answeredSoon(t, soon, "one")
			way.Cut(deaf)
			eventually(t, 3*soon, "it is told", func() error {
				if r := resolverStatus(t, l.Status(t), "consul"); r.Error == "" || r.AgeSeconds == nil || *r.AgeSeconds < 1 {
					return fmt.Errorf("got %+v", r)
				}
				return nil
			})
			register(t, agent, "shop", "shop-1", two.Addr)
			load.answeredSoon(t, soon, "one")
			way.Heal()
			load.answeredSoon(t, 2*soon, "two")
			l.told(t, "consul", "")
			load.lost(t)
		})
	}
}

// TestDatacentersAndPeersOverTLS: K4. Each resolver has its streams of the one agent.
func TestDatacentersAndPeersOverTLS(t *testing.T) {
	together(t)
	near := startConsul(t, persistent(t), inDatacenter("dc1"), withPeering(), withTLS(t))
	far := startConsul(t, persistent(t), inDatacenter("dc2", near))
	east := startConsul(t, persistent(t), inDatacenter("east"), withPeering())
	(&federation{near: near}).joined(t)
	peered(t, near, east)
	here, there, peer := startMortal(t, "here"), startMortal(t, "there"), startMortal(t, "peer")
	register(t, near, "shop", "shop-near", here.Addr, ttlCheck(api.HealthPassing))
	register(t, far, "shop", "shop-far", there.Addr, ttlCheck(api.HealthPassing))
	register(t, east, "shop", "shop-east", peer.Addr, ttlCheck(api.HealthPassing))
	register(t, far, "only-far", "only-far", there.Addr)
	register(t, east, "only-east", "only-east", peer.Addr)
	l := startLictor(t, overTLS(near, "", "", "resolver \"consul\" {\n}\nresolver \"consul\" {\n  datacenter = \"dc2\"\n}\nresolver \"consul\" {\n  peer = \"east\"\n}"))
	l.Ready(t)
	l.answers(t, "/only-far/", "there")
	l.answers(t, "/only-east/", "peer")
	l.answers(t, "/shop/", "here")
	load := startTraffic(t, l.Gateway, "/shop/")
	setCheck(t, near, "shop-near", api.HealthCritical)
	load.answeredSoon(t, soon, "there")
	setCheck(t, far, "shop-far", api.HealthCritical)
	load.answeredSoon(t, soon, "peer")
	far.Kill(t)
	l.told(t, "consul dc2", "consul")
	l.answers(t, "/only-far/", "there")
	if r := resolverStatus(t, l.Status(t), "consul"); r.Error != "" {
		t.Errorf("the agent's own datacenter tells of %q", r.Error)
	}
	setCheck(t, near, "shop-near", api.HealthPassing)
	load.answeredSoon(t, soon, "here")
	deregister(t, east, "only-east")
	l.answers(t, "/only-east/", fmt.Sprint(http.StatusServiceUnavailable))
	load.lost(t)
}
