package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lictor/policy/store"
)

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
