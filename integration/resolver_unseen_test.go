//go:build integration

package integration_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	consulapi "lictor/internal/consul"
	"lictor/resolver"
	"lictor/resolver/consul"
)

// TestResolverKeepsWhatACLsHide: X6, an answer that is filtered or refused is not believed.
func TestResolverKeepsWhatACLsHide(t *testing.T) {
	mostlyWaiting(t)
	const management = "11111111-2222-3333-4444-555555555555"
	c := startConsul(t, withACL(management))
	for i := range 5 {
		name := fmt.Sprintf("shop-%d", i)
		register(t, c, name, name, "127.0.0.1:9")
	}
	policy, _, err := c.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: "all",
		Rules: `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := c.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := consulapi.New(consulapi.Config{API: &api.Config{Address: c.Addr, Token: token.SecretID}})
	if err != nil {
		t.Fatal(err)
	}
	r := startResolver(t, c, func(cfg *consul.Config) { cfg.Client = client })
	for i := range 5 {
		becomes(t, r, soon, fmt.Sprintf("shop-%d", i), states{fmt.Sprintf("shop-%d", i): resolver.Passing})
	}
	stop := neverWithout(t, r, "shop-0", "shop-1", "shop-2", "shop-3")
	policy.Rules = `service "shop-4" { policy = "read" }`
	if _, _, err := c.Client.ACL().PolicyUpdate(policy, nil); err != nil {
		t.Fatal(err)
	}
	register(t, c, "wakes-up", "wakes-up", "127.0.0.1:9")
	served(t, r, 4*time.Second, "shop-0", "shop-1", "shop-2", "shop-3")
	if _, err := c.Client.ACL().TokenDelete(token.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	register(t, c, "wakes-up-again", "wakes-up", "127.0.0.1:9")
	eventually(t, soon, "status shows the refusal", func() error {
		if e := r.Status().Error; !strings.Contains(e, "403") {
			return errors.New(e)
		}
		return nil
	})
	stop()
}

// TestResolverIgnoresUnknownNames: 2,000 requests for unknown names cost no
// request to Consul, no goroutine and no memory.
func TestResolverIgnoresUnknownNames(t *testing.T) {
	byItself(t)
	c := startConsul(t)
	register(t, c, "shop", "one", "127.0.0.1:9")
	p := startConsulProxy(t, c)
	r := startResolver(t, &consulAgent{Addr: p.Addr}, nil)
	loaded(t, r, "shop")
	goroutines, requests := runtime.NumGoroutine(), p.requests.Load()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 2000 {
		<-r.Want(fmt.Sprintf("nosuch-%d", i))
		<-r.Want("consul")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// The watches and the heartbeat go on meanwhile.
	if n := runtime.NumGoroutine(); n > goroutines+20 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if n := p.requests.Load(); n > requests+20 {
		t.Errorf("%d requests to Consul, %d before", n, requests)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<10 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}
