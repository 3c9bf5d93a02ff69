package consul

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	client "lictor/internal/consul"
	"lictor/internal/crash"
)

// query and meta are how Consul is asked and what it says about its answer.
type (
	query = client.Query
	meta  = client.Meta
)

// buffers hold answers while they are read.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxSmall is how much of an answer is read without asking anybody, and of a
// buffer that waits for the next answer. What is larger is read one by one: each
// answer has a bound, and very many watches could add them up.
const maxSmall = 4 << 20

// read asks Consul and hands the bytes of the answer, which parse must not keep,
// to parse. They are not decoded before: each parse looks only at what it needs.
func (r *Resolver) read(ctx context.Context, path string, q query, parse func(text []byte) error) (meta, error) {
	return r.cfg.Client.Get(ctx, path, q, func(body io.Reader) error {
		buf, ok := buffers.Get().(*[]byte)
		if !ok {
			buf = new([]byte)
		}
		defer func() {
			if cap(*buf) <= maxSmall {
				buffers.Put(buf)
			}
		}()
		text, err := appendAll((*buf)[:0], io.LimitReader(body, maxSmall))
		*buf = text
		if err == nil && len(text) == maxSmall {
			r.large.Lock()
			defer r.large.Unlock()
			*buf, err = appendAll(text, body)
		}
		if err != nil {
			return err
		}
		return contain(func() error { return parse(bytes.TrimSpace(*buf)) })
	})
}

// appendAll is io.ReadAll behind what is in b.
func appendAll(b []byte, from io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return b, err
		}
	}
}

var errPanic = errors.New("the answer raised a panic")

// contain does the work about one answer. A panic in it is an error of this
// answer and of nothing else.
func contain(work func() error) (err error) {
	err = errPanic
	defer crash.Contain("consul answer", nil)
	return work()
}
