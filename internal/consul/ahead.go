package consul

import (
	"context"
	"net/http"

	"lictor/internal/crash"
	"lictor/internal/secret"
)

// Asked is a query on its way, of which one [Client.Get] reads the answer. A nil Asked is
// none.
type Asked struct {
	by     string          // which it asks, see [Query.asks]
	ctx    context.Context // it has the deadline of the query, whoever reads the answer
	cancel context.CancelFunc
	way    *transport
	done   func()      // gives back its turn
	token  secret.Text // by which it is asked
	req    *http.Request
	ahead  bool  // it was sent, and what follows is what came of it
	err    error // of that alone
	resp   *http.Response
	taken  bool // what comes is somebody's
	ended  bool
}

// Ahead sends a query that waits, by a stream, and returns when its answer has begun or
// it has failed. It is for very many that wait: all that takes much stack is done before,
// and by [Client.Get] behind it, aside from the goroutine that waits. It returns nil where
// there is no stream for it.
func (c *Client) Ahead(ctx context.Context, path string, q Query) *Asked {
	if !q.Many || q.Index == 0 {
		return nil
	}
	var a *Asked
	var conn *streamConn
	err := Aside(func() (err error) {
		if a, err = c.prepare(ctx, path, q); err != nil {
			return err
		}
		if a.way != c.many {
			return errPlain
		}
		conn, err = c.streams.reserve(a.ctx)
		return err
	})
	if err != nil {
		a.End()
		return nil
	}
	a.ahead, a.err = true, Contain(func() (err error) {
		a.resp, err = c.streams.roundTrip(conn, a.req)
		return err
	})
	return a
}

// prepare makes the request of a query that may be sent now, and begins its time.
func (c *Client) prepare(ctx context.Context, path string, q Query) (*Asked, error) {
	way, done, err := c.way(ctx, q)
	if err != nil {
		return nil, err
	}
	a := &Asked{by: q.asks(path), way: way, done: done, token: c.current()}
	a.ctx, a.cancel = context.WithTimeout(ctx, q.deadline())
	if a.req, err = c.request(a.ctx, http.MethodGet, path, q.form(), nil, a.token); err != nil {
		a.End()
		return nil, err
	}
	return a, nil
}

// answer returns what a query is answered, for which it waits.
func (c *Client) answer(a *Asked) (_ *http.Response, err error) {
	if a.ahead {
		a.resp, err = a.way.judge(a.req, a.resp, a.err)
	} else {
		a.resp, err = a.way.RoundTrip(a.req)
	}
	a.resp, err = c.accept(a.req, a.token, a.resp, err)
	return a.resp, err
}

// asks returns what is asked by a query.
func (q Query) asks(path string) string { return path + "?" + q.form().Encode() }

// take returns a if it is what a query asks, and nobody took it before.
func (a *Asked) take(path string, q Query) *Asked {
	if a == nil || a.taken || a.by != q.asks(path) {
		return nil
	}
	a.taken = true
	return a
}

// End ends a query, whether its answer was read or not.
func (a *Asked) End() {
	if a == nil || a.ended {
		return
	}
	a.ended = true
	if a.resp != nil {
		_ = a.resp.Body.Close() // else what came of it takes room of its connection for good
	}
	a.cancel()
	a.done()
}

// Aside does some work in a goroutine that ends with it, and returns its error or that of
// a panic. The stack that it takes does not stay with who waits next, perhaps for minutes.
func Aside(work func() error) error {
	done := make(chan error, 1)
	crash.Go("consul answer", func() { done <- Contain(work) }, nil)
	return <-done
}
