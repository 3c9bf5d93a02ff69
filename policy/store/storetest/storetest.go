// Package storetest holds the tests that every form of the policy store must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// Soon is how long a direct write may take to be seen in tests.
const Soon = 10 * time.Second

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

// Watch is a running watch and what it delivered.
type Watch struct {
	Stop func() // ends it; done at the end of the test as well

	t       *testing.T
	mu      sync.Mutex
	content map[string]store.Object
	updates []store.Update
}

// Follow starts a watch and waits for its first update.
func Follow(t *testing.T, s store.Store) *Watch {
	t.Helper()
	w := Start(t, s)
	w.Eventually("there is a first update", func(map[string]store.Object) bool { return len(w.updates) > 0 })
	return w
}

// Start starts a watch.
func Start(t *testing.T, s store.Store) *Watch {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{t: t, content: map[string]store.Object{}}
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, w.take) }()
	w.Stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ends with %v", err)
		}
	})
	t.Cleanup(w.Stop)
	return w
}

func (w *Watch) take(u store.Update) (bad []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Reset {
		clear(w.content)
	} else if len(w.updates) == 0 {
		w.t.Error("the first update is no Reset")
	}
	seen := map[string]bool{}
	for _, c := range u.Changes {
		if seen[c.Key()] {
			w.t.Errorf("%s is twice in an update", c.Key())
		}
		seen[c.Key()] = true
		if c.Deleted {
			delete(w.content, c.Key())
			continue
		}
		w.content[c.Key()] = c.Object
		if strings.HasPrefix(string(c.Value), Bad) {
			bad = append(bad, c.Key())
		}
	}
	w.updates = append(w.updates, u)
	return bad
}

// Bad is how a value begins that a watch of these tests takes for one that is
// not good.
const Bad = "bad"

// Content returns what the watch has delivered so far.
func (w *Watch) Content() map[string]store.Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.content)
}

// Updates returns the updates so far.
func (w *Watch) Updates() []store.Update {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.updates)
}

// Text is the content as sorted words key=value, to compare it at a glance.
func (w *Watch) Text() string {
	var words []string
	for key, o := range w.Content() {
		words = append(words, key+"="+string(o.Value))
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// Want waits until the content is as Text says.
func (w *Watch) Want(text string) {
	w.t.Helper()
	for end := time.Now().Add(Soon); w.Text() != text; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("content is %q, want %q", w.Text(), text)
		}
	}
}

// Eventually waits until ok.
func (w *Watch) Eventually(what string, ok func(map[string]store.Object) bool) {
	w.t.Helper()
	for end := time.Now().Add(Soon); ; time.Sleep(2 * time.Millisecond) {
		w.mu.Lock()
		done := ok(w.content)
		w.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("not within %v: %s; content is %.300q", Soon, what, w.Text())
		}
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

func directWrite(t *testing.T, f Fixture) {
	f.Put("acls/a", "0")
	w := Follow(t, f.Store)
	w.Want("acls/a=0")
	f.Put("acls/a", "1")
	w.Want("acls/a=1")
	f.Put("filters/new", "2")
	w.Want("acls/a=1 filters/new=2")
	o, err := f.Store.Get(t.Context(), "acls", "a")
	if err != nil || o.Index != w.Content()["acls/a"].Index {
		t.Errorf("get: %+v, %v; delivered %+v", o, err, w.Content()["acls/a"])
	}
	Write(t, f.Store, at(put("acls", "a", "3"), o.Index))
	f.Remove("filters/new")
	w.Want("acls/a=3")
}

func directDeletes(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	for i := range 30 {
		f.Put(fmt.Sprintf("acls/%d", i), "x")
	}
	w.Eventually("all are there", func(c map[string]store.Object) bool { return len(c) == 30 })
	for i := range 30 {
		f.Remove(fmt.Sprintf("acls/%d", i))
	}
	w.Want("")
}

func oddKeys(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	f.Put("blacklists/typo", "1")
	f.Put("stray", "2")
	f.Put("acls/a/b", "3")
	f.Put("acls/.hidden/x", "5")
	f.Put("acls/a/c", "6")
	f.Put("credentials/Not-hex", "4")
	w.Eventually("they are delivered", func(c map[string]store.Object) bool {
		return string(c["blacklists/typo"].Value) == "1" && string(c["stray"].Value) == "2" &&
			string(c["acls/a/b"].Value) == "3" && string(c["credentials/Not-hex"].Value) == "4"
	})
	if o := w.Content()["acls/a/b"]; o.Kind != "acls" || o.Name != "a/b" {
		t.Errorf("acls/a/b is %+v", o)
	}
	if o := w.Content()["stray"]; o.Kind != "" || o.Name != "stray" {
		t.Errorf("stray is %+v", o)
	}
}

func directRace(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	Write(t, f.Store, put("consumers", "c", "0"))
	var writers sync.WaitGroup
	writers.Go(func() {
		for i := range 20 {
			f.Put("groups/direct", strconv.Itoa(i))
		}
	})
	writers.Go(func() {
		for range 20 {
			if err := increment(t.Context(), f.Store, "consumers", "c"); err != nil {
				t.Error(err)
			}
		}
	})
	writers.Wait()
	w.Want("consumers/c=20 groups/direct=19")
}
