package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	client "lictor/internal/consul"
	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// txnLimit is where a single value goes another way than the transaction, whose
// request Consul limits to 512 KiB, values in base64.
const txnLimit = 256 << 10

// waiter is a write, or a refresh, that waits until its keys have been read and
// delivered; done gets nil then, or why that will not happen.
type waiter struct {
	keys []string
	done chan error
}

// Write does all ops or none, in one transaction.
func (c *Store) Write(ctx context.Context, asked []store.Op) (uint64, error) {
	if err := store.CheckOps(asked); err != nil {
		return 0, err
	}
	if err := c.mirror.CheckEmptying(asked); err != nil {
		return 0, err
	}
	ops := c.mirror.WithMarks(asked)
	index, err := c.commit(ctx, ops)
	c.noteRefused(err)
	if err != nil {
		return 0, mirror.AsAsked(err, asked)
	}
	if err := c.await(ctx, ops); err != nil {
		return index, err
	}
	if index == 0 {
		index = c.mirror.Index() // Consul does not tell the index of a deletion
	}
	return index, nil
}

// errMayNotWrite is a lack of rights, which an operator must heal.
var errMayNotWrite = errors.New("the token may not write the policy")

// noteRefused tells when writes begin to be refused for want of rights; one that
// is done ends it.
func (c *Store) noteRefused(err error) {
	refused := errors.Is(err, errMayNotWrite)
	if (err == nil || refused) && c.refused.Swap(refused) != refused && refused {
		c.log.Error("may not write the policy, nothing can be changed through lictor", "key", c.root, "error", err)
	}
}

// commit writes. If the answer is lost, what became of the write is found out
// before anything is said; if nothing did, it is tried once more, which is safe:
// should the first attempt still arrive, it does what the second one did, or
// fails by its conditions.
func (c *Store) commit(ctx context.Context, ops []store.Op) (index uint64, err error) {
	for range 2 {
		attempt, cancel := context.WithTimeout(ctx, queryTimeout)
		index, err = c.try(attempt, ops)
		cancel()
		if !isLost(err) {
			return index, err
		}
		c.log.Warn("consul's answer to a write is lost, finding out what became of it", "error", err)
		done, index, asking := c.outcome(ctx, ops)
		switch {
		case asking != nil:
			return 0, fmt.Errorf("%w: %w", store.ErrUnknown, errors.Join(err, asking))
		case done == wholly:
			return index, nil
		case done == partly: // somebody else wrote since
			return 0, fmt.Errorf("%w: %w", store.ErrUnknown, err)
		}
	}
	return 0, fmt.Errorf("%w: %w", store.ErrUnknown, err)
}

// try is one attempt to write.
func (c *Store) try(ctx context.Context, ops []store.Op) (uint64, error) {
	if len(ops) == 1 && ops[0].Verb == store.Put && len(ops[0].Value) > txnLimit {
		return c.putLarge(ctx, ops[0])
	}
	txn := make(api.TxnOps, len(ops))
	for i, op := range ops {
		txn[i] = &api.TxnOp{KV: c.txnOp(op)}
	}
	resp, err := c.transact(ctx, nil, txn)
	if err != nil {
		return 0, writeError(err)
	}
	if len(resp.Errors) > 0 {
		return 0, txnError(resp.Errors, ops)
	}
	var index uint64
	for _, op := range ops {
		for _, result := range resp.Results {
			if op.Verb == store.Put && result.KV != nil && result.KV.Key == c.root+store.Key(op.Kind, op.Name) {
				index = result.KV.ModifyIndex
			}
		}
	}
	return index, nil
}

// transact sends a transaction. A refused one is an answer with errors; the status
// of any other failure says whether anything can have been written.
func (c *Store) transact(ctx context.Context, form url.Values, txn api.TxnOps) (*api.TxnResponse, error) {
	body, err := json.Marshal(txn)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(ctx, http.MethodPut, "/v1/txn", form, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusConflict {
		return nil, client.ErrorOf(resp)
	}
	var said api.TxnResponse
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return nil, fmt.Errorf("consul's answer to a transaction: %w", err)
	}
	if resp.StatusCode == http.StatusConflict && len(said.Errors) == 0 {
		return nil, &client.StatusError{Code: resp.StatusCode, Text: "a transaction was refused without a reason"}
	}
	return &said, nil
}

func (c *Store) txnOp(op store.Op) *api.KVTxnOp {
	out := &api.KVTxnOp{Key: c.root + store.Key(op.Kind, op.Name), Index: op.Check.Index}
	checked := op.Check != store.Check{}
	switch {
	case op.Verb == store.Put && checked:
		out.Verb, out.Value = api.KVCAS, op.Value // with index 0: only if absent
	case op.Verb == store.Put:
		out.Verb, out.Value = api.KVSet, op.Value
	case op.Check.Absent:
		out.Verb = api.KVCheckNotExists
	case op.Verb == store.Delete && checked:
		out.Verb = api.KVDeleteCAS
	case op.Verb == store.Delete:
		out.Verb = api.KVDelete
	default:
		out.Verb = api.KVCheckIndex
	}
	return out
}

// putLarge writes one value that is too large for a transaction.
func (c *Store) putLarge(ctx context.Context, op store.Op) (uint64, error) {
	form := url.Values{}
	if op.Check != (store.Check{}) {
		form.Set("cas", strconv.FormatUint(op.Check.Index, 10)) // 0 = only if absent
	}
	var done bool
	err := c.client.Send(ctx, http.MethodPut, "/v1/kv/"+c.root+store.Key(op.Kind, op.Name), form, op.Value, func(body io.Reader) error {
		return json.NewDecoder(body).Decode(&done)
	})
	switch {
	case err != nil:
		return 0, writeError(err)
	case !done && op.Check != (store.Check{}):
		return 0, &store.ConflictError{Op: op}
	}
	// Consul does not tell the index of such a write, and by now the value may be another writer's.
	now, err := c.one(ctx, op.Kind, op.Name, client.Query{Consistent: true})
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: its index cannot be read: %w", store.ErrNotSeen, err)
	case now == nil || !bytes.Equal(now.Value, op.Value):
		return 0, fmt.Errorf("%w: another writer has replaced it since", store.ErrNotSeen)
	}
	return now.Index, nil
}

// txnError makes the first error of a refused transaction ours.
func txnError(errs api.TxnErrors, ops []store.Op) error {
	first := errs[0]
	// The text is all that tells a lack of rights from a conflict.
	if strings.Contains(strings.ToLower(first.What), "permission denied") {
		return fmt.Errorf("%w: %w: %s", store.ErrUnavailable, errMayNotWrite, first.What)
	}
	if first.OpIndex < 0 || first.OpIndex >= len(ops) {
		return fmt.Errorf("%w: consul refused a transaction: %s", store.ErrUnavailable, first.What)
	}
	op := ops[first.OpIndex]
	if op.Check == (store.Check{}) {
		return fmt.Errorf("%w: %s: %s", store.ErrInvalid, store.Key(op.Kind, op.Name), first.What)
	}
	return &store.ConflictError{Op: op}
}

// writeError sorts the failures of the way to Consul: nothing was written, or
// the answer is lost, see [isLost].
func writeError(err error) error {
	status, answered := errors.AsType[*client.StatusError](err)
	dial, isDial := errors.AsType[*net.OpError](err)
	switch {
	case answered && status.Code == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %w", store.ErrTooLarge, err)
	case answered && status.Code == http.StatusForbidden:
		return fmt.Errorf("%w: %w: %w", store.ErrUnavailable, errMayNotWrite, err)
	case answered && status.Code < 500, isDial && dial.Op == "dial":
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return &lostError{err}
}

// lostError says that a write may have been done or not.
type lostError struct{ err error }

func (e *lostError) Error() string { return "the answer is lost: " + e.err.Error() }

func (e *lostError) Unwrap() error { return e.err }

func isLost(err error) bool {
	_, lost := errors.AsType[*lostError](err)
	return lost
}

// await returns when the running watch has delivered what ops wrote.
func (c *Store) await(ctx context.Context, ops []store.Op) error {
	var keys []string
	for _, op := range ops {
		if op.Verb != store.Verify {
			keys = append(keys, store.Key(op.Kind, op.Name))
		}
	}
	return c.awaitKeys(ctx, keys)
}

// awaitKeys returns when the running watch has read keys and delivered them.
func (c *Store) awaitKeys(ctx context.Context, keys []string) error {
	w := waiter{keys: keys, done: make(chan error, 1)}
	c.mu.Lock()
	if !c.running || len(w.keys) == 0 {
		c.mu.Unlock()
		return nil
	}
	c.waiters = append(c.waiters, w)
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrNotSeen, ctx.Err())
	}
}

// takeWaiters returns the writes that wait. What is read from now on has what
// they wrote.
func (c *Store) takeWaiters() []waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.waiters
	c.waiters = nil
	return taken
}

// settle tells writes that they have been seen, or lets them wait on after an error.
func (c *Store) settle(waiters []waiter, err error) {
	if err != nil {
		c.mu.Lock()
		c.waiters = append(c.waiters, waiters...)
		c.mu.Unlock()
		return
	}
	for _, w := range waiters {
		w.done <- nil
	}
}

// setRunning notes whether a watch runs. When it ends, nobody sees the writes
// that wait.
func (c *Store) setRunning(running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = running
	if running {
		return
	}
	for _, w := range c.waiters {
		w.done <- fmt.Errorf("%w: the watch has ended", store.ErrNotSeen)
	}
	c.waiters = nil
}
