package access_test

import (
	"testing"

	"lictor/admin/admintest"
)

func TestAccessAPI(t *testing.T) { // table C
	t.Run("memory", func(t *testing.T) { admintest.AccessAPI(t, admintest.Memory) })
	t.Run("file", func(t *testing.T) { admintest.AccessAPI(t, admintest.File) })
}

func TestMediaType(t *testing.T) { // C32
	s := admintest.Memory(t)
	for _, kind := range []string{"text/plain", "application/xml", "application/jsonx", "nonsense/", ""} {
		a := s.Want(t, 415, "POST", "/consumers", `{"name":"a"}`, "Content-Type", kind)
		if a.JSON["reason"] != "unsupported_media_type" {
			t.Errorf("%q: got %s", kind, a.Text)
		}
	}
	s.Want(t, 201, "POST", "/consumers", `{"name":"a"}`, "Content-Type", "application/json; charset=utf-8")
}
