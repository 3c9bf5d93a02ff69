package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	client "lictor/internal/consul"
	"lictor/policy/store"
)

const (
	blockFor     = 60 * time.Second // an old index may wait out its whole time (X6)
	queryTimeout = 10 * time.Second // for a write, or a read of one key
	pulseTime    = 3 * time.Second  // for what costs Consul nothing; tried twice
	readTimeout  = 60 * time.Second // for an answer that may be the whole policy
)

var (
	errRights   = errors.New("the token may not read the whole policy")
	errHistory  = errors.New("consul lost its history")
	errUnstable = errors.New("two answers of consul do not agree")
)

// What is asked about a prefix.
var (
	namesForm   = url.Values{"keys": {""}, "separator": {"/"}} // names only, those with a slash folded
	keysForm    = url.Values{"keys": {""}}                     // every name
	contentForm = url.Values{"recurse": {""}}
	quorumForm  = url.Values{"consistent": {""}} // by a leader that knows all that was written before
)

// ask asks about what lies at or below a key. body is called if there is anything.
func (c *Store) ask(ctx context.Context, key string, q client.Query, body func(io.Reader) error) (client.Meta, error) {
	q.MayBeEmpty, q.Whole = true, true
	m, err := c.client.Get(ctx, "/v1/kv/"+c.root+key, q, body)
	switch client.TroubleOf(m, err) {
	case client.Denied, client.Filtered:
		return m, fmt.Errorf("%w: %s: %w", errRights, c.root+key, err)
	case client.Away:
		return m, err
	}
	c.openByDefault.Store(m.OpenByDefault)
	if !m.Empty {
		c.observe(m.Index)
	}
	return m, nil
}

// probe asks for the index of a prefix and no content: the kinds are folded to
// their names. With an index it blocks until there is a newer one.
func (c *Store) probe(ctx context.Context, key string, q client.Query) (client.Meta, error) {
	q.Form = namesForm
	return c.ask(ctx, key, q, func(body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		return err
	})
}

// names asks for the names that lie directly below policy/, those of kinds with
// a slash at the end.
func (c *Store) names(ctx context.Context) (found []string, m client.Meta, err error) {
	return c.list(ctx, "", client.Query{Form: namesForm, Fresh: true})
}

// list asks for names, and returns them as they are below policy/.
func (c *Store) list(ctx context.Context, key string, q client.Query) (found []string, m client.Meta, err error) {
	m, err = c.ask(ctx, key, q, func(body io.Reader) error {
		return json.NewDecoder(body).Decode(&found)
	})
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], c.root)
	}
	return found, m, err
}

// read asks for the content below key and calls fn with each entry, if there is one.
func (c *Store) read(ctx context.Context, key string, q client.Query, fn func(*entry) error) (client.Meta, error) {
	q.Form, q.Time = contentForm, readTimeout
	return c.ask(ctx, key, q, func(body io.Reader) error {
		if err := scanEntries(body, fn); err != nil {
			return fmt.Errorf("consul's answer on %s: %w", c.root+key, err)
		}
		return nil
	})
}

// one asks for a single object; nil = it is not there.
func (c *Store) one(ctx context.Context, kind, name string, q client.Query) (o *store.Object, err error) {
	var scratch []byte
	_, err = c.ask(ctx, store.Key(kind, name), q, func(body io.Reader) error {
		return scanEntries(body, func(e *entry) error {
			value, err := decodeValue(e.value, &scratch)
			o = &store.Object{Kind: kind, Name: name, Value: append([]byte{}, value...), Index: e.modify, CreateIndex: e.create}
			return err
		})
	})
	return o, err
}

// now returns the index of Consul's whole KV, which only ever grows unless the
// servers lose history. It costs Consul nothing: below a prefix without keys
// there is nothing to walk over.
func (c *Store) now(ctx context.Context) (uint64, error) {
	m, err := c.probe(ctx, ".now/", client.Query{Known: c.newest.Load()})
	return m.Index, err
}

// pulse is now on a new connection, and soon: a Consul that cannot say this much
// is away, and the sooner that is known, the sooner its return is.
func (c *Store) pulse(ctx context.Context) (uint64, error) {
	q := client.Query{Fresh: true, Time: pulseTime, Known: c.newest.Load()}
	m, err := c.probe(ctx, ".now/", q)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		m, err = c.probe(ctx, ".now/", q)
	}
	return m.Index, err
}

// observe notes an index that Consul has reached.
func (c *Store) observe(index uint64) {
	for {
		seen := c.newest.Load()
		if index <= seen || c.newest.CompareAndSwap(seen, index) {
			return
		}
	}
}

// mayRead asks Consul whether the token may read the policy. One without ACLs
// would log the question as an error.
func (c *Store) mayRead(ctx context.Context) (bool, error) {
	if c.openByDefault.Load() {
		return true, nil
	}
	return c.client.MayReadKeys(ctx, c.root)
}
