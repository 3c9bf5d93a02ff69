package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"lictor/policy/store"
)

func readYourWrites(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	var last uint64
	for i := range 20 {
		value := strconv.Itoa(i)
		index := Write(t, f.Store, put("acls", "a", value))
		o := w.Content()["acls/a"]
		if string(o.Value) != value || o.Index != index {
			t.Fatalf("after write %d at %d the content is %q at %d", i, index, o.Value, o.Index)
		}
		if index <= last {
			t.Fatalf("index %d after %d", index, last)
		}
		last = index
	}
	Write(t, f.Store, put("groups", "g", ""), del("acls", "a"))
	if got := w.Text(); got != "groups/g=" {
		t.Errorf("content is %q", got)
	}
	Write(t, f.Store, put("groups", "h", ""))
	Write(t, f.Store, del("groups", "g"))
	if got := w.Text(); got != "groups/h=" {
		t.Errorf("content is %q", got)
	}
}

// onePiece writes a number into several objects at once, through the store and
// by several writers. No update may show two different numbers.
func onePiece(t *testing.T, f Fixture) {
	kinds := []string{"acls", "consumers", "groups", "apis"}
	w := Follow(t, f.Store)
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			for i := range 15 {
				var ops []store.Op
				for _, kind := range kinds {
					ops = append(ops, put(kind, "x", fmt.Sprintf("%d.%d", n, i)))
				}
				if _, err := f.Store.Write(t.Context(), ops); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	WantOnePiece(t, w, "x")
}

// WantOnePiece checks that after every update all objects called name had one value.
func WantOnePiece(t *testing.T, w *Watch, name string) {
	t.Helper()
	content := map[string]string{}
	for i, u := range w.Updates() {
		values := map[string]bool{}
		for _, c := range u.Changes {
			if c.Name == name {
				content[c.Key()] = string(c.Value)
			}
		}
		for _, v := range content {
			values[v] = true
		}
		if len(values) > 1 {
			t.Fatalf("update %d shows a part of a write: %v", i, content)
		}
	}
}

func oneWins(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	var mu sync.Mutex
	var won []string
	var writers sync.WaitGroup
	for n := range 20 {
		writers.Go(func() {
			value := strconv.Itoa(n)
			_, err := f.Store.Write(t.Context(), []store.Op{absent(put("mappings", "example.org", value))})
			conflict, isConflict := errors.AsType[*store.ConflictError](err)
			switch {
			case err == nil:
				mu.Lock()
				won = append(won, value)
				mu.Unlock()
			case !isConflict || conflict.Op.Name != "example.org":
				t.Errorf("loser gets %v", err)
			}
		})
	}
	writers.Wait()
	if len(won) != 1 {
		t.Fatalf("winners: %v", won)
	}
	if got := w.Text(); got != "mappings/example.org="+won[0] {
		t.Errorf("content is %q, %s won", got, won[0])
	}
}

func allOrNothing(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	first := Write(t, f.Store, put("acls", "a", "1"))
	second := Write(t, f.Store, at(put("acls", "a", "2"), first))
	for _, test := range []struct {
		name string
		op   store.Op
	}{
		{"put at an old index", at(put("acls", "a", "3"), first)},
		{"put of what must not exist", absent(put("acls", "a", "3"))},
		{"put at an index of what does not exist", at(put("acls", "none", "3"), second)},
		{"delete at an old index", at(del("acls", "a"), first)},
		{"verify at an old index", at(store.Op{Kind: "acls", Name: "a", Verb: store.Verify}, first)},
		{"verify that it does not exist", absent(store.Op{Kind: "acls", Name: "a", Verb: store.Verify})},
	} {
		_, err := f.Store.Write(t.Context(), []store.Op{put("groups", "g", "x"), test.op})
		conflict, ok := errors.AsType[*store.ConflictError](err)
		if !ok || conflict.Op.Name != test.op.Name || conflict.Error() == "" {
			t.Errorf("%s: %v, want a conflict on %s", test.name, err, test.op.Name)
		}
	}
	if got := w.Text(); got != "acls/a=2" {
		t.Fatalf("content is %q", got)
	}
	Write(t, f.Store, put("groups", "g", "x"), at(store.Op{Kind: "acls", Name: "a", Verb: store.Verify}, second),
		absent(store.Op{Kind: "acls", Name: "none", Verb: store.Verify}))
	Write(t, f.Store, at(del("acls", "a"), second), put("groups", "g", "y"))
	if got := w.Text(); got != "groups/g=y" {
		t.Errorf("content is %q", got)
	}
}

// increment counts an object up with compare-and-set.
func increment(ctx context.Context, s store.Store, kind, name string) error {
	for {
		o, err := s.Get(ctx, kind, name)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(o.Value))
		if err != nil {
			return err
		}
		_, err = s.Write(ctx, []store.Op{at(put(kind, name, strconv.Itoa(n+1)), o.Index)})
		if _, ok := errors.AsType[*store.ConflictError](err); !ok {
			return err
		}
	}
}

func counting(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	Write(t, f.Store, put("consumers", "c", "0"))
	var writers sync.WaitGroup
	for range 5 {
		writers.Go(func() {
			for range 10 {
				if err := increment(t.Context(), f.Store, "consumers", "c"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if got := w.Text(); got != "consumers/c=50" {
		t.Errorf("content is %q", got)
	}
}

func refused(t *testing.T, f Fixture) {
	Follow(t, f.Store)
	var many []store.Op
	for i := range store.MaxOps + 1 {
		many = append(many, put("acls", strconv.Itoa(i), "x"))
	}
	big := strings.Repeat("x", store.MaxBytes/2)
	for _, test := range []struct {
		name string
		ops  []store.Op
		want error
	}{
		{"nothing", nil, store.ErrInvalid},
		{"65 operations", many, store.ErrTooLarge},
		{"a value over 512 KiB", []store.Op{put("acls", "a", big+big+"x")}, store.ErrTooLarge},
		{"two values over 512 KiB", []store.Op{put("acls", "a", big), put("acls", "b", big)}, store.ErrTooLarge},
		{"an object twice", []store.Op{put("acls", "a", "1"), del("acls", "a")}, store.ErrInvalid},
		{"no name", []store.Op{put("acls", "", "1")}, store.ErrInvalid},
		{"no kind", []store.Op{put("", "a", "1")}, store.ErrInvalid},
		{"a slash", []store.Op{put("acls", "a/b", "1")}, store.ErrInvalid},
		{"a way out", []store.Op{put("..", "..", "1")}, store.ErrInvalid},
		{"a dot in front", []store.Op{put("acls", ".a", "1")}, store.ErrInvalid},
		{"a control character", []store.Op{put("acls", "a\x00", "1")}, store.ErrInvalid},
		{"a check that contradicts itself", []store.Op{absent(at(put("acls", "a", "1"), 3))}, store.ErrInvalid},
		{"a verification of nothing", []store.Op{{Kind: "acls", Name: "a", Verb: store.Verify}}, store.ErrInvalid},
	} {
		if _, err := f.Store.Write(t.Context(), test.ops); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if _, err := f.Store.Write(t.Context(), many[:store.MaxOps]); err != nil {
		t.Errorf("64 operations: %v", err)
	}
}

func getAndList(t *testing.T, f Fixture) {
	Follow(t, f.Store)
	Write(t, f.Store, put("mappings", "*.b.example", "2"), put("mappings", "a.example", "1"), put("acls", "a b?#%é", "x"))
	list, err := f.Store.List(t.Context(), "mappings")
	if err != nil || len(list) != 2 || list[0].Name != "*.b.example" || list[1].Name != "a.example" {
		t.Errorf("list is %v, %v", list, err)
	}
	if list, err := f.Store.List(t.Context(), "none"); err != nil || len(list) != 0 {
		t.Errorf("list of no kind is %v, %v", list, err)
	}
	for _, key := range []string{"mappings/a.example", "acls/a b?#%é"} {
		kind, name, _ := strings.Cut(key, "/")
		o, err := f.Store.Get(t.Context(), kind, name)
		if err != nil || o.Key() != key || o.Index == 0 || o.CreateIndex == 0 || len(o.Value) == 0 {
			t.Errorf("get %s: %+v, %v", key, o, err)
		}
	}
	for _, name := range []string{"none", "..", "a/b"} {
		if _, err := f.Store.Get(t.Context(), "mappings", name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get %s: %v", name, err)
		}
	}
}

func deleteLast(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	Write(t, f.Store, put("acls", "a", "1"))
	Write(t, f.Store, del("acls", "a"))
	if got := w.Text(); got != "" {
		t.Errorf("content is %q (A11)", got)
	}
	Write(t, f.Store, del("acls", "a")) // is not there, is no error
}

func emptying(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	Write(t, f.Store, put("acls", "a", "1"), put("acls", "b", "2"))
	if _, err := f.Store.Write(t.Context(), []store.Op{del("acls", "a"), del("acls", "b")}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("emptying without the mark: %v", err)
	}
	if got := w.Text(); got != "acls/a=1 acls/b=2" {
		t.Fatalf("content is %q (X6)", got)
	}
	Write(t, f.Store, put("", store.ClearedName, "on purpose"))
	Write(t, f.Store, del("acls", "a"), del("acls", "b"))
	if got := w.Text(); got != "" {
		t.Errorf("content is %q", got)
	}
}

func largeValue(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	large := strings.Repeat("0123456789abcdef", 500<<10/16)
	index := Write(t, f.Store, absent(put("blacklist", "large", large)))
	if o := w.Content()["blacklist/large"]; string(o.Value) != large || o.Index != index {
		t.Fatalf("%d bytes at %d, want %d at %d", len(o.Value), o.Index, len(large), index)
	}
	if _, err := f.Store.Write(t.Context(), []store.Op{absent(put("blacklist", "large", large))}); err == nil {
		t.Error("created twice")
	}
	Write(t, f.Store, at(put("blacklist", "large", large+"x"), index))
}
