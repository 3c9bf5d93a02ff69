package storetest

import (
	"errors"
	"fmt"
	"testing"

	"lictor/policy/store"
)

// putKind writes objects of a kind directly, and one of another kind.
func putKind(f Fixture, kind string, names ...string) {
	for _, name := range names {
		f.Put(kind+"/"+name, name)
	}
	f.Put("groups/g", "g")
}

const keptOfKind = "acls/a=a acls/b=b acls/c=c groups/g=g"

// wantHeld waits until just these are held, as the status and the objects say.
func wantHeld(t *testing.T, s store.Store, w *Watch, keys ...string) {
	t.Helper()
	w.Eventually(fmt.Sprintf("%v are held", keys), func(c map[string]store.Object) bool {
		held := 0
		for _, o := range c {
			if o.Held {
				held++
			}
		}
		return held == len(keys) && s.Status().Held == len(keys) && len(s.Held()) == len(keys) &&
			(s.Status().Problem != "") == (len(keys) > 0)
	})
	for i, o := range s.Held() {
		if o.Key() != keys[i] || o.Why == "" || len(o.Value) == 0 {
			t.Errorf("held is %+v, want %s", o, keys[i])
		}
	}
}

func kindLost(t *testing.T, f Fixture) {
	putKind(f, "acls", "a", "b", "c")
	w := Follow(t, f.Store)
	w.Want(keptOfKind)
	f.RemoveAll("acls")
	wantHeld(t, f.Store, w, "acls/a", "acls/b", "acls/c")
	f.Remove("groups/g") // a single deletion is obeyed all the same
	w.Want("acls/a=a acls/b=b acls/c=c")
	w.Stop()
	again := f.Reopen()
	w = Follow(t, again)
	w.Want("acls/a=a acls/b=b acls/c=c")
	wantHeld(t, again, w, "acls/a", "acls/b", "acls/c")
	f.Put("acls/b", "back")
	w.Want("acls/a=a acls/b=back acls/c=c")
	wantHeld(t, again, w, "acls/a", "acls/c")
	f.Remove("acls/b")
	w.Want("acls/a=a acls/c=c")
}

func heldObjects(t *testing.T, f Fixture) {
	putKind(f, "acls", "a", "b", "c")
	w := Follow(t, f.Store)
	w.Want(keptOfKind)
	f.RemoveAll("acls")
	wantHeld(t, f.Store, w, "acls/a", "acls/b", "acls/c")
	a, err := f.Store.Get(t.Context(), "acls", "a")
	if err != nil || !a.Held || string(a.Value) != "a" || a.Why == "" {
		t.Fatalf("get: %+v, %v", a, err)
	}
	if list, err := f.Store.List(t.Context(), "acls"); err != nil || len(list) != 3 || !list[0].Held {
		t.Errorf("list: %+v, %v", list, err)
	}
	if _, err := f.Store.Write(t.Context(), []store.Op{at(put("acls", "a", "x"), a.Index+1)}); err == nil {
		t.Error("a change at an index that it never had")
	}
	Write(t, f.Store, at(put("acls", "a", "changed"), a.Index), at(store.Op{Kind: "acls", Name: "b", Verb: store.Verify}, f.Store.Held()[1].Index))
	if got := w.Text(); got != "acls/a=changed acls/b=b acls/c=c groups/g=g" {
		t.Errorf("content is %q", got)
	}
	wantHeld(t, f.Store, w, "acls/b", "acls/c")
	b, err := f.Store.Get(t.Context(), "acls", "b")
	if err != nil {
		t.Fatal(err)
	}
	other := f.Reopen() // another node that holds the same
	Write(t, f.Store, at(del("acls", "b"), b.Index))
	Write(t, f.Store, del("acls", "c"))
	if got := w.Text(); got != "acls/a=changed groups/g=g" {
		t.Errorf("content is %q", got)
	}
	wantHeld(t, f.Store, w)
	if _, err := f.Store.Get(t.Context(), "acls", "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get of what was deleted: %v", err)
	}
	w.Stop()
	w = Follow(t, other)
	w.Want("acls/a=changed groups/g=g")
	wantHeld(t, other, w)
}

func restore(t *testing.T, f Fixture) {
	putKind(f, "acls", "a", "b", "c")
	w := Follow(t, f.Store)
	w.Want(keptOfKind)
	f.RemoveAll("")
	wantHeld(t, f.Store, w, "acls/a", "acls/b", "acls/c", "groups/g")
	var ops []store.Op
	for _, o := range f.Store.Held() {
		ops = append(ops, absent(put(o.Kind, o.Name, string(o.Value))))
	}
	Write(t, f.Store, ops...)
	wantHeld(t, f.Store, w)
	if got := w.Text(); got != keptOfKind {
		t.Errorf("content is %q", got)
	}
	w.Stop()
	w = Follow(t, f.Reopen())
	w.Want(keptOfKind)
	if _, err := f.Store.Write(t.Context(), ops[:1]); err == nil {
		t.Error("restored twice")
	}
}

func deletedStaysDeleted(t *testing.T, f Fixture) {
	putKind(f, "acls", "a", "b", "c", "d")
	w := Follow(t, f.Store)
	w.Want("acls/a=a acls/b=b acls/c=c acls/d=d groups/g=g")
	Write(t, f.Store, del("acls", "d"))
	f.RemoveAll("acls")
	wantHeld(t, f.Store, w, "acls/a", "acls/b", "acls/c")
	Write(t, f.Store, del("acls", "c"))
	Write(t, f.Store, put("acls", "c", "new")) // the mark of its deletion goes with this
	f.RemoveAll("")
	wantHeld(t, f.Store, w, "acls/a", "acls/b", "acls/c", "groups/g")
}

func kindDeleted(t *testing.T, f Fixture) {
	putKind(f, "acls", "a", "b", "c")
	w := Follow(t, f.Store)
	w.Want(keptOfKind)
	w.Stop()
	other := f.Reopen()
	// The first node is away while the second one writes.
	w = Follow(t, other)
	w.Want(keptOfKind)
	Write(t, other, del("acls", "a"), del("acls", "b"), del("acls", "c"))
	if got := w.Text(); got != "groups/g=g" {
		t.Errorf("content is %q", got)
	}
	again := Follow(t, f.Store)
	again.Want("groups/g=g")
	wantHeld(t, f.Store, again)
}

func kindCleared(t *testing.T, f Fixture) {
	putKind(f, "acls", "a", "b", "c")
	w := Follow(t, f.Store)
	w.Want(keptOfKind)
	f.RemoveAll("acls")
	wantHeld(t, f.Store, w, "acls/a", "acls/b", "acls/c")
	f.Put(store.ClearedMark("acls", ""), "")
	w.Want("groups/g=g")
	wantHeld(t, f.Store, w)
}

func lastGoodValue(t *testing.T, f Fixture) {
	f.Put("acls/a", "good")
	f.Put("acls/new", "bad from the start")
	w := Follow(t, f.Store)
	w.Want("acls/a=good acls/new=bad from the start")
	f.Put("acls/a", "bad 1")
	w.Want("acls/a=bad 1 acls/new=bad from the start")
	f.Put("acls/a", "bad 2")
	w.Want("acls/a=bad 2 acls/new=bad from the start")
	w.Stop()
	formers := func(s store.Store) map[string]string {
		w := Follow(t, s)
		defer w.Stop()
		found := map[string]string{}
		for _, c := range w.Updates()[0].Changes {
			found[c.Key()] = "none"
			if c.Former != nil {
				found[c.Key()] = string(c.Former.Value)
			}
		}
		return found
	}
	for _, s := range []store.Store{f.Store, f.Reopen(), f.Reopen()} {
		if got := formers(s); got["acls/a"] != "good" || got["acls/new"] != "none" {
			t.Errorf("the last good values are %v", got)
		}
	}
	// While lictor was away the value was spoilt once more, and mended.
	f.Put("acls/a", "bad 3")
	if got := formers(f.Reopen()); got["acls/a"] != "good" {
		t.Errorf("the last good values are %v", got)
	}
	last := f.Reopen()
	w = Follow(t, last)
	f.Put("acls/a", "good again")
	w.Want("acls/a=good again acls/new=bad from the start")
	f.Put("acls/a", "bad 4")
	w.Want("acls/a=bad 4 acls/new=bad from the start")
	w.Stop()
	if got := formers(f.Reopen()); got["acls/a"] != "good again" {
		t.Errorf("the last good values are %v", got)
	}
}

func twoPlaces(t *testing.T, f Fixture) {
	f.Put("acls/a", "one")
	w := Follow(t, f.Store)
	w.Want("acls/a=one")
	other := f.Elsewhere()
	w2 := Follow(t, other)
	Write(t, other, put("acls", "b", "two"))
	w2.Want("acls/b=two")
	w.Stop()
	w2.Stop()
	w = Follow(t, f.Reopen())
	if u := w.Updates()[0]; len(u.Changes) != 1 || u.Changes[0].Key() != "acls/a" {
		t.Errorf("kept is %+v", u)
	}
	w.Want("acls/a=one")
}

func refresh(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	for i := range 5 {
		f.Put("acls/a", fmt.Sprint(i))
		if err := f.Store.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := w.Text(), fmt.Sprintf("acls/a=%d", i); got != want {
			t.Errorf("content is %q, want %q", got, want)
		}
	}
}
