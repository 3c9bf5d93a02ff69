//go:build !race

package consul

import (
	"hash/maphash"
	"runtime"
	"strings"
	"testing"
)

// TestLongAnswerIsNotHeld: while a long answer comes, a small part of it is in memory.
func TestLongAnswerIsNotHeld(t *testing.T) {
	var entries []entry
	for _, tt := range []struct {
		name, first, more string
		to                reader
	}{
		{"names", "{", `"` + strings.Repeat("s", 32<<10) + `":[],`, &nameList{seed: maphash.MakeSeed()}},
		{"instances", "[", `{"Service":{"Service":"x"},"Checks":[` + strings.Repeat("{},", 10_000) + `{}]},`,
			readEntries(&entries, func(e *entry) bool { return e.Service.Service == "x" })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const long = 16 << 20
			before, come := inUse(), len(tt.first)
			if err := tt.to.feed([]byte(tt.first)); err != nil {
				t.Fatal(err)
			}
			for ; come < long; come += len(tt.more) {
				if err := readPieces(strings.NewReader(tt.more), unended{tt.to}); err != nil {
					t.Fatal(err)
				}
			}
			if held := inUse() - before; held > long/2 {
				t.Errorf("%d MiB are held of it", held>>20)
			}
			runtime.KeepAlive(tt.to)
			runtime.KeepAlive(entries)
		})
	}
}

// unended reads what is not all of an answer.
type unended struct{ reader }

func (unended) end() error { return nil }

// inUse is how many bytes of the heap are in use.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
