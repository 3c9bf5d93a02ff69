//go:build integration

package integration_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/resolver"
)

// TestAWatchForEachServiceSurvivesTheAgent: over HTTP/2 hundreds of watches end at once,
// with their few connections, and Consul comes back without its memory.
func TestAWatchForEachServiceSurvivesTheAgent(t *testing.T) {
	together(t)
	const all = 400
	agent := startConsul(t, withTLS(t))
	fillServices(t, agent, all)
	secured := agent.Secured()
	r := startResolver(t, secured, nil)
	until(t, "all services are known", func() bool { return r.Catalog().Len() >= all })
	for i := range all {
		r.Want(many(i))
	}
	for i := range all {
		loaded(t, r, many(i))
	}
	until(t, "each has a watch", func() bool { return r.Status().Watches == all+1 })
	for round := range 2 {
		agent.Kill(t)
		until(t, "it is noticed", func() bool { return r.Status().Error != "" })
		if s := r.Catalog().Lookup(many(7)); s == nil || !s.Usable() {
			t.Errorf("what was known is not served while consul is away: %+v", s)
		}
		agent.Start(t)
		for node := range 10 {
			putNode(t, agent, node)
		}
		port := 9100 + round
		var ops api.TxnOps
		for i := range all {
			ops = append(ops, instanceOps(many(i), 0, 3, "passing", port)...)
		}
		for part := range slices.Chunk(ops, 126) {
			commit(t, agent, part)
		}
		began := time.Now()
		until(t, "each is known as it is now", func() bool {
			for i := range all {
				if s := r.Catalog().Lookup(many(i)); s == nil || !at(s, port) {
					return false
				}
			}
			return true
		})
		t.Logf("%d services are known as they are now after %v, over %d connections", all, time.Since(began).Round(time.Millisecond), connsTo(t, secured))
		if n := connsTo(t, secured); n > streamConns {
			t.Errorf("%d connections, want at most %d", n, streamConns)
		}
	}
}

// at reports whether all instances are at a port.
func at(s *resolver.Service, port int) bool {
	for _, i := range s.Instances {
		if i.Address[len(i.Address)-5:] != fmt.Sprint(":", port) {
			return false
		}
	}
	return len(s.Instances) == 3
}
