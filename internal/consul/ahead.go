package consul

import (
	"context"
	"net/http"

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
	conn   *streamConn // by which it was sent ahead; nil = it was not
	err    error       // that came of that
	resp   *http.Response
	taken  bool // what comes is somebody's
	ended  bool
}

// Ahead sends a query that waits, by a stream, and reports whether it did. It is for very
// many that wait: nobody does until the answer has begun, or it has failed. Then answered
// is called, once, for [Client.Get] to read what came; it must not block, and may be called
// before Ahead returns.
func (c *Client) Ahead(ctx context.Context, path string, q Query, answered func(*Asked)) bool {
	if !q.Many || q.Index == 0 {
		return false
	}
	a, err := c.prepare(ctx, path, q)
	if err != nil {
		return false
	}
	req, err := c.requestOf(a, path, q)
	if err == nil && a.way == c.many {
		a.conn, err = c.streams.reserve(a.ctx)
	}
	if a.conn == nil || err != nil {
		a.End()
		return false
	}
	a.conn.Send(req, func(resp *http.Response, err error) {
		a.resp, a.err = resp, err
		answered(a)
	})
	return true
}

// prepare begins the time of a query that may be sent now.
func (c *Client) prepare(ctx context.Context, path string, q Query) (*Asked, error) {
	way, done, err := c.way(ctx, q)
	if err != nil {
		return nil, err
	}
	a := &Asked{by: q.asks(path), way: way, done: done, token: c.current()}
	a.ctx, a.cancel = context.WithTimeout(ctx, q.deadline())
	return a, nil
}

// requestOf makes the request of a query. One that waits does not hold it: it is made again
// for its answer.
func (c *Client) requestOf(a *Asked, path string, q Query) (*http.Request, error) {
	return c.request(a.ctx, http.MethodGet, path, q.form(), nil, a.token)
}

// answer returns what a query is answered, for which it waits.
func (c *Client) answer(a *Asked, path string, q Query) (*http.Response, error) {
	req, err := c.requestOf(a, path, q)
	if err != nil {
		return nil, err
	}
	if a.conn != nil {
		a.resp, err = c.streams.settle(a.conn, req, a.resp, a.err)
		a.resp, err = a.way.judge(req, a.resp, err)
	} else {
		a.resp, err = a.way.RoundTrip(req)
	}
	a.resp, err = c.accept(req, a.token, a.resp, err)
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
