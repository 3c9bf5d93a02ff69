//go:build integration

package integration_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"lictor/admin/admintest"
)

// onConsul opens servers on one agent, each with a prefix of its own.
func onConsul(agent *consulAgent) admintest.Open {
	var n atomic.Int32
	return func(t *testing.T) *admintest.Server {
		return admintest.Start(t, openStore(t, agent, fmt.Sprintf("admin-%d/", n.Add(1)), ""))
	}
}

func TestMappingAPIOnConsul(t *testing.T) { // table B
	together(t)
	admintest.MappingAPI(t, onConsul(startConsul(t)))
}

func TestAccessAPIOnConsul(t *testing.T) { // table C
	together(t)
	admintest.AccessAPI(t, onConsul(startConsul(t)))
}

// TestUsingAndDeletingAtTheSameMoment has two lictors on one Consul, each of
// which knows what the other one did only a moment later.
func TestUsingAndDeletingAtTheSameMoment(t *testing.T) {
	together(t)
	agent := startConsul(t)
	one := admintest.Start(t, openStore(t, agent, "admin-uses/", ""))
	other := admintest.Start(t, openStore(t, agent, "admin-uses/", ""))
	admintest.Uses(t, one, other, 10)
}

// TestRandomOperations is the long form of what unit tests do in short.
func TestRandomOperations(t *testing.T) {
	together(t)
	t.Run("file", func(t *testing.T) { admintest.Random(t, admintest.File(t), 2_000, 3) })
	t.Run("consul", func(t *testing.T) { admintest.Random(t, onConsul(startConsul(t))(t), 2_000, 4) })
}
