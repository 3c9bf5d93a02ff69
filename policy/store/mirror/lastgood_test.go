package mirror

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/policy/store"
)

// TestKeepingAllocatesLittle holds that a large content is written to the file
// without being in memory once more, and read again as it was.
func TestKeepingAllocatesLittle(t *testing.T) {
	const objects, size = 32, 1 << 20
	l := NewLastGood(t.TempDir(), "here", "here")
	m := New(store.KindMemory, hclog.NewNullLogger(), l)
	var all []store.Change
	for i := range objects {
		all = append(all, store.Change{Object: store.Object{Kind: "blacklist", Name: fmt.Sprint(i), Value: make([]byte, size), Index: 7, CreateIndex: 3}})
	}
	m.Publish(store.Update{Changes: all, Index: 9})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := l.save(m); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > size {
		t.Errorf("%d bytes were allocated to keep %d", n, objects*size)
	}
	content, err := l.load()
	if err != nil || len(content.changes) != objects || content.index != 9 || len(content.changes[0].Value) != size {
		t.Errorf("%d objects were read, %v", len(content.changes), err)
	}
}
