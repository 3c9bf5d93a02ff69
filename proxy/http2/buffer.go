package http2

import "sync"

// buffer holds bytes of a body between the reader of the connection and that of
// the stream. It takes as much memory as bytes are in it, and one piece more: a
// piece that was read is given back, however fast others come.
type buffer struct {
	pieces []*piece
	r, w   int // what is read of the first piece, and written of the last one
}

type piece [pieceSize]byte

const pieceSize = maxFrame

var pieces = sync.Pool{New: func() any { return new(piece) }}

// len is how many bytes are in the buffer.
func (b *buffer) len() int {
	if len(b.pieces) == 0 {
		return 0
	}
	return (len(b.pieces)-1)*pieceSize + b.w - b.r
}

// write appends p.
func (b *buffer) write(p []byte) {
	for len(p) > 0 {
		if len(b.pieces) == 0 || b.w == pieceSize {
			b.pieces, b.w = append(b.pieces, pieces.Get().(*piece)), 0
		}
		n := copy(b.pieces[len(b.pieces)-1][b.w:], p)
		b.w += n
		p = p[n:]
	}
}

// read takes bytes out of the first piece, and returns how many.
func (b *buffer) read(p []byte) int {
	if len(b.pieces) == 0 {
		return 0
	}
	end := pieceSize
	if len(b.pieces) == 1 {
		end = b.w
	}
	n := copy(p, b.pieces[0][b.r:end])
	if b.r += n; b.r == end {
		b.drop()
	}
	return n
}

// drop gives the first piece back.
func (b *buffer) drop() {
	pieces.Put(b.pieces[0])
	n := copy(b.pieces, b.pieces[1:]) // at most as many as make a stream's window
	b.pieces[n] = nil
	b.pieces = b.pieces[:n]
	b.r = 0
	if n == 0 {
		b.w = 0
	}
}

// clear drops all that is in the buffer, and returns how many bytes it was.
func (b *buffer) clear() int {
	n := b.len()
	for len(b.pieces) > 0 {
		b.drop()
	}
	return n
}
