//go:build !race

package access_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"lictor/admin/admintest"
)

// TestLargeBodiesCostLittle sends bodies with far more of something than anybody
// means, which once took minutes, and then four times as much of it: what they
// cost grows with the body, and not with its square.
func TestLargeBodiesCostLittle(t *testing.T) {
	many := func(n int, sep, format string) string {
		var b bytes.Buffer
		for i := range n {
			if i > 0 {
				b.WriteString(sep)
			}
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	s := admintest.Memory(t)
	for _, tt := range []struct {
		name, path string
		body       func(n int) string
	}{
		{"settings", "/plugins", func(n int) string {
			return `{"name":"rate-limiting","config":{"second":1,` + many(n, ",", `"a%d":1`) + `}}`
		}},
		{"settings in a form", "/plugins", func(n int) string {
			return `name=rate-limiting&config.second=1&` + many(n, "&", `config.a%d=1`)
		}},
		{"objects in objects", "/plugins", func(n int) string {
			return `{"name":"rate-limiting","config":` + many(30, "", `{"a%d":`) + `{` + many(n, ",", `"a%d":1`) + `}` + strings.Repeat("}", 31)
		}},
		{"fields", "/plugins", func(n int) string { return `{` + many(n, ",", `"a%d":1`) + `}` }},
		{"dots", "/plugins", func(n int) string { return `{` + many(n, ",", `"a.%d.b":1`) + `}` }},
		{"groups of a consumer", "/consumers", func(n int) string { return `{"name":"x","groups":[` + many(n, ",", `"g%d"`) + `]}` }},
		{"unknown consumers", "/groups", func(n int) string { return `{"name":"g","consumers":[` + many(n, ",", `"c%d"`) + `]}` }},
		{"bad entries", "/blacklist", func(n int) string { return `{"name":"b","entries":[` + many(n, ",", `"bad entry %d"`) + `]}` }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const n = 10_000
			cost := func(n int) uint64 {
				body := tt.body(n)
				return allocated(func() { s.Want(t, 400, "POST", tt.path, body) })
			}
			cost(n) // what is made once
			one, four := cost(n), cost(4*n)
			if t.Logf("%d bytes are allocated, %d for four times as much", one, four); four > 8*one {
				t.Error("the cost grows faster than the body")
			}
		})
	}
}

// allocated returns the bytes that f allocates, whoever does the work.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
