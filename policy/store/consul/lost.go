package consul

import (
	"bytes"
	"context"
	"time"

	client "lictor/internal/consul"
	"lictor/policy/store"
)

// done is how much of a write Consul shows afterwards.
type done int

const (
	nothing done = iota
	partly
	wholly
)

// outcomeTime is how long it may take to find out what became of a write.
const outcomeTime = 8 * time.Second

// outcome reads what a write would have changed, past every cache, and returns
// how much of it is there and the index of what was put.
func (c *Store) outcome(ctx context.Context, ops []store.Op) (shown done, index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, outcomeTime)
	defer cancel()
	done, undone := 0, 0
	for _, op := range ops {
		if op.Verb == store.Verify {
			continue
		}
		is, err := c.one(ctx, op.Kind, op.Name, client.Query{Consistent: true})
		if err != nil {
			return nothing, 0, err
		}
		switch {
		case op.Verb == store.Delete && is == nil, op.Verb == store.Put && is != nil && bytes.Equal(is.Value, op.Value):
			if c.changesSomething(op) {
				done++ // else it was so before
			}
		default:
			undone++
		}
		if op.Verb == store.Put && is != nil {
			index = max(index, is.Index)
		}
	}
	switch {
	case undone == 0:
		return wholly, index, nil
	case done == 0:
		return nothing, 0, nil
	}
	return partly, 0, nil
}

// changesSomething reports whether op, if it is done, leaves a trace: it is not
// what this node knew before.
func (c *Store) changesSomething(op store.Op) bool {
	o, err := c.mirror.Get(op.Kind, op.Name)
	there := err == nil && !o.Held || op.Kind == "" && c.mirror.HasMark(op.Name)
	switch op.Verb {
	case store.Delete:
		return there || !c.Status().Loaded
	case store.Put:
		return !there || op.Kind != "" && !bytes.Equal(o.Value, op.Value)
	}
	return false
}
