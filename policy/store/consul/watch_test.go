package consul_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lictor/policy/store"
	"lictor/policy/store/consul"
	"lictor/policy/store/modeltest"
	"lictor/policy/store/storetest"
)

// layouts are the ways in which a store reads what changed.
var layouts = []struct {
	name   string
	choose func(*consul.Store)
}{
	{"split=false", func(*consul.Store) {}},
	{"split=true", (*consul.Store).SplitAlways},
	{"by keys", (*consul.Store).ByKeysAlways},
}

// bubble runs test with a store on a fake Consul that has two objects, with a
// watch that has read them, in all layouts.
func bubble(t *testing.T, test func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch)) {
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake()
				fake.Put("acls/a", "1")
				fake.Put("groups/g", "2")
				s := fake.open(t, "")
				layout.choose(s)
				w := storetest.Start(t, s)
				synctest.Wait()
				if got := w.Text(); got != "acls/a=1 groups/g=2" {
					t.Fatalf("content is %q", got)
				}
				fake.requests()
				test(t, fake, s, w)
				w.Stop()
			})
		})
	}
}

// pass lets time pass and everything that is due be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantText(t *testing.T, w *storetest.Watch, want string) {
	t.Helper()
	if got := w.Text(); got != want {
		t.Fatalf("content is %q, want %q", got, want)
	}
}

func TestSingleChangesPassAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, _ *consul.Store, w *storetest.Watch) {
		for i := range 5 {
			f.Put("acls/a", fmt.Sprint("new", i))
			synctest.Wait() // no time passes
			wantText(t, w, fmt.Sprintf("acls/a=new%d groups/g=2", i))
			pass(time.Second)
		}
	})
}

func TestAStreamOfChangesIsReadTogether(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, _ *consul.Store, w *storetest.Watch) {
		for i := range 2000 {
			f.Put("acls/a", fmt.Sprint(i))
			pass(5 * time.Millisecond)
		}
		pass(time.Second)
		wantText(t, w, "acls/a=1999 groups/g=2")
		if n := len(w.Updates()); n > 300 {
			t.Errorf("%d updates in 10 s", n)
		}
	})
}

func TestAnIdleStoreAsksLittle(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		pass(6 * time.Second) // one look at the whole
		f.requests()
		pass(time.Minute)
		for _, asked := range f.requests() {
			wait := strings.Contains(asked, "wait=60000ms") && strings.Contains(asked, "index=")
			if !wait && !strings.HasPrefix(asked, ".now/") {
				t.Errorf("asked %s", asked)
			}
		}
		if n := len(w.Updates()); n != 1 {
			t.Errorf("%d updates of nothing", n)
		}
		if age := time.Since(s.Status().Contact); age > 10*time.Second {
			t.Errorf("the last contact is %v ago", age)
		}
	})
}

func TestEverythingIsReadAgainNowAndThen(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, _ *consul.Store, w *storetest.Watch) {
		pass(consul.RereadEvery + time.Second)
		if asked := f.requests(); !slices.Contains(asked, "?consistent=&recurse=") {
			t.Error("nothing was read again (B50)")
		}
		if n := len(w.Updates()); n != 1 {
			t.Errorf("%d updates of nothing", n)
		}
	})
}

func TestTroubleKeepsThePolicyAndPasses(t *testing.T) {
	isBlocking := func(r *http.Request) bool { return r.URL.Query().Has("index") }
	for _, test := range []struct {
		name    string
		problem string
		fault   func(*http.Request) (*http.Response, error)
	}{
		{"refused", "refused", func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }},
		{"no leader", "No cluster leader", func(*http.Request) (*http.Response, error) {
			return modeltest.Respond(500, 0, "No cluster leader"), nil
		}},
		{"no rights", "may not read", func(*http.Request) (*http.Response, error) {
			return modeltest.Respond(403, 0, "Permission denied"), nil
		}},
		{"filtered", "may not read", func(r *http.Request) (*http.Response, error) {
			resp := modeltest.Respond(404, 20, "")
			resp.Header.Set("X-Consul-Results-Filtered-By-ACLs", "true")
			return resp, nil
		}},
		{"a page of somebody else", "without an index", func(*http.Request) (*http.Response, error) { return modeltest.Respond(404, 0, "<html>"), nil }},
		{"half an answer", "ends within", func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Has("recurse") {
				return modeltest.Respond(200, 20, `[{"Key":"lictor/policy/acls/a","Val`), nil
			}
			return modeltest.Respond(200, 20, "[]"), nil
		}},
		{"no answer", "deadline exceeded", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
				f.SetFault(func(r *http.Request) (*http.Response, error) {
					if isBlocking(r) && test.name != "no answer" {
						return nil, errors.New("connection reset")
					}
					return test.fault(r)
				})
				f.Put("acls/a", "unseen")
				pass(5 * time.Minute)
				wantText(t, w, "acls/a=1 groups/g=2")
				status := s.Status()
				if status.Live || !strings.Contains(status.Problem, test.problem) || time.Since(status.Contact) < 4*time.Minute {
					t.Errorf("status is %+v", status)
				}
				if n := len(f.requests()); n > 120 {
					t.Errorf("%d requests in 5 minutes of trouble", n)
				}
				f.SetFault(nil)
				pass(time.Minute) // a query that hangs, and the longest pause
				wantText(t, w, "acls/a=unseen groups/g=2")
				if status := s.Status(); !status.Live || status.Problem != "" {
					t.Errorf("status is %+v", status)
				}
			})
		})
	}
}

// A blocked query is not woken when the servers lose their history: only the
// heartbeat tells (house 1.4).
func TestLostHistoryIsNoticedWithoutAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		f.Forget()
		pass(10 * time.Second)
		wantText(t, w, "acls/a=1 groups/g=2")
		if status := s.Status(); status.Held != 2 || !strings.Contains(status.Problem, "history") {
			t.Errorf("status is %+v", status)
		}
		f.Put("acls/a", "1") // the same value, at an index that was there before
		pass(time.Second)
		if o := w.Content()["acls/a"]; o.Held || o.Index != 4 {
			t.Errorf("acls/a is %+v", o)
		}
	})
}

// Consul forgets deletions after a while; the index of the prefix then goes
// back, with nothing lost (D7).
func TestAnIndexThatGoesBackIsFollowed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		f.Put("groups/h", "3")
		f.Remove("groups/h")
		pass(time.Second)
		f.mu.Lock()
		clear(f.graves)
		f.index++
		f.mu.Unlock()
		pass(2 * consul.BlockFor)
		f.Put("acls/a", "new")
		pass(time.Second)
		wantText(t, w, "acls/a=new groups/g=2")
		if status := s.Status(); status.Held != 0 || status.Problem != "" {
			t.Errorf("status is %+v", status)
		}
	})
}

func TestEverythingAtOnceIsHeldAndOneByOneObeyed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		f.clear()
		pass(time.Second)
		wantText(t, w, "acls/a=1 groups/g=2")
		if status := s.Status(); status.Held != 2 || !status.Live {
			t.Errorf("status is %+v", status)
		}
		f.Put("acls/a", "1")
		f.Put("groups/g", "2")
		pass(time.Second)
		if status := s.Status(); status.Held != 0 || status.Problem != "" {
			t.Errorf("status is %+v", status)
		}
		f.mu.Lock()
		clear(f.graves)
		f.mu.Unlock()
		f.Remove("acls/a")
		f.Remove("groups/g")
		pass(time.Second)
		wantText(t, w, "")
	})
}

// A write that Consul took is not in force while the watch is in trouble, and
// says so.
func TestAWriteThatIsNotSeenSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		f.SetFault(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				return nil, errors.New("connection refused")
			}
			return nil, nil
		})
		result := make(chan error, 1)
		go func() {
			_, err := s.Write(t.Context(), []store.Op{{Kind: "acls", Name: "a", Value: []byte("new")}})
			result <- err
		}()
		pass(5 * time.Second)
		select {
		case err := <-result:
			t.Fatalf("the write returns %v before it is seen", err)
		default:
		}
		w.Stop()
		if err := <-result; !errors.Is(err, store.ErrNotSeen) {
			t.Errorf("the write returns %v", err)
		}
	})
}

// TestOneWatchThatIsRefusedDoesNotHaveAllBeReadAgainAndAgain: something before Consul
// does not let queries wait, or answers one of them with an error each time.
func TestOneWatchThatIsRefusedDoesNotHaveAllBeReadAgainAndAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		f.SetFault(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Has("index") {
				return modeltest.Respond(429, 0, "slow down"), nil
			}
			return nil, nil
		})
		pass(10 * time.Minute)
		all := 0
		for _, asked := range f.requests() {
			if strings.HasPrefix(asked, "?") && strings.Contains(asked, "recurse") {
				all++
			}
		}
		if all > 60 || all < 10 {
			t.Errorf("everything was read %d times in 10 minutes", all)
		}
		f.Put("acls/a", "seen all the same")
		pass(time.Minute)
		wantText(t, w, "acls/a=seen all the same groups/g=2")
	})
}
