// Package storetest holds the tests that every form of the policy store must pass.
package storetest

import (
	"testing"
	"time"

	"lictor/policy/store"
)

// Fixture is a store to be tested, empty, and a way past it.
type Fixture struct {
	Store store.Store
	// Put and Remove write a key (kind/name) directly, as an operator does; nil
	// for a store that nobody else can reach.
	Put    func(key, value string)
	Remove func(key string)
	// RemoveAll deletes a kind, or with "" everything, at one stroke.
	RemoveAll func(kind string)
	// Reopen returns the store of another life on the same place and data_dir.
	Reopen func() store.Store
	// Elsewhere returns a store of another place on the same data_dir, empty.
	Elsewhere func() store.Store
}

// Soon is how long a direct write may take to be seen in tests, on a machine that
// is busy with other things; far less than until all is read again anyway.
const Soon = time.Minute

// Run runs all tests, each on a new store.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, test := range []struct {
		name   string
		direct bool // needs Put and Remove
		run    func(t *testing.T, f Fixture)
	}{
		{"the first update is the whole content", false, firstIsWhole},
		{"a write is delivered when it returns", false, readYourWrites},
		{"a write of several objects comes in one piece", false, onePiece},
		{"of twenty who create an object one wins", false, oneWins},
		{"a check that is not met refuses the whole write", false, allOrNothing},
		{"counting up with compare-and-set loses nothing", false, counting},
		{"a write that cannot be is refused by name", false, refused},
		{"get and list show what was written", false, getAndList},
		{"deleting the last object is obeyed", false, deleteLast},
		{"emptying at one stroke needs the mark", false, emptying},
		{"a value of nearly 512 KiB is kept", false, largeValue},
		{"a second watch begins with the whole", false, secondWatch},
		{"a direct write is seen", true, directWrite},
		{"what was deleted one by one is gone", true, directDeletes},
		{"unknown kinds and odd keys are delivered", true, oddKeys},
		{"a kind that vanishes at once is held, in every life", true, kindLost},
		{"what is held is read, changed and deleted like the rest", true, heldObjects},
		{"a restore of what is held brings it back", true, restore},
		{"a deleted object does not come back, whatever vanishes later", true, deletedStaysDeleted},
		{"a write that deletes a kind is obeyed by every node", true, kindDeleted},
		{"a mark for a kind makes its loss meant", true, kindCleared},
		{"a bad value does not replace the last good one, in any life", true, lastGoodValue},
		{"two places on one data_dir do not mix", true, twoPlaces},
		{"refreshing shows what is in the store now", true, refresh},
		{"a direct writer and the store do not lose each other's changes", true, directRace},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := open(t)
			if test.direct && f.Put == nil {
				return // nobody else can reach it
			}
			test.run(t, f)
		})
	}
}

// Write writes or fails the test.
func Write(t *testing.T, s store.Store, ops ...store.Op) uint64 {
	t.Helper()
	index, err := s.Write(t.Context(), ops)
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	return index
}

func put(kind, name, value string) store.Op {
	return store.Op{Kind: kind, Name: name, Value: []byte(value)}
}

func del(kind, name string) store.Op { return store.Op{Kind: kind, Name: name, Verb: store.Delete} }

func at(op store.Op, index uint64) store.Op {
	op.Check.Index = index
	return op
}

func absent(op store.Op) store.Op {
	op.Check.Absent = true
	return op
}

func firstIsWhole(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	if u := w.Updates(); len(u) != 1 || !u[0].Reset || u[0].LastGood || len(u[0].Changes) != 0 {
		t.Fatalf("an empty store delivers %+v", u)
	}
	Write(t, f.Store, put("acls", "a", "1"), put("groups", "g", "2"))
	w.Stop()
	again := Follow(t, f.Store)
	again.Want("acls/a=1 groups/g=2")
	if u := again.Updates(); !u[0].Reset {
		t.Errorf("the first update is %+v", u[0])
	}
	status := f.Store.Status()
	if !status.Loaded || !status.Live || status.LastGood || status.Objects != 2 || status.Held != 0 ||
		status.Problem != "" || time.Since(status.Contact) > time.Minute || status.Kind != f.Store.Kind() {
		t.Errorf("status is %+v", status)
	}
}

func secondWatch(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	if err := f.Store.Watch(t.Context(), func(store.Update) []string { return nil }); err == nil {
		t.Error("two watches at once")
	}
	w.Stop()
	Write(t, f.Store, put("acls", "a", "1"))
	again := Follow(t, f.Store)
	again.Want("acls/a=1")
}
