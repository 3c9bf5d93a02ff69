package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/resolver"
)

// Each instance is told of by itself: what is under way on it, and how long its
// answers took, that one that does not come in its time among them.
func TestInstancesAreToldOf(t *testing.T) {
	const patience = time.Second
	r := newRig(t, func(s *Settings) { s.Timeout, s.Retries = patience, 0 })
	release := make(chan struct{})
	quick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
	t.Cleanup(quick.Close)
	mute := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(mute.Close)
	t.Cleanup(func() { close(release) })
	if all := r.gw.upstream.Instances("svc"); all != nil {
		t.Errorf("before the first request there are %v", all)
	}
	r.src.set(resolver.Options{}, quick.Listener.Addr().String(), mute.Listener.Addr().String())
	ended := make(chan int)
	for range 2 {
		go func() {
			resp, _ := r.get("/svc/x")
			ended <- resp.StatusCode
		}()
	}
	eventually.True(t, "the mute one works on a request", func() bool {
		all := r.gw.upstream.Instances("svc")
		return len(all) == 2 && all[0].InFlight == 0 && all[0].Answers == 1 && all[1].InFlight == 1
	})
	if a, b := <-ended, <-ended; a+b != 200+504 {
		t.Fatalf("the answers are %d and %d", a, b)
	}
	eventually.True(t, "nothing is under way", func() bool { return r.gw.upstream.Instances("svc")[1].InFlight == 0 })
	all := r.gw.upstream.Instances("svc")
	if all[0].P99 >= patience || all[0].P50 <= 0 || all[0].Answers != 1 {
		t.Errorf("the quick one: %+v", all[0])
	}
	if all[1].P50 < patience*7/8 || all[1].Answers != 1 {
		t.Errorf("the mute one: %+v", all[1])
	}
}
