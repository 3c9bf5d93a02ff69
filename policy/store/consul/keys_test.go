package consul_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lictor/policy/store/consul"
	"lictor/policy/store/modeltest"
	"lictor/policy/store/storetest"
)

// among runs test with a store that has read n objects of a kind, of so many bytes
// each, and follows them.
func among(t *testing.T, kind string, n, size int, test func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch)) {
	follow(t, kind, n, size, func(*consul.Store) {}, test)
}

// amongLarge is among for 80 objects that are worth reading one by one. They are small,
// and the store takes them for ten times as large.
func amongLarge(t *testing.T, test func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch)) {
	follow(t, "blacklist", 80, large, (*consul.Store).Tenfold, test)
}

const large = 5000 // bytes of one of those

func follow(t *testing.T, kind string, n, size int, set func(*consul.Store), test func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		for i := range n {
			f.Put(fmt.Sprintf("%s/o%04d", kind, i), strings.Repeat("x", size))
		}
		s := f.open(t, "")
		set(s)
		w := storetest.Start(t, s)
		pass(20 * time.Second)
		f.Put(kind+"/o0000", "the first change asks more")
		pass(20 * time.Second)
		f.requests()
		test(t, f, s, w)
		w.Stop()
	})
}

// putAll writes several keys at once.
func (f *fakeConsul) putAll(value string, keys ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	for _, key := range keys {
		f.set("lictor/policy/"+key, []byte(value))
	}
	f.wake()
}

// What is written while keys are read one by one is seen whole or not at all.
func TestKeysReadOneByOneAreOneState(t *testing.T) {
	const one, other = "blacklist/o0001", "blacklist/o0002"
	for _, test := range []struct {
		name string
		at   func(r *http.Request) bool // when there is another write
	}{
		{"before the keys are compared", func(r *http.Request) bool { return r.URL.Path == "/v1/txn" }},
		{"before the first is read", func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, one) }},
		{"between the two", func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, other) }},
		{"before the end is looked at", func(r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/blacklist") && r.URL.Query().Has("consistent") && r.URL.Query().Has("separator")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			amongLarge(t, func(t *testing.T, f *fakeConsul, _ *consul.Store, w *storetest.Watch) {
				var mu sync.Mutex // two may ask at once
				writes := 3
				f.SetFault(func(r *http.Request) (*http.Response, error) {
					mu.Lock()
					defer mu.Unlock()
					if writes > 0 && test.at(r) {
						writes--
						f.putAll(fmt.Sprint("later ", writes), one, other)
					}
					return nil, nil
				})
				f.putAll("first", one, other)
				pass(5 * time.Second)
				mu.Lock()
				defer mu.Unlock()
				if writes == 3 {
					t.Fatal("nothing was written meanwhile")
				}
				for _, u := range w.Updates()[2:] {
					if len(u.Changes) != 2 || string(u.Changes[0].Value) != string(u.Changes[1].Value) {
						t.Errorf("an update shows half of a write: %d changes, the first to %.20q", len(u.Changes), u.Changes[0].Value)
					}
				}
				if got, want := string(w.Content()[one].Value), fmt.Sprint("later ", writes); got != want {
					t.Errorf("%s is %.20q in the end, want %q", one, got, want)
				}
			})
		})
	}
}

// hiding answers as a Consul does that denies by default, to a token without the right
// to read one key.
func (f *fakeConsul) hiding(hidden string) modeltest.Fault {
	return func(r *http.Request) (*http.Response, error) {
		key, isKV := strings.CutPrefix(r.URL.Path, "/v1/kv/")
		switch q := r.URL.Query(); {
		case r.URL.Path == "/v1/internal/acl/authorize":
			return modeltest.Respond(200, 0, `[{"Allow": false}]`), nil
		case isKV && r.Method == http.MethodGet && !q.Has("index"):
			f.mu.Lock()
			defer f.mu.Unlock()
			pair := f.pairs[hidden]
			delete(f.pairs, hidden)
			index, body := f.look(key, q)
			f.pairs[hidden] = pair
			status := http.StatusOK
			if body == "" {
				status = http.StatusNotFound
			}
			resp := modeltest.Respond(status, index, body)
			resp.Header.Set("X-Consul-Default-Acl-Policy", "deny")
			return resp, nil
		}
		return nil, nil
	}
}

// What is held as the token lost its rights is what Consul has again once it shows the
// key, at the index that it had: nobody wrote it meanwhile.
func TestWhatIsHeldComesBackThoughItsIndexIsTheSame(t *testing.T) { // X6
	amongLarge(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		const held = "blacklist/o0007"
		f.SetFault(f.hiding("lictor/policy/" + held))
		f.Put("blacklist/o0001", "new")
		synctest.Wait()
		if o, there := w.Content()[held]; !there || !o.Held {
			t.Fatalf("it is there: %v, held: %v, want both; %+v", there, o.Held, s.Status())
		}
		f.SetFault(nil)
		f.requests()
		f.Put("blacklist/o0002", "new")
		synctest.Wait()
		if o, there := w.Content()[held]; !there || o.Held || len(o.Value) != large {
			t.Errorf("it is there: %v, held: %v", there, o.Held)
		}
		if asked := f.requests(); slices.ContainsFunc(asked, func(one string) bool { return strings.Contains(one, "recurse") }) {
			t.Errorf("all of it was read: %v", asked)
		}
	})
}

// Who answers the comparison of keys in another way than Consul does hides nothing.
func TestAComparisonThatCannotBeHadIsNotNeeded(t *testing.T) {
	isTxn := func(r *http.Request) bool { return r.URL.Path == "/v1/txn" }
	isKey := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/o0007") }
	isNames := func(r *http.Request) bool { return r.URL.Query().Has("keys") && !r.URL.Query().Has("separator") }
	for _, test := range []struct {
		name   string
		of     func(*http.Request) bool
		answer func() *http.Response
	}{
		{"an agent that takes no PUT", isTxn, func() *http.Response { return modeltest.Respond(403, 0, "Endpoint is read-only") }},
		{"a token that may not", isTxn, func() *http.Response {
			return modeltest.Respond(409, 0, `{"Errors":[{"OpIndex":0,"What":"Permission denied"}]}`)
		}},
		{"a failure", isTxn, func() *http.Response { return modeltest.Respond(500, 0, "no") }},
		{"an empty answer", isTxn, func() *http.Response { return modeltest.Respond(200, 0, `{}`) }},
		{"a conflict without a reason", isTxn, func() *http.Response { return modeltest.Respond(409, 0, `{}`) }},
		{"an operation that was not asked for", isTxn, func() *http.Response { return modeltest.Respond(409, 0, `{"Errors":[{"OpIndex":99}]}`) }},
		{"a page of somebody else", isTxn, func() *http.Response { return modeltest.Respond(200, 0, `<html>`) }},
		{"a key that is not there after all", isKey, func() *http.Response { return modeltest.Respond(404, 20, "") }},
		{"a redirect of a key", isKey, func() *http.Response { return modeltest.Respond(301, 0, "") }},
		{"another key", isKey, func() *http.Response {
			return modeltest.Respond(200, 99, `[{"Key":"lictor/policy/blacklist/o0008","Value":"eA==","ModifyIndex":99}]`)
		}},
		{"names that are none", isNames, func() *http.Response { return modeltest.Respond(200, 1000, `{}`) }},
		{"no names", isNames, func() *http.Response { return modeltest.Respond(404, 1000, "") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			amongLarge(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
				f.SetFault(func(r *http.Request) (*http.Response, error) {
					if test.of(r) && !r.URL.Query().Has("recurse") {
						return test.answer(), nil
					}
					return nil, nil
				})
				f.Put("blacklist/o0007", "new")
				f.Remove("blacklist/o0009")
				pass(30 * time.Second)
				content := w.Content()
				if got := string(content["blacklist/o0007"].Value); got != "new" || len(content) != 79 {
					t.Errorf("it is %.20q, of %d objects; status is %+v", got, len(content), s.Status())
				}
				if got := string(content["blacklist/o0008"].Value); len(got) != large {
					t.Errorf("its neighbour is %.20q", got)
				}
			})
		})
	}
}
