package policy

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// bloom is a Bloom filter with one hash function: for nearly every key that an
// index does not hold it answers "certainly not", in one memory access. Most
// requests are on no list, and this is what each of their hosts and path prefixes
// costs. The zero bloom holds nothing.
type bloom struct {
	bits  []uint64 // nil until something is added; copies share it
	owned bool     // bits are not part of any published Set yet
	added int      // since bits were made; what is taken out stays in them
}

const bloomBits = 20 // 128 KiB; one key in ten passes in vain at 100,000 keys

func (p *bloom) may(hash uint64) bool {
	return p.bits != nil && p.bits[hash>>(64-bloomBits+6)]>>(hash>>(64-bloomBits)&63)&1 != 0
}

// add enters a key. Without add it does nothing: other keys may share the bit of
// the one that is taken out.
func (p *bloom) add(hash uint64, add bool) {
	if !add {
		return
	}
	switch {
	case p.bits == nil:
		p.bits = make([]uint64, 1<<bloomBits/64)
	case !p.owned:
		p.bits = slices.Clone(p.bits)
	}
	p.owned = true
	p.added++
	p.bits[hash>>(64-bloomBits+6)] |= 1 << (hash >> (64 - bloomBits) & 63)
}

// publish ends the right to change the bits in place. When most that was ever
// added is gone again, the bits are made anew.
func (x *listIndex) publish() {
	if live := x.hosts.Len() + x.paths.Len(); x.seen.added > 4*live+1000 {
		x.seen = bloom{}
		note := func(h uint64) { x.seen.add(h, true) }
		x.hosts.Hashes(note)
		x.paths.Hashes(note)
	}
	x.seen.owned = false
}

// seed makes hashes unforeseeable; it is the same for the whole process, as
// tries outlive Sets.
var seed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(seed, s) }

// Hosts and paths are hashed byte by byte, hosts from the right, so that one
// pass gives the hash of every suffix or prefix. The seeds make hashes
// unforeseeable.
var (
	hostSeed = maphash.String(seed, "host")
	pathSeed = maphash.String(seed, "path")
)

func step(h uint64, c byte) uint64 { return (h ^ uint64(c)) * 0x100000001b3 }

// finish spreads the hash over all bits: tries use the low ones, bloom the
// high ones.
func finish(h uint64) uint64 {
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

func hashHost(s string) uint64 {
	h := hostSeed
	for i := len(s) - 1; i >= 0; i-- {
		h = step(h, s[i])
	}
	return finish(h)
}

func hashPath(s string) uint64 {
	h := pathSeed
	for i := range len(s) {
		h = step(h, s[i])
	}
	return finish(h)
}

func hashURL(host, path uint64) uint64 { return finish(bits.RotateLeft64(host, 31) ^ path) }
