package memory_test

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/policy/store/memory"
	"lictor/policy/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		return storetest.Fixture{Store: memory.New(hclog.NewNullLogger())}
	})
}
