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

// late is a store whose lists are those of a moment until it is refreshed, as on a node
// that has not seen yet what another one wrote.
type late struct {
	store.Store
	lists map[string][]store.Object // nil: the store's own
}

// freeze has the lists stay as they are.
func (l *late) freeze(t *testing.T, kinds ...string) {
	t.Helper()
	lists := make(map[string][]store.Object)
	for _, kind := range kinds {
		all, err := l.Store.List(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		lists[kind] = all
	}
	l.lists = lists
}

func (l *late) List(ctx context.Context, kind string) ([]store.Object, error) {
	if all, frozen := l.lists[kind]; frozen {
		return all, nil
	}
	return l.Store.List(ctx, kind)
}

func (l *late) Refresh(ctx context.Context) error {
	l.lists = nil
	return l.Store.Refresh(ctx)
}

// A group that another node has just mapped keeps its last plugin, and who has just
// joined it there is not left in it.
func TestWhatAnotherNodeMadeOfAGroupCounts(t *testing.T) { // C2, C35
	l := &late{Store: memory.New(hclog.NewNullLogger())}
	s := admintest.Start(t, l)
	s.Want(t, 201, "POST", "/plugins", `{"id": "auth", "name": "key-auth"}`)
	s.Want(t, 201, "POST", "/groups", `{"name": "auths", "plugins": ["auth"]}`)
	l.freeze(t, "plugin-mappings")
	s.Write(t, "plugin-mappings", "m", `{"api": "shop", "groups": ["auths"]}`)
	s.Want(t, 400, "PATCH", "/groups/auths", `{"plugins": []}`)

	s.Want(t, 201, "POST", "/groups", `{"name": "staff"}`)
	s.Want(t, 201, "POST", "/consumers", `{"name": "ann"}`)
	l.freeze(t, "consumers")
	s.Write(t, "consumers", "bob", `{"name": "bob", "id": "b", "groups": ["staff"]}`)
	s.Want(t, 200, "PATCH", "/groups/staff", `{"consumers": ["ann"]}`)
	if members := s.Want(t, 200, "GET", "/groups/staff", "").Compact(); members != `{"consumers":["ann"],"name":"staff","plugins":[]}` {
		t.Errorf("the group is %s", members)
	}
}
