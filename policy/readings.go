package policy

import (
	"unsafe"

	"lictor/uri"
)

// readings are the readings of a path (D22), made once for all rules of a
// decision: a long and odd path has dozens, and there may be many rules that
// want to see them. The zero readings is ready to use.
type readings struct {
	of    *uri.Path // whose they are; nil = not made yet
	maker uri.Readings
	bytes []byte
	texts []string
}

// keptReadings is how large a buffer is kept for the next request.
const keptReadings = 16 << 10

// reset forgets them, as the path at the same place may be another one now.
func (x *readings) reset() {
	if x.of == nil {
		return
	}
	x.of, x.texts = nil, x.texts[:0]
	if cap(x.bytes) > keptReadings {
		*x = readings{}
	}
}

// all returns the readings of p but the canonical one.
func (x *readings) all(p *uri.Path) []string {
	if x.of == p {
		return x.texts
	}
	x.of, x.bytes, x.texts = p, x.bytes[:0], x.texts[:0]
	x.maker.Of(p)
	for path, ok := x.maker.Next(); ok; path, ok = x.maker.Next() {
		from := len(x.bytes)
		x.bytes = append(x.bytes, path...) // if it grows, earlier texts keep what they point into
		x.texts = append(x.texts, unsafe.String(unsafe.SliceData(x.bytes[from:]), len(path)))
	}
	return x.texts
}
