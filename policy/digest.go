package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// digestSum is the sum of digests modulo 2^256: a hash of a set of objects that
// does not depend on their order, and that a change moves at its own cost.
type digestSum [4]uint64

func (s *digestSum) plus(d [32]byte) {
	carry := uint64(0)
	for i := range s {
		s[i], carry = bits.Add64(s[i], binary.LittleEndian.Uint64(d[8*i:]), carry)
	}
}

func (s *digestSum) minus(d [32]byte) {
	borrow := uint64(0)
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], binary.LittleEndian.Uint64(d[8*i:]), borrow)
	}
}

func (s *digestSum) bytes() []byte {
	b := make([]byte, 0, 32)
	for _, w := range s {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

// digestOf hashes all of an object that decisions depend on: kind, name,
// content, and the order of creation where it settles a tie.
func digestOf(key Key, o *object) [32]byte {
	h := sha256.New()
	h.Write([]byte(key.String()))
	h.Write([]byte{0})
	if key.Kind == KindPlugins || key.Kind == KindAPIs {
		h.Write(binary.BigEndian.AppendUint64(nil, o.created))
	}
	if o.broken {
		h.Write([]byte("broken"))
	}
	content, err := json.Marshal(o.Object)
	if err != nil {
		content = []byte(err.Error()) // only a Config of a type that no decoder makes
	}
	h.Write(content)
	var d [32]byte
	h.Sum(d[:0])
	return d
}
