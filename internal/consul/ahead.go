package consul

import (
	"context"
	"errors"
	"net/http"

	"lictor/internal/crash"
	"lictor/internal/secret"
)

// Asked is a query that was sent before [Client.Get] is called for it. A nil Asked is none.
type Asked struct {
	path   string
	ctx    context.Context // it has the deadline of the query, whoever reads the answer
	cancel context.CancelFunc
	token  secret.Text // by which it was asked

	conn *streamConn
	req  *http.Request
	resp *http.Response
	err  error
}

// errAhead is that a query has to be asked by [Client.Get].
var errAhead = errors.New("it is not asked ahead")

// Ahead sends a query that waits, by a stream, and returns when its answer has begun or
// it has failed. It is for very many that wait: all that takes much stack is done before,
// and by [Client.Get] behind it, aside from the goroutine that waits. It returns nil where
// there is no stream for it.
func (c *Client) Ahead(ctx context.Context, path string, q Query) *Asked {
	a := &Asked{path: path}
	if Aside(func() error { return c.prepare(ctx, a, q) }) != nil {
		a.End()
		return nil
	}
	a.resp, a.err = a.conn.RoundTrip(a.req)
	return a
}

// prepare does all for Ahead but to wait.
func (c *Client) prepare(ctx context.Context, a *Asked, q Query) (err error) {
	if !q.Many || q.Index == 0 || !c.streams.ready(ctx) {
		return errAhead
	}
	a.token = c.current()
	a.ctx, a.cancel = context.WithTimeout(ctx, q.deadline())
	if a.req, err = c.request(a.ctx, http.MethodGet, a.path, q.form(), nil, a.token); err != nil {
		return err
	}
	a.conn, err = c.streams.reserve(a.ctx)
	return err
}

// End ends the query, whether its answer was read or not.
func (a *Asked) End() {
	if a != nil && a.cancel != nil {
		a.cancel()
	}
}

// of returns a if it is the query of a path.
func (a *Asked) of(path string) *Asked {
	if a == nil || a.path != path {
		return nil
	}
	return a
}

// first returns a connection and what came on it, once, and then nil.
func (a *Asked) first() (conn *streamConn, resp *http.Response, err error) {
	if a == nil {
		return nil, nil, nil
	}
	conn, a.conn = a.conn, nil
	return conn, a.resp, a.err
}

type askedKey struct{}

// askedOf returns the query that was sent for a request.
func askedOf(ctx context.Context) *Asked {
	if a, is := ctx.Value(askedKey{}).(*Asked); is {
		return a
	}
	return nil
}

// Aside does some work in a goroutine that ends with it, and returns its error or that of
// a panic. The stack that it takes does not stay with who waits next, perhaps for minutes.
func Aside(work func() error) error {
	done := make(chan error, 1)
	crash.Go("consul answer", func() { done <- Contain(work) }, nil)
	return <-done
}
