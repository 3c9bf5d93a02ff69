package gateway

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"lictor/proxy/hops"
	"lictor/resolver"
)

// A request that comes back to the lictor that forwarded it is answered there,
// and costs as many requests as there are lictors on its way.
func TestLoopIsCut(t *testing.T) {
	back := resolver.Options{KeepSegment: true} // so that it leads to the same service again
	t.Run("a backend that is the gateway itself", func(t *testing.T) {
		r := newRig(t, nil)
		r.src.set(back, r.addr)
		expectLoop(t, r)
	})
	t.Run("a client that sends an open comment", func(t *testing.T) {
		r := newRig(t, nil)
		r.src.set(back, r.addr)
		expectLoop(t, r, "Via: 1.1 x (never ends")
	})
	t.Run("a client that calls Via a field of the connection", func(t *testing.T) {
		r := newRig(t, nil)
		r.src.set(back, r.addr)
		expectLoop(t, r, "Connection: Via")
	})
	t.Run("two gateways that lead to each other", func(t *testing.T) {
		a, b := newRig(t, nil), newRig(t, nil)
		a.src.set(back, b.addr)
		b.src.set(back, a.addr)
		expectLoop(t, a)
	})
	t.Run("a ring of lictors ends before it is closed", func(t *testing.T) {
		rigs := make([]*rig, hops.MaxMarks+2)
		for i := range rigs {
			rigs[i] = newRig(t, nil)
		}
		for i, r := range rigs {
			r.src.set(back, rigs[(i+1)%len(rigs)].addr)
		}
		expectLoop(t, rigs[0])
	})
	t.Run("a service that asks another one through the gateway is none", func(t *testing.T) {
		r := newRig(t, nil)
		var asked atomic.Int32
		r.backend(func(w http.ResponseWriter, req *http.Request) {
			if asked.Add(1) > 1 {
				io.WriteString(w, "done")
				return
			}
			resp, err := http.Get("http://" + r.addr + "/svc/other")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			io.Copy(w, resp.Body)
		})
		if resp, body := r.get("/svc/"); resp.StatusCode != 200 || body != "done" {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	})
}

func expectLoop(t *testing.T, r *rig, fields ...string) {
	t.Helper()
	resp, body := r.get("/svc/x", fields...)
	if resp.StatusCode != 508 || !strings.Contains(body, `"reason": "loop"`) {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}
