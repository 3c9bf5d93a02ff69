// Package hexdigits writes numbers as identifiers have them: in lower case, all
// digits. Each request has several, so they are written eight digits at a time.
package hexdigits

import "encoding/binary"

// Append appends the 16 digits of word to dst.
func Append(dst []byte, word uint64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, digits(uint32(word>>32)))
	return binary.BigEndian.AppendUint64(dst, digits(uint32(word)))
}

// digits returns the digits of word as eight bytes, the first one highest.
func digits(word uint32) uint64 {
	const each = 0x0101010101010101
	x := uint64(word)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (x + 6*each) >> 4 & each // 1 in each byte that is 10 or more
	return x + each*'0' + letters*('a'-'0'-10)
}
