package store

import (
	"bytes"
	"context"
	"time"

	"github.com/hashicorp/consul/api"
)

// done is how much of a write the store shows.
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
func (c *Consul) outcome(ctx context.Context, ops []Op) (is done, index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, outcomeTime)
	defer cancel()
	done, undone := 0, 0
	for _, op := range ops {
		if op.Verb == Verify {
			continue
		}
		pair, _, err := c.client.KV().Get(c.root+keyOf(op.Kind, op.Name), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
		if err != nil {
			return nothing, 0, err
		}
		switch {
		case op.Verb == Delete && pair == nil, op.Verb == Put && pair != nil && bytes.Equal(pair.Value, op.Value):
			if c.changesSomething(op) {
				done++ // else it was so before
			}
		default:
			undone++
		}
		if op.Verb == Put && pair != nil {
			index = max(index, pair.ModifyIndex)
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
func (c *Consul) changesSomething(op Op) bool {
	o, err := c.mirror.get(op.Kind, op.Name)
	there := err == nil && !o.Held || op.Kind == "" && c.mirror.hasMark(op.Name)
	switch op.Verb {
	case Delete:
		return there || !c.Status().Loaded
	case Put:
		return !there || op.Kind != "" && !bytes.Equal(o.Value, op.Value)
	}
	return false
}
