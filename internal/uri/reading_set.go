package uri

import "unsafe"

// ReadingSet holds the readings of a path, made once for all who look at them: a
// long and odd path has dozens, and there may be many rules. The zero ReadingSet
// is ready to use.
type ReadingSet struct {
	of    *Path // whose they are; nil = not made yet
	maker Readings
	bytes []byte
	texts []string
	made  int // how often they were made, for tests
}

// keptReadings is how large a buffer is kept for the next request.
const keptReadings = 16 << 10

// Reset forgets them, as the path at the same place may be another one now.
func (x *ReadingSet) Reset() {
	if x.of == nil {
		return
	}
	x.of, x.texts = nil, x.texts[:0]
	if cap(x.bytes) > keptReadings {
		*x = ReadingSet{}
	}
}

// Of returns the readings of p but the canonical one. They are those of the last
// call if that was about the same p, and live until the next about another one.
func (x *ReadingSet) Of(p *Path) []string {
	if x.of == p {
		return x.texts
	}
	x.of, x.bytes, x.texts = p, x.bytes[:0], x.texts[:0]
	x.made++
	x.maker.Of(p)
	for path, ok := x.maker.Next(); ok; path, ok = x.maker.Next() {
		from := len(x.bytes)
		x.bytes = append(x.bytes, path...) // if it grows, earlier texts keep what they point into
		x.texts = append(x.texts, unsafe.String(unsafe.SliceData(x.bytes[from:]), len(path)))
	}
	return x.texts
}
