package app

import (
	"testing"

	"github.com/hashicorp/consul/api"

	consulapi "lictor/internal/consul"
)

// TestOneLictorHasFewerConnectionsToConsulThanAnAgentAccepts: with all parts that
// ask Consul, each of them as busy as it may be.
func TestOneLictorHasFewerConnectionsToConsulThanAnAgentAccepts(t *testing.T) {
	const accepted, documented = 200, 192 // docs/reference/limits.md
	all := consulapi.ProbeConns
	for _, conns := range []int{gatewayConns, registryConns, policyConns, presenceConns} {
		client, err := consulapi.New(consulapi.Config{API: &api.Config{}, Conns: conns})
		if err != nil {
			t.Fatal(err)
		}
		all += client.MostConns()
	}
	if all != documented || all >= accepted {
		t.Errorf("%d connections, want the %d of the documentation, below %d", all, documented, accepted)
	}
}
