package consul

import (
	"context"
	"errors"
	"io"
	"sync"

	client "lictor/internal/consul"
)

// query and meta are how Consul is asked and what it says about its answer.
type (
	query = client.Query
	meta  = client.Meta
)

// reader reads an answer that comes in pieces, none of which it may keep.
type reader interface {
	feed(piece []byte) error
	end() error // there are no more
}

// pieceSize is how much of an answer is here at a time.
const pieceSize = 64 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// maxSmall is how much of an answer is read without asking anybody.
const maxSmall = 4 << 20

// large lets one larger answer be read at a time, whoever asked: what is made of
// each has a bound, and very many watches could add them up.
var large sync.Mutex

// read asks Consul and has the answer read as it comes, by to. Nothing is decoded
// before: each reader looks only at what it needs. It takes a stack of 16 KiB, which a
// watch of very many does not keep, see [client.Aside].
func (r *Resolver) read(ctx context.Context, path string, q query, to reader) (meta, error) {
	return r.cfg.Client.Get(ctx, path, q, func(body io.Reader) error {
		return client.Contain(func() error { return readPieces(body, to) })
	})
}

func readPieces(body io.Reader, to reader) error {
	buf, ok := pieces.Get().(*[pieceSize]byte)
	if !ok {
		buf = new([pieceSize]byte)
	}
	defer pieces.Put(buf)
	for small := maxSmall; ; {
		n, err := body.Read(buf[:])
		if small > 0 && small <= n {
			large.Lock()
			defer large.Unlock()
		}
		small -= n
		if err := to.feed(buf[:n]); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF):
			return to.end()
		case err != nil:
			return err
		}
	}
}
