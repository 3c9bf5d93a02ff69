package consul

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"

	client "lictor/internal/consul"
)

// query and meta are how Consul is asked and what it says about its answer.
type (
	query = client.Query
	meta  = client.Meta
)

// buffers hold answers while they are read.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxSmall is how much of an answer is read without asking anybody, and of a
// buffer that waits for the next answer.
const maxSmall = 4 << 20

// large lets one larger answer be read at a time, whoever asked: each has a
// bound, and very many watches could add them up.
var large sync.Mutex

// read asks Consul and hands the bytes of the answer, which parse must not keep,
// to parse. They are not decoded before: each parse looks only at what it needs.
func (r *Resolver) read(ctx context.Context, path string, q query, parse func(text []byte) error) (meta, error) {
	return r.cfg.Client.Get(ctx, path, q, func(body io.Reader) error {
		buf, ok := buffers.Get().(*[]byte)
		if !ok {
			buf = new([]byte)
		}
		defer buffers.Put(buf)
		text, err := appendAll((*buf)[:0], io.LimitReader(body, maxSmall))
		*buf = text
		switch {
		case err != nil:
			return err
		case len(text) == maxSmall:
			return readLarge(text, body, parse)
		}
		return client.Contain(func() error { return parse(bytes.TrimSpace(text)) })
	})
}

// readLarge reads the rest of an answer that begins with head, and parses it.
// The buffer is as large as an answer may be, so that it never grows: memory
// that is not written to costs nothing, copies would. It is given back at once.
func readLarge(head []byte, rest io.Reader, parse func(text []byte) error) error {
	large.Lock()
	defer large.Unlock()
	text, err := appendAll(append(make([]byte, 0, client.MaxCatalogue+1), head...), rest)
	if err == nil {
		err = client.Contain(func() error { return parse(bytes.TrimSpace(text)) })
	}
	if len(text) > freeAt {
		text = nil
		debug.FreeOSMemory()
	}
	return err
}

// freeAt is the size of an answer past which its memory goes back to the system
// at once, for a garbage collection of its own.
const freeAt = 16 << 20

// appendAll is io.ReadAll behind what is in b.
func appendAll(b []byte, from io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return b, err
		}
	}
}
