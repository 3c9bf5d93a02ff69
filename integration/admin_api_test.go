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
	admintest.MappingAPI(t, onConsul(startConsul(t)))
}

func TestAccessAPIOnConsul(t *testing.T) { // table C
	admintest.AccessAPI(t, onConsul(startConsul(t)))
}
