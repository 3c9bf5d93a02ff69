package consul_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lictor/policy/store"
	"lictor/policy/store/consul"
	"lictor/policy/store/storetest"
)

// Lose makes f do what a write asks for, or not, and lose the answer, times times.
func (f *fakeConsul) Lose(done bool, times int) {
	f.SetFault(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPut || times == 0 {
			return nil, nil
		}
		times--
		if done {
			if r.URL.Path == "/v1/txn" {
				_, _ = f.txn(r)
			} else {
				_, _ = f.putLarge(r, strings.TrimPrefix(r.URL.Path, "/v1/kv/"))
			}
		}
		return nil, errors.New("connection reset by peer")
	})
}

// What became of a write whose answer is lost is found out before anything is
// said.
func TestALostAnswerIsFoundOut(t *testing.T) {
	large := strings.Repeat("x", 300<<10)
	for _, test := range []struct {
		name  string
		done  bool
		times int
		op    store.Op
		want  string // the content
		err   error
	}{
		{"a deletion that was done", true, 1, store.Op{Kind: "acls", Name: "a", Verb: store.Delete}, "groups/g=2", nil},
		{"a deletion that was not done is tried again", false, 1, store.Op{Kind: "acls", Name: "a", Verb: store.Delete}, "groups/g=2", nil},
		{"a change that was done", true, 1, store.Op{Kind: "acls", Name: "a", Value: []byte("new")}, "acls/a=new groups/g=2", nil},
		{"a change that was not done is tried again", false, 1, store.Op{Kind: "acls", Name: "a", Value: []byte("new")}, "acls/a=new groups/g=2", nil},
		{"a new object that was made", true, 1, store.Op{Kind: "acls", Name: "b", Value: []byte("3"), Check: store.Check{Absent: true}}, "acls/a=1 acls/b=3 groups/g=2", nil},
		{"a new object that was not made", false, 1, store.Op{Kind: "acls", Name: "b", Value: []byte("3"), Check: store.Check{Absent: true}}, "acls/a=1 acls/b=3 groups/g=2", nil},
		{"a large value that was written", true, 1, store.Op{Kind: "acls", Name: "a", Value: []byte(large)}, "acls/a=" + large + " groups/g=2", nil},
		{"never done, and never answered", false, -1, store.Op{Kind: "acls", Name: "a", Verb: store.Delete}, "acls/a=1 groups/g=2", store.ErrUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
				f.Lose(test.done, test.times)
				index, err := s.Write(t.Context(), []store.Op{test.op})
				if !errors.Is(err, test.err) {
					t.Fatalf("the write: %v, want %v", err, test.err)
				}
				wantText(t, w, test.want)
				if err == nil && test.op.Verb == store.Put && index != w.Content()[test.op.Kind+"/"+test.op.Name].Index {
					t.Errorf("index %d, the object has %d", index, w.Content()["acls/a"].Index)
				}
			})
		})
	}
}

// Half of a transaction is never there, so somebody else wrote since.
func TestAnOutcomeThatCannotBeToldIsNotTold(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, _ *storetest.Watch) {
		f.SetFault(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != "/v1/txn" {
				return nil, nil
			}
			_, _ = f.txn(r)
			f.Put("acls/a", "somebody else's")
			return nil, errors.New("connection reset by peer")
		})
		_, err := s.Write(t.Context(), []store.Op{{Kind: "acls", Name: "a", Value: []byte("x")}, {Kind: "acls", Name: "b", Value: []byte("y")}})
		if !errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("the write: %v", err)
		}
	})
}

// A watch whose connection is dead without knowing it tells nothing; new
// connections work.
func TestAHalfOpenWatchHidesNothingForLong(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		f.SetFault(func(r *http.Request) (*http.Response, error) {
			if !r.URL.Query().Has("wait") {
				return nil, nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		pass(20 * time.Second)
		f.Put("acls/a", "new")
		pass(5 * time.Second)
		wantText(t, w, "acls/a=new groups/g=2")
		f.Remove("groups/g")
		pass(5 * time.Second)
		wantText(t, w, "acls/a=new")
		f.Put("filters/f", "a kind that was not there")
		pass(5 * time.Second)
		wantText(t, w, "acls/a=new filters/f=a kind that was not there")
	})
}

// A prefix that was empty, and is so again before its watch told what came
// meanwhile, lost what a whole answer had shown.
func TestWhatOnlyAWholeAnswerShowedDoesNotVanishUnseen(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		f.Remove("acls/a")
		pass(time.Second)
		f.SetFault(func(r *http.Request) (*http.Response, error) {
			if !r.URL.Query().Has("wait") || !strings.HasSuffix(r.URL.Path, "/acls") {
				return nil, nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		pass(consul.BlockFor + 2*time.Second) // the watch of acls says nothing from now on
		f.Put("acls/c", "3")
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantText(t, w, "acls/c=3 groups/g=2")
		f.clear()
		pass(time.Second)
		wantText(t, w, "acls/c=3 groups/g=2")
		if n := len(s.Held()); n != 2 {
			t.Errorf("%d objects are held", n)
		}
	})
}

// A Consul, or a proxy before it, that does not block costs no more than a
// question a second for each watch.
func TestAConsulThatDoesNotBlockIsPaced(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, _ *consul.Store, _ *storetest.Watch) {
		f.SetFault(func(r *http.Request) (*http.Response, error) {
			if !r.URL.Query().Has("wait") {
				return nil, nil
			}
			r = r.Clone(context.Background())
			q := r.URL.Query()
			q.Del("index")
			r.URL.RawQuery = q.Encode()
			return f.get(r, strings.TrimPrefix(r.URL.Path, "/v1/kv/"))
		})
		pass(10 * time.Second)
		f.requests()
		pass(time.Minute)
		if n := len(f.requests()); n > 30*62 {
			t.Errorf("%d requests in a minute", n)
		}
	})
}

// Folders are no objects: the deletion of the last object is obeyed beside them.
func TestFolderKeysDoNotKeepTheLastObjectAlive(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		for _, folder := range []string{"acls/", "blacklist/", "groups/", "deep/er/"} {
			f.Put(folder, "")
		}
		pass(time.Second)
		wantText(t, w, "acls/a=1 groups/g=2")
		f.Remove("acls/a")
		f.Put("other/../", "")
		f.Remove("groups/g")
		pass(5 * time.Second)
		if status := s.Status(); !status.Live || status.Problem != "" || status.Held != 0 {
			t.Errorf("status is %+v", status)
		}
		if o, ok := w.Content()["groups/g"]; ok {
			t.Errorf("still there: %+v", o)
		}
	})
}

// An import after a deletion brings objects back one by one: what is not back
// yet was not deleted.
func TestWhatAnImportHasNotBroughtBackYetIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
		f.Put("acls/b", "2")
		f.Put("acls/c", "3")
		pass(time.Second)
		for _, prefix := range []string{"acls/", ""} {
			f.RemoveAll(prefix)
			f.Put("acls/a", "1")
			f.Put("acls/b", "2")
			pass(time.Second)
			wantText(t, w, "acls/a=1 acls/b=2 acls/c=3 groups/g=2")
			if !w.Content()["acls/c"].Held {
				t.Error("acls/c is not held")
			}
			f.Put("acls/c", "3")
			f.Put("groups/g", "2")
			pass(time.Second)
			if status := s.Status(); status.Held != 0 || status.Problem != "" {
				t.Errorf("status is %+v", status)
			}
		}
	})
}

// Contact is shown often enough that a policy is not refused while all is well.
func TestContactIsShownWithinMaxStale(t *testing.T) {
	for _, maxStale := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 7 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			fake := newFake()
			s := fake.openStale(t, maxStale)
			storetest.Start(t, s)
			pass(10 * time.Second)
			for range 200 {
				pass(maxStale / 37)
				if age := time.Since(s.Status().Contact); age > maxStale/3 {
					t.Fatalf("max_stale %v: the last contact is %v ago", maxStale, age)
				}
			}
		})
	}
}
