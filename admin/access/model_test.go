//go:build !race

package access_test

import (
	"testing"

	"lictor/admin/admintest"
)

// TestRandomOperations is run on Consul, and longer on files, in integration.
func TestRandomOperations(t *testing.T) {
	t.Run("memory", func(t *testing.T) { admintest.Random(t, admintest.Memory(t), 10_000, 1) })
	t.Run("file", func(t *testing.T) { admintest.Random(t, admintest.File(t), 1_000, 2) })
}
