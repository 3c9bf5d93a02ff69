//go:build integration

package integration_test

import (
	"fmt"
	"testing"

	consulapi "github.com/hashicorp/consul/api"
)

// TestLictorsTellWhichPolicyTheyHave: each names the others with the policy that they
// have, follows them over a change, and finds out who has another one.
func TestLictorsTellWhichPolicyTheyHave(t *testing.T) {
	together(t)
	c := startConsul(t)
	var both []*lictorProcess
	for range 2 {
		both = append(both, startLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: consulConfig(c, "")}))
	}
	agree := func(want, differ int) func() error {
		return func() error {
			for _, p := range both {
				st := p.Status(t)
				if st.Lictors == nil || len(st.Lictors.Live) != want {
					return fmt.Errorf("the lictors are %+v", st.Lictors)
				}
				self, differs := 0, 0
				for _, l := range st.Lictors.Live {
					if l.Self {
						self++
					}
					if l.Differs != nil {
						differs++
					} else if l.Policy != st.Policy.Hash[:8] {
						return fmt.Errorf("the policy is %s, and the lictors are %+v", st.Policy.Hash, st.Lictors.Live)
					}
				}
				if self != 1 || differs != differ {
					return fmt.Errorf("the lictors are %+v", st.Lictors.Live)
				}
			}
			return nil
		}
	}
	eventually(t, soon, "both have the same policy", agree(2, 0))
	before := both[0].Status(t).Policy.Hash
	kvPut(t, c, "lictor/policy/blacklist/last", "/last\n")
	eventually(t, soon, "both have the next one", func() error {
		if now := both[0].Status(t).Policy.Hash; now == before {
			return fmt.Errorf("the policy is %s", now)
		}
		return agree(2, 0)()
	})
	register(t, c, "lictor", "lictor-elsewhere", "127.0.0.1:9", func(r *consulapi.AgentServiceRegistration) {
		r.Meta = map[string]string{"lictor-policy": "ffffffff"}
	})
	eventually(t, soon, "both see the third one", agree(3, 1))
	deregister(t, c, "lictor-elsewhere")
	eventually(t, soon, "it is forgotten", agree(2, 0))
}
