package mapping_test

import (
	"testing"

	"lictor/admin/admintest"
)

func TestMappingAPI(t *testing.T) { // table B
	t.Run("memory", func(t *testing.T) { admintest.MappingAPI(t, admintest.Memory) })
	t.Run("file", func(t *testing.T) { admintest.MappingAPI(t, admintest.File) })
}
