package edit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/admin/edit"
	"lictor/policy"
	"lictor/policy/store"
	"lictor/policy/store/memory"
)

func newPolicy() (*edit.Policy, *memory.Store) {
	s := memory.New(hclog.NewNullLogger())
	return edit.New(s, func() *policy.Set { return nil }), s
}

func group(name string) policy.Key { return policy.Key{Kind: policy.KindGroups, Name: name} }

// meddle writes an object past the change that runs.
func meddle(t *testing.T, s *memory.Store, name, value string) {
	t.Helper()
	if _, err := s.Write(t.Context(), []store.Op{{Kind: "groups", Name: name, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeIsMadeAnew(t *testing.T) { // X7
	for _, c := range []struct {
		name   string
		change func(tx *edit.Txn) error
	}{
		{"when what it writes was changed", func(tx *edit.Txn) error {
			_, err := tx.Put(group("a"), &policy.Group{Plugins: []string{"p"}})
			return err
		}},
		{"when what it only read was changed", func(tx *edit.Txn) error {
			if _, err := tx.Get(group("a")); err != nil {
				return err
			}
			_, err := tx.Put(group("b"), &policy.Group{})
			return err
		}},
		{"when what it deletes was changed", func(tx *edit.Txn) error { return tx.Delete(group("a")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := newPolicy()
				meddle(t, s, "a", "")
				meddle(t, s, "other", "")
				tries := 0
				_, err := p.Do(t.Context(), func(tx *edit.Txn) error {
					if _, err := tx.Get(group("a")); err != nil {
						return err
					}
					if tries++; tries < 4 {
						meddle(t, s, "a", strings.Repeat("#", tries))
					}
					return c.change(tx)
				})
				if err != nil || tries != 4 {
					t.Errorf("%d tries, %v, want 4", tries, err)
				}
			})
		})
	}
}

func TestAChangeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPolicy()
		tries := 0
		busy := func(tx *edit.Txn) error {
			if _, err := tx.Get(group("a")); err != nil {
				return err
			}
			tries++
			meddle(t, s, "a", strings.Repeat("#", tries))
			return tx.Delete(group("a"))
		}
		if _, err := p.Do(t.Context(), busy); !errors.Is(err, edit.ErrBusy) {
			t.Errorf("got %v after %d tries, want ErrBusy", err, tries)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := p.Do(ctx, busy); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
}

func TestNothingIsHalf(t *testing.T) {
	p, s := newPolicy()
	boom := errors.New("boom")
	_, err := p.Do(t.Context(), func(tx *edit.Txn) error {
		if _, err := tx.Put(group("a"), &policy.Group{}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get(t.Context(), "groups", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want nothing written", err)
	}
	if _, err := p.Do(t.Context(), func(tx *edit.Txn) error {
		_, err := tx.Put(group(".bad"), &policy.Group{})
		return err
	}); err == nil {
		t.Error("a bad object was written")
	}
}

func TestAChangeSeesItself(t *testing.T) {
	p, _ := newPolicy()
	result, err := p.Do(t.Context(), func(tx *edit.Txn) error {
		if _, err := tx.Put(group("a"), &policy.Group{Plugins: []string{"p"}}); err != nil {
			return err
		}
		o, err := tx.Get(group("a"))
		if err != nil || o == nil || len(o.Content.(*policy.Group).Plugins) != 1 {
			t.Errorf("got %+v %v", o, err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := p.List(t.Context(), policy.KindGroups)
	if err != nil || len(list) != 1 || list[0].Index != result.Index {
		t.Errorf("got %+v %v, want the index %d", list, err, result.Index)
	}
}

func TestListsAreInTheOrderOfCreation(t *testing.T) {
	p, s := newPolicy()
	for _, name := range []string{"c", "a", "b"} {
		meddle(t, s, name, "")
	}
	meddle(t, s, "c", "plugins = [\"p\"]")
	meddle(t, s, "a", "nonsense")
	list, err := p.List(t.Context(), policy.KindGroups)
	got := ""
	for _, o := range list {
		got += fmt.Sprint(o.Key.Name, o.Problems == nil, " ")
	}
	if err != nil || got != "ctrue afalse btrue " {
		t.Errorf("got %s %v", got, err)
	}
}
