package policy

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// TestTrieIsAMap runs random operations on a trie and on maps, with good and
// with hopeless hashes, and looks at old versions again.
func TestTrieIsAMap(t *testing.T) {
	hashes := map[string]func(int) uint64{
		"good hashes":        func(k int) uint64 { return uint64(k) * 0x9e3779b97f4a7c15 },
		"few hashes":         func(k int) uint64 { return uint64(k % 3) },
		"equal but the last": func(k int) uint64 { return uint64(k) << 60 },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			type version struct {
				trie trie[int, int]
				want map[int]int
			}
			var now version
			now.want = map[int]int{}
			var old []version
			for i := range 20_000 {
				k := rng.IntN(300)
				if rng.IntN(5) < 2 {
					now.trie = now.trie.without(hash(k), k)
					delete(now.want, k)
				} else {
					now.trie = now.trie.with(hash(k), k, i)
					now.want[k] = i
				}
				if i%1000 == 0 {
					old = append(old, version{now.trie, maps.Clone(now.want)})
				}
			}
			for i, v := range append(old, now) {
				got := map[int]int{}
				v.trie.all(func(k, x int) bool { got[k] = x; return true })
				if !maps.Equal(got, v.want) || v.trie.len != len(v.want) {
					t.Fatalf("version %d holds %d entries (says %d), want %d", i, len(got), v.trie.len, len(v.want))
				}
				for k := range 300 {
					got, ok := v.trie.get(hash(k), k)
					if want, is := v.want[k]; ok != is || got != want {
						t.Fatalf("version %d: key %d is %d, %v, want %d, %v", i, k, got, ok, want, is)
					}
				}
			}
		})
	}
}
