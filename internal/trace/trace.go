// Package trace is where a request stands in a distributed trace, by W3C Trace
// Context: what its client says, which traces are kept, and what the next one is
// told. It knows neither a network nor a clock.
package trace

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"math/rand/v2"

	"lictor/internal/hexdigits"
)

// ID is the name of a trace. The zero ID is none (Trace Context 3.2.2.3).
type ID [16]byte

// SpanID is the name of a span in its trace. The zero SpanID is none.
type SpanID [8]byte

// Context is what a traceparent says.
type Context struct {
	Trace   ID
	Parent  SpanID // the span that the request came from
	Sampled bool   // whoever sent it keeps the trace
}

// size of a traceparent of version 00, and what stands where in it.
const (
	size      = 55
	versionAt = 0
	traceAt   = 3
	parentAt  = 36
	flagsAt   = 53
)

// Parse reads the value of a traceparent (Trace Context 3.2). It is not ok if it
// does not follow the grammar: then nothing of the trace is to be believed.
func Parse(value string) (c Context, ok bool) {
	var version, flags [1]byte
	if len(value) < size || value[traceAt-1] != '-' || value[parentAt-1] != '-' || value[flagsAt-1] != '-' {
		return Context{}, false
	}
	ok = read(version[:], value[versionAt:]) && read(c.Trace[:], value[traceAt:]) && read(c.Parent[:], value[parentAt:]) && read(flags[:], value[flagsAt:])
	more := len(value) > size // of a version to come, behind another dash
	switch {
	case !ok, version[0] == 0xff, c.Trace == ID{}, c.Parent == SpanID{}, more && (version[0] == 0 || value[size] != '-'):
		return Context{}, false
	}
	c.Sampled = flags[0]&1 != 0
	return c, true
}

// read fills dst from as many digits of s as it takes. They are in lower case.
func read(dst []byte, s string) bool {
	for i := range dst {
		high, low := digit(s[2*i]), digit(s[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

// digit is the value of a hexadecimal digit, more than 15 of anything else.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// Share is a part of all traces. The zero Share is none of them.
type Share struct{ below uint64 }

// ShareOf is the share of a number from 0 (none) to 1 (all).
func ShareOf(part float64) Share {
	const all = 1 << 63
	if part >= 1 {
		return Share{all}
	}
	return Share{uint64(max(part, 0) * all)}
}

// Has reports whether the trace called id is in the share. It is the reckoning of
// OpenTelemetry's TraceIDRatioBased, so that all who go by the id agree.
func (s Share) Has(id ID) bool { return binary.BigEndian.Uint64(id[8:])>>1 < s.below }

// seed is of this process alone: who chooses an id cannot know what it comes to.
var seed = maphash.MakeSeed()

// HasStranger is Has for an id that somebody chose who is not to decide which
// traces are kept: nobody outside the process can tell what comes of an id, but it
// is the same as long as the process lives.
func (s Share) HasStranger(id ID) bool { return maphash.Bytes(seed, id[:])>>1 < s.below }

// Place is where a request stands in its trace, and how lictor's own spans are
// called in it.
type Place struct {
	Trace   ID
	Parent  SpanID // of the span that the request came from; zero if the trace begins here
	Sampled bool   // the spans are kept whatever becomes of the request
	first   uint64 // of the spans' names: each further one is one more
}

// Join goes on with the trace of c.
func (p *Place) Join(c *Context, sampled bool) {
	*p = Place{Trace: c.Trace, Parent: c.Parent, Sampled: sampled, first: rand.Uint64()}
}

// Begin begins a trace, which is kept if it is in the share.
func (p *Place) Begin(kept Share) {
	*p = Place{first: rand.Uint64()}
	binary.BigEndian.PutUint64(p.Trace[:], rand.Uint64()|1) // it is never zero
	binary.BigEndian.PutUint64(p.Trace[8:], rand.Uint64())
	p.Sampled = kept.Has(p.Trace)
}

// Span names the spans: 0 that of the request, 1 that of the first attempt, and so on.
func (p *Place) Span(n int) (id SpanID) {
	binary.BigEndian.PutUint64(id[:], p.name(n))
	return id
}

func (p *Place) name(n int) uint64 {
	name := p.first + uint64(n)
	if name == 0 {
		name = 1 << 63 // 2^63 attempts away from all others
	}
	return name
}

// AppendParent appends the value of a traceparent that names the span n.
func (p *Place) AppendParent(dst []byte, n int) []byte {
	flags := byte('0')
	if p.Sampled {
		flags = '1'
	}
	dst = p.Trace.Append(append(dst, "00-"...))
	dst = hexdigits.Append(append(dst, '-'), p.name(n))
	return append(dst, '-', '0', flags)
}

// Append appends the 32 digits of the id.
func (id *ID) Append(dst []byte) []byte {
	dst = hexdigits.Append(dst, binary.BigEndian.Uint64(id[:8]))
	return hexdigits.Append(dst, binary.BigEndian.Uint64(id[8:]))
}

// String returns the 32 digits of the id.
func (id ID) String() string { return hex.EncodeToString(id[:]) }
