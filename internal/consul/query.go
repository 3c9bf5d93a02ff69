package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Query is how Consul is asked. The zero Query is answered at once.
type Query struct {
	Index      uint64        // wait for something newer; 0 = answer at once
	Wait       time.Duration // how long the answer may take while nothing changes
	Time       time.Duration // for the answer, beyond Wait, and for all of it once it has begun; 0 = 10 s
	Consistent bool          // past every cache, by the leader and with a quorum
	Known      uint64        // an index that Consul has reached: an older answer is asked for again, Consistent; 0 = none is too old
	Fresh      bool          // on a connection that is made for it: what an older one may have become does not matter
	MayBeEmpty bool          // 404 with an index is an answer, as of KV: there is nothing
	Many       bool          // it is one of very many that wait: by a stream, where there are any; then Fresh says nothing, for dead connections are found out
	Whole      bool          // an answer of which ACLs hide a part is an error, see ErrFiltered
	Form       url.Values    // what else to ask by
	Asked      *Asked        // it was sent already, see [Client.Ahead]
}

// Meta is what Consul says about its answer.
type Meta struct {
	Index         uint64
	Empty         bool // there is nothing; see Query.MayBeEmpty
	Filtered      bool // its ACLs hid something
	OpenByDefault bool // it has no ACLs, or they allow by default
}

// Get asks, waits as the query says, and hands the body of a good answer to read,
// which is not called for an empty one. The query has a deadline of its own, for
// a dead connection never answers; Consul adds up to a sixteenth to the time it
// may wait. An answer that has begun waits for nothing any more, and has [Query.Time]
// to end. Without an index a query does not wait. An answer without an index is an
// error, and so is every status but 200: a [*StatusError].
//
// A server that was restarted answers as leader while it still reads its log: as
// if it had lost what it comes to later. So an index below one that is known is
// believed only of a leader that has read all of it, which Consistent asks for.
func (c *Client) Get(ctx context.Context, path string, q Query, read func(io.Reader) error) (Meta, error) {
	m, err := c.get(ctx, path, q, read)
	if errors.Is(err, errOlder) {
		q.Consistent, q.Index = true, 0
		return c.get(ctx, path, q, read)
	}
	return m, err
}

// errOlder is that the index of an answer is below one that is known.
var errOlder = errors.New("consul's answer is older than one that is known")

// errAgain is that a query was not answered, or not to whom Consul is asked as by now. It
// is to be asked again, not to be sent again with what is left of its time: Consul has it
// wait as long as before.
var errAgain = errors.New("consul is to be asked again")

// mostAgain bounds how often that is.
const mostAgain = 100

// get is [Client.Get] that believes no older index but of a consistent answer.
func (c *Client) get(ctx context.Context, path string, q Query, read func(io.Reader) error) (Meta, error) {
	for range mostAgain {
		m, err := c.once(ctx, path, q, read)
		switch {
		case errors.Is(err, errPlain):
			q.Many = false
		case !errors.Is(err, errAgain):
			return m, err
		}
	}
	return Meta{}, errBusy
}

// once is get that asks once.
func (c *Client) once(ctx context.Context, path string, q Query, read func(io.Reader) error) (Meta, error) {
	a := q.Asked.take(path, q)
	if a == nil {
		var err error
		if a, err = c.prepare(ctx, path, q); err != nil {
			return Meta{}, err
		}
	}
	defer a.End()
	resp, err := c.answer(a)
	if err != nil {
		return Meta{}, err
	}
	defer time.AfterFunc(q.time(), a.cancel).Stop()
	empty := q.MayBeEmpty && resp.StatusCode == http.StatusNotFound
	if resp.StatusCode != http.StatusOK && !empty {
		return Meta{}, ErrorOf(resp)
	}
	m := Meta{
		Empty:         empty,
		Filtered:      resp.Header.Get("X-Consul-Results-Filtered-By-Acls") == "true",
		OpenByDefault: resp.Header.Get("X-Consul-Default-Acl-Policy") == "allow",
	}
	if m.Index, err = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64); err != nil {
		return Meta{}, errors.New("consul answers without an index")
	}
	switch {
	case !q.Consistent && WentBack(max(q.Known, q.Index), m.Index):
		return Meta{}, errOlder
	case q.Whole && m.Filtered:
		return m, ErrFiltered
	case m.Empty:
		return m, nil
	}
	if err = read(resp.Body); err != nil && a.ctx.Err() != nil && ctx.Err() == nil {
		err = errUnended
	}
	return m, err
}

// deadline is how long all of a query may take, time what its answer may.
func (q Query) deadline() time.Duration {
	if q.Index == 0 {
		return q.time()
	}
	return q.Wait + q.Wait/16 + q.time()
}

func (q Query) time() time.Duration { return cmp.Or(q.Time, answerTime) }

// errUnended is that an answer began and did not end in time.
var errUnended = fmt.Errorf("consul's answer does not end: %w", context.DeadlineExceeded)

// way returns by which connections a query goes, once it may go. done is to be called
// when its answer is read.
func (c *Client) way(ctx context.Context, q Query) (by *transport, done func(), err error) {
	switch {
	case q.Many && c.streams.ready(ctx):
		done, err = c.streams.turn(ctx, q.Index > 0)
		return c.many, done, err
	case q.Fresh:
		return c.fresh, func() {}, nil
	}
	return c.kept, func() {}, nil
}

// IndexOf is [Client.Get] for what it says about the answer alone.
func (c *Client) IndexOf(ctx context.Context, path string, q Query) (Meta, error) {
	return c.Get(ctx, path, q, func(body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		return err
	})
}

func (q Query) form() url.Values {
	form := url.Values{}
	maps.Copy(form, q.Form)
	if q.Index > 0 {
		form.Set("index", strconv.FormatUint(q.Index, 10))
	}
	if q.Index > 0 && q.Wait > 0 {
		form.Set("wait", strconv.FormatInt(q.Wait.Milliseconds(), 10)+"ms")
	}
	if q.Consistent {
		form.Set("consistent", "")
	}
	return form
}
