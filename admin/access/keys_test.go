package access_test

import (
	"context"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/admin/admintest"
	"lictor/policy/store"
	"lictor/policy/store/memory"
)

// behind is a store to which something happens just before the first write that
// deletes a consumer.
type behind struct {
	store.Store
	before func()
}

func (b *behind) Write(ctx context.Context, ops []store.Op) (uint64, error) {
	if f := b.before; f != nil && slices.ContainsFunc(ops, func(o store.Op) bool { return o.Kind == "consumers" && o.Verb == store.Delete }) {
		b.before = nil
		f()
	}
	return b.Store.Write(ctx, ops)
}

// A consumer that was written by hand may have no id but its name. A key that is made
// for it while it is deleted would be that of a later consumer of the name.
func TestAKeyMadeWhileItsConsumerIsDeletedIsNobodysLater(t *testing.T) { // C35
	b := &behind{Store: memory.New(hclog.NewNullLogger())}
	s := admintest.Start(t, b)
	s.Write(t, "consumers", "ann", `{"groups": ["staff"]}`)
	b.before = func() { s.Want(t, 201, "POST", "/consumers/ann/key-auth", `{"key": "s3cret"}`) }
	s.Want(t, 204, "DELETE", "/consumers/ann", "")
	s.Want(t, 201, "POST", "/consumers", `{"name": "ann"}`)
	if keys := s.Want(t, 200, "GET", "/consumers/ann/key-auth", "").JSON["data"].([]any); len(keys) != 0 {
		t.Errorf("the new consumer has the keys %v", keys)
	}
}
