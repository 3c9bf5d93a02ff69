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
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKept bounds the buffers that wait for the next answer.
const maxKept = 4 << 20

// read asks Consul and hands the bytes of the answer, which parse must not keep,
// to parse. They are not decoded before: each parse looks only at what it needs.
func (r *Resolver) read(ctx context.Context, path string, q query, parse func(text []byte) error) (meta, error) {
	return r.cfg.Client.Get(ctx, path, q, func(body io.Reader) error {
		buf, ok := buffers.Get().(*bytes.Buffer)
		if !ok {
			buf = new(bytes.Buffer)
		}
		buf.Reset()
		defer func() {
			if buf.Cap() <= maxKept {
				buffers.Put(buf)
			}
		}()
		if _, err := buf.ReadFrom(body); err != nil {
			return err
		}
		return contain(func() error { return parse(bytes.TrimSpace(buf.Bytes())) })
	})
}

var errPanic = errors.New("the answer raised a panic")

// contain does the work about one answer. A panic in it is an error of this
// answer and of nothing else.
func contain(work func() error) (err error) {
	err = errPanic
	defer crash.Contain("consul answer", nil)
	return work()
}
