package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	blockFor     = 60 * time.Second // house 1.4: an old index may wait out its whole time
	queryTimeout = 10 * time.Second // for an answer that is due at once, and on top of blockFor
	pulseTime    = 3 * time.Second  // for what costs Consul nothing; tried twice
	readTimeout  = 60 * time.Second // for an answer that may be the whole policy
)

var (
	errRights   = errors.New("the token may not read the whole policy")
	errHistory  = errors.New("consul lost its history")
	errUnstable = errors.New("two answers of consul do not agree")
)

// answer is the head of what Consul says about a prefix.
type answer struct {
	index uint64
	empty bool // there are no keys
}

// query is one question to Consul's KV.
type query struct {
	key        string // below policy/
	keys       bool   // names only, those with a slash folded
	index      uint64 // if not 0: block until the prefix has a newer one
	consistent bool
	fresh      bool // on a connection that is made for it
	timeout    time.Duration
}

// ask sends q. The body of the response is nil if the answer is empty, else
// the caller closes it.
func (c *Store) ask(ctx context.Context, q query) (answer, io.ReadCloser, error) {
	form := url.Values{}
	if q.keys {
		form.Set("keys", "")
		form.Set("separator", "/")
	} else {
		form.Set("recurse", "")
	}
	if q.index > 0 {
		form.Set("index", strconv.FormatUint(q.index, 10))
		form.Set("wait", blockFor.String())
	}
	if q.consistent {
		form.Set("consistent", "")
	}
	send := c.client.Do
	if q.fresh {
		send = c.client.DoFresh
	}
	resp, err := c.good(send(ctx, http.MethodGet, "/v1/kv/"+c.root+q.key, form, nil))
	if err != nil {
		return answer{}, nil, err
	}
	c.openByDefault.Store(resp.Header.Get("X-Consul-Default-Acl-Policy") == "allow")
	a := answer{empty: resp.StatusCode == http.StatusNotFound}
	if a.index, err = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64); err != nil {
		err = fmt.Errorf("consul answers %s without an index", resp.Status)
	}
	if resp.Header.Get("X-Consul-Results-Filtered-By-Acls") == "true" {
		err = fmt.Errorf("%w: consul's ACLs filtered %s", errRights, c.root+q.key)
	}
	if err != nil || a.empty {
		_ = resp.Body.Close() // nothing of it is wanted
		return a, nil, err
	}
	c.observe(a.index)
	return a, resp.Body, nil
}

// good turns every answer but 200 and 404 into an error.
func (c *Store) good(resp *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotFound {
		return resp, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // what could be read is shown
	_ = resp.Body.Close()                                 // failed anyway
	err = fmt.Errorf("consul answers %s: %s", resp.Status, strings.TrimSpace(string(text)))
	if resp.StatusCode == http.StatusForbidden {
		err = fmt.Errorf("%w: %w", errRights, err)
	}
	return nil, err
}

// probe asks for the index of a prefix and no content: the kinds are folded to
// their names. With an index it blocks until there is a newer one.
func (c *Store) probe(ctx context.Context, key string, index uint64) (answer, error) {
	timeout := queryTimeout
	if index > 0 {
		timeout += blockFor + blockFor/16
	}
	return c.head(ctx, query{key: key, keys: true, index: index, timeout: timeout})
}

// head asks q and lets the body go.
func (c *Store) head(ctx context.Context, q query) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	a, body, err := c.ask(ctx, q)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		_, err = io.Copy(io.Discard, body)
		err = errors.Join(err, body.Close())
	}
	return a, err
}

// names asks for the names that lie directly below policy/, those of kinds with
// a slash at the end.
func (c *Store) names(ctx context.Context) ([]string, answer, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	a, body, err := c.ask(ctx, query{keys: true, fresh: true})
	if err != nil || body == nil {
		return nil, a, err
	}
	var names []string
	err = json.NewDecoder(body).Decode(&names)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, a, err
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], c.root)
	}
	return names, a, nil
}

// read asks for the content below key and calls fn with each entry, if there is one.
func (c *Store) read(ctx context.Context, q query, fn func(*entry) error) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	a, body, err := c.ask(ctx, q)
	if err != nil || body == nil {
		return a, err
	}
	err = scanEntries(body, fn)
	if err = errors.Join(err, body.Close()); err != nil {
		return answer{}, fmt.Errorf("consul's answer on %s: %w", c.root+q.key, err)
	}
	return a, nil
}

// now returns the index of Consul's whole KV, which only ever grows unless the
// servers lose history. It costs Consul nothing: below a prefix without keys
// there is nothing to walk over.
func (c *Store) now(ctx context.Context) (uint64, error) {
	a, err := c.head(ctx, query{key: ".now/", keys: true, timeout: queryTimeout})
	return a.index, err
}

// pulse is now on a new connection, and soon: a Consul that cannot say this much
// is away, and the sooner that is known, the sooner its return is.
func (c *Store) pulse(ctx context.Context) (uint64, error) {
	q := query{key: ".now/", keys: true, fresh: true, timeout: pulseTime}
	a, err := c.head(ctx, q)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		a, err = c.head(ctx, q)
	}
	return a.index, err
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

// mayRead asks Consul whether the token may read the policy: without the right
// an anonymous client gets the same 404 as if there were none. A Consul that
// allows by default, or is too old to be asked, is trusted; one without ACLs
// would log the question as an error.
func (c *Store) mayRead(ctx context.Context) (bool, error) {
	if c.openByDefault.Load() {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	ask, err := json.Marshal([]map[string]string{{"Resource": "key", "Segment": c.root, "Access": "read"}})
	if err != nil {
		return false, err
	}
	resp, err := c.good(c.client.Do(ctx, http.MethodPost, "/v1/internal/acl/authorize", url.Values{}, ask))
	switch {
	case errors.Is(err, errRights):
		return false, nil
	case err != nil:
		return true, ctx.Err()
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	var verdicts []struct{ Allow bool }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&verdicts); err != nil || len(verdicts) == 0 {
		return true, nil //nolint:nilerr // a Consul that does not know the question
	}
	return verdicts[0].Allow, nil
}
