package policy

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
)

// seed makes hashes unforeseeable; it is the same for the whole process, as
// tables outlive Sets.
var seed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(seed, s) }

// hashNumber is for numbers that are given out here.
func hashNumber(n uint32) uint64 { return uint64(n) * 0x9e3779b97f4a7c15 }

// Hosts and paths are hashed byte by byte, hosts from the right, so that one
// pass gives the hash of every suffix or prefix, and the names of services without
// their case. The seeds make hashes unforeseeable.
var (
	hostSeed    = maphash.String(seed, "host")
	pathSeed    = maphash.String(seed, "path")
	serviceSeed = maphash.String(seed, "service")
	addrSeeds   = [2]uint64{maphash.String(seed, "address") | 1, maphash.String(seed, "its other half") | 1}
)

func step(h uint64, c byte) uint64 { return (h ^ uint64(c)) * 0x100000001b3 }

// finish spreads the hash over all bits: tries use the low ones, packed maps the
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
	h, slashes := pathSeed, 0
	for i := range len(s) {
		if s[i] == '/' {
			slashes++
		}
		h = stepPath(h, s[i], slashes)
	}
	return finish(h)
}

func hashURL(host, path uint64) uint64 { return finish(bits.RotateLeft64(host, 31) ^ path) }

func hashService(name string) uint64 {
	h := serviceSeed
	for i := range len(name) {
		h = step(h, lower(name[i]))
	}
	return finish(h)
}

// wide is an address as 128 bits, an IPv4 one as it is mapped into IPv6.
type wide struct{ high, low uint64 }

func wideOf(a netip.Addr) wide {
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// hash is that of the prefix of so many bits that an address lies in.
func (w wide) hash(length int) uint64 {
	switch {
	case length <= 64:
		w.high, w.low = w.high&^(1<<(64-length)-1), 0
	default:
		w.low &^= 1<<(128-length) - 1
	}
	high, low := bits.Mul64(w.high^addrSeeds[0], w.low^addrSeeds[1])
	return finish(high ^ low ^ w.low ^ uint64(length)<<56)
}

// wideLength is the length of a prefix in a wide address.
func wideLength(p netip.Prefix) int {
	if p.Addr().Is4() {
		return p.Bits() + 96
	}
	return p.Bits()
}
