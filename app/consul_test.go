package app

import (
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"lictor/config"
	consulapi "lictor/internal/consul"
	"lictor/resolver/consul"
)

// manyConsuls has a block for each of so many datacenters, the agent's own first.
func manyConsuls(blocks int, remote, egress bool) *config.Config {
	cfg := config.Default()
	cfg.Egress.Configured = egress
	for i := range blocks {
		c := new(config.ConsulResolver)
		switch {
		case i > 0 && remote:
			c.Datacenter = fmt.Sprint("dc", i)
		case i > 0:
			c.Peer = fmt.Sprint("peer", i)
		}
		cfg.Resolvers = append(cfg.Resolvers, config.Resolver{Consul: c})
	}
	return cfg
}

// TestOneLictorHasFewerConnectionsToConsulThanAnAgentAccepts: with all parts that
// ask Consul, each of them as busy as it may be.
func TestOneLictorHasFewerConnectionsToConsulThanAnAgentAccepts(t *testing.T) {
	const documented, most = 149, 150 // docs/reference/limits.md; an agent accepts 200
	connections := func(conns int) (most int) {
		for _, scheme := range []string{"http", "https"} {
			client, err := consulapi.New(consulapi.Config{API: &api.Config{Scheme: scheme}, Conns: consulapi.Kept(conns), Streams: streams(conns)})
			if err != nil {
				t.Fatal(err)
			}
			if client.MostConns() > conns {
				t.Errorf("a client that may have %d connections by %s has %d", conns, scheme, client.MostConns())
			}
			if _, err := consul.New(consul.Config{Client: client, Log: hclog.NewNullLogger()}); conns >= consul.LeastConns && err != nil {
				t.Errorf("a resolver over %d connections by %s: %v", conns, scheme, err)
			}
			most = max(most, client.MostConns())
		}
		return most
	}
	if all := catalogueConns + connections(policyConns) + connections(presenceConns) + connections(meshConns) + consulapi.ProbeConns; all != documented {
		t.Errorf("%d connections, want the %d of the documentation", all, documented)
	}
	for _, tt := range []struct {
		name           string
		remote, egress bool
		blocks         int // at most
	}{
		{"datacenters", true, false, 9},
		{"datacenters beside an egress", true, true, 5},
		{"peers", false, false, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for n := 1; n <= tt.blocks; n++ {
				gateway, registry, err := shares(manyConsuls(n, tt.remote, tt.egress))
				if err != nil {
					t.Fatalf("%d blocks: %v", n, err)
				}
				all := n * connections(gateway)
				if tt.egress {
					all += n * connections(registry)
				}
				if tt.remote {
					all += (n - 1) * remoteProbes
				}
				if all > catalogueConns {
					t.Errorf("%d blocks have %d connections", n, all)
				}
			}
			if _, _, err := shares(manyConsuls(tt.blocks+1, tt.remote, tt.egress)); err == nil {
				t.Errorf("%d blocks are not too many", tt.blocks+1)
			}
		})
	}
}
