package trie

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
				trie Trie[int, int]
				want map[int]int
			}
			var now version
			now.want = map[int]int{}
			var old []version
			for i := range 20_000 {
				k := rng.IntN(300)
				if rng.IntN(5) < 2 {
					now.trie = now.trie.Without(hash(k), k)
					delete(now.want, k)
				} else {
					now.trie = now.trie.With(hash(k), k, i)
					now.want[k] = i
				}
				if i%1000 == 0 {
					old = append(old, version{now.trie, maps.Clone(now.want)})
				}
			}
			for i, v := range append(old, now) {
				got := map[int]int{}
				v.trie.All(func(k, x int) bool { got[k] = x; return true })
				if !maps.Equal(got, v.want) || v.trie.Len() != len(v.want) {
					t.Fatalf("version %d holds %d entries (says %d), want %d", i, len(got), v.trie.Len(), len(v.want))
				}
				for k := range 300 {
					got, ok := v.trie.Get(hash(k), k)
					if want, is := v.want[k]; ok != is || got != want {
						t.Fatalf("version %d: key %d is %d, %v, want %d, %v", i, k, got, ok, want, is)
					}
				}
			}
		})
	}
}

// FuzzTrie does what its input says, two bytes a step, to a trie and to a map.
// Keys of the low half have one hash, so that they meet.
func FuzzTrie(f *testing.F) {
	f.Add([]byte("a1b2a0"))
	f.Add([]byte{1, 1, 2, 1, 3, 1, 2, 0, 1, 0, 200, 1, 200, 0})
	f.Fuzz(func(t *testing.T, steps []byte) {
		hash := func(k byte) uint64 { return uint64(k) >> 7 * uint64(k) << 57 }
		var now Trie[byte, int]
		want := map[byte]int{}
		for i := 0; i+1 < len(steps); i += 2 {
			k, before := steps[i], now
			if steps[i+1]%2 == 0 {
				now = now.Without(hash(k), k)
				delete(want, k)
			} else {
				now = now.With(hash(k), k, i)
				want[k] = i
			}
			if had, ok := before.Get(hash(k), k); ok && had == i {
				t.Fatalf("step %d changed the trie that was there before it", i)
			}
		}
		got := map[byte]int{}
		now.All(func(k byte, v int) bool { got[k] = v; return true })
		if !maps.Equal(got, want) || now.Len() != len(want) {
			t.Fatalf("got %v, which says that it has %d entries, want %v", got, now.Len(), want)
		}
		for k, v := range want {
			if got, ok := now.Get(hash(k), k); !ok || got != v {
				t.Fatalf("key %d is %d, %v, want %d", k, got, ok, v)
			}
		}
	})
}
