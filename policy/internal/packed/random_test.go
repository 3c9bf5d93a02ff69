//go:build !race

package packed

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// TestMapIsAMap works random batches in, with good and with hopeless hashes, and
// looks at old versions again.
func TestMapIsAMap(t *testing.T) {
	hashes := map[string]func(int) uint64{
		"good hashes":     func(k int) uint64 { return uint64(k+1) * 0x9e3779b97f4a7c15 },
		"few hashes":      func(k int) uint64 { return uint64(k%3) << 62 },
		"one page":        func(k int) uint64 { return uint64(k) << 32 },
		"the last page":   func(k int) uint64 { return ^uint64(k) << 32 },
		"no tag tells":    func(k int) uint64 { return uint64(k) },
		"the first bits ": func(k int) uint64 { return uint64(k) << 50 },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			type version struct {
				m    Map
				want model
			}
			now := version{want: model{}}
			var old []version
			for round := range 60 {
				var b Batch
				if round%10 == 9 {
					odd := byte('0' + rng.IntN(10))
					b.Drop(func(r []byte) bool { return r[len(r)-1] == odd })
					maps.DeleteFunc(now.want, func(r string, _ uint64) bool { return r[len(r)-1] == odd })
				}
				span := 1 + rng.IntN(5000)
				for range rng.IntN(1 + span) {
					k := rng.IntN(span)
					r := fmt.Sprint("record ", k)
					if rng.IntN(5) < 2 {
						b.Remove(hash(k), []byte(r))
						delete(now.want, r)
					} else {
						b.Put(hash(k), []byte(r))
						now.want[r] = hash(k)
					}
				}
				now.m = now.m.With(&b, bytes.Compare)
				if round%5 == 0 {
					now.want.check(t, now.m, fmt.Sprint("round ", round))
					old = append(old, version{now.m, maps.Clone(now.want)})
				}
			}
			for i, v := range append(old, now) {
				v.want.check(t, v.m, fmt.Sprint("version ", i))
			}
		})
	}
}
