package consul

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// TestServicesOfTheMeshAreNoServicesOfAPath: whatever their kind.
func TestServicesOfTheMeshAreNoServicesOfAPath(t *testing.T) {
	of := func(kind api.ServiceKind, id string, port int) *api.ServiceEntry {
		e := instance(id, port, httpOK)
		e.Service.Kind = kind
		return e
	}
	fake := newFake()
	fake.set("shop", instance("s", 1, httpOK))
	for name, kind := range map[string]api.ServiceKind{
		"shop-sidecar-proxy": api.ServiceKindConnectProxy, "mesh": api.ServiceKindMeshGateway, "term": api.ServiceKindTerminatingGateway,
		"in": api.ServiceKindIngressGateway, "api": api.ServiceKindAPIGateway, "later": "a-kind-of-tomorrow",
	} {
		fake.set(name, of(kind, name, 20000))
	}
	fake.set("mixed", instance("plain", 2, httpOK), of(api.ServiceKindConnectProxy, "sidecar", 3))
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop", "mixed", "mesh")
		b.expect("shop", "s passing", "it is an ordinary service")
		b.expect("mixed", "plain passing", "one of its instances is a sidecar")
		for _, name := range []string{"shop-sidecar-proxy", "mesh", "term", "in", "api", "later"} {
			b.expect(name, "unknown", "it is of the mesh")
		}
		b.pass(10 * time.Second)
		if s := b.Status(); s.Mesh != 6 || s.Watches != 3 {
			t.Errorf("status counts %d services of the mesh and %d watches, want 6 and 3", s.Mesh, s.Watches)
		}
		fake.set("shop", of(api.ServiceKindConnectProxy, "s", 1))
		b.pass(b.cfg.EmptyHold)
		b.expect("shop", "unknown", "it became a sidecar")
	})
}
