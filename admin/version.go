package admin

import (
	"net/http"
	"strings"
)

// notFound answers for a path that leads nowhere, and says so where only the
// version is wrong (B1).
func notFound(w http.ResponseWriter, r *http.Request) {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if digits, ok := strings.CutPrefix(first, "v"); ok && digits != "" && digits != "1" && strings.Trim(digits, "0123456789") == "" {
		WriteError(w, http.StatusNotFound, "unsupported_version", "Unsupported API version "+first+"; supported: v1")
		return
	}
	WriteError(w, http.StatusNotFound, "not_found", "There is nothing at this path.")
}
