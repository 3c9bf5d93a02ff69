package consul_test

import (
	"net/http"
	"testing"
	"time"

	"lictor/policy/store/consul"
	"lictor/policy/store/modeltest"
	"lictor/policy/store/storetest"
)

// A server that was restarted with its data answers before it has read its log. It
// is not taken for one that lost it: what was deleted meanwhile is gone.
func TestAServerThatReadsItsLogHasNotLostIt(t *testing.T) {
	for _, test := range []struct {
		name    string
		deleted bool // while it reads, else when it has
	}{{"deleted while it reads", true}, {"deleted when it has read", false}} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeConsul, s *consul.Store, w *storetest.Watch) {
				f.Put("consumers/c", "3")
				pass(time.Second)
				f.SetFault(refuse)
				pass(time.Minute)
				f.SetFault(func(r *http.Request) (*http.Response, error) {
					switch {
					case r.Method != http.MethodGet:
						return nil, nil
					case r.URL.Query().Has("consistent"):
						return modeltest.Respond(http.StatusInternalServerError, 0, "not ready to serve consistent reads"), nil
					}
					return modeltest.Respond(http.StatusNotFound, 4, ""), nil
				})
				pass(10 * time.Second)
				wantText(t, w, "acls/a=1 consumers/c=3 groups/g=2")
				if test.deleted {
					f.Remove("groups/g")
				}
				f.SetFault(nil)
				if pass(time.Minute); !test.deleted {
					f.Remove("groups/g")
					pass(time.Minute)
				}
				wantText(t, w, "acls/a=1 consumers/c=3")
				if status := s.Status(); status.Held != 0 || status.Problem != "" {
					t.Errorf("status is %+v", status)
				}
			})
		})
	}
}
