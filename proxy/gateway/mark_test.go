package gateway

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"lictor/proxy/http1"
	"lictor/resolver"
)

func TestMarkLoops(t *testing.T) {
	m := NewMark()
	others := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = "1.1 " + string(NewMark())
		}
		return strings.Join(all, ", ")
	}
	tests := []struct {
		name string
		via  []string
		want bool
	}{
		{"a request without Via was nowhere", nil, false},
		{"other proxies are no loop", []string{"1.0 fred, 1.1 squid (squid/5.7)", "2 cache.example:8080"}, false},
		{"the own mark is a loop", []string{"1.1 " + string(m)}, true},
		{"behind others, too", []string{"1.0 fred", "1.1 a, 1.1 " + string(m) + ", 1.1 nginx"}, true},
		{"a comment that does not end hides nothing", []string{"1.1 x (, 1.1 " + string(m)}, true},
		{"with a comment of its own", []string{"1.1 " + string(m) + " (edge)"}, true},
		{"another lictor is no loop", []string{others(1)}, false},
		{"a mark that goes on is another one's", []string{"1.1 " + string(m)[:len(m)-1]}, false},
		{"some lictors in a row are no loop", []string{others(maxMarks - 1)}, false},
		{"too many of them are one", []string{others(maxMarks)}, true},
		{"however they are spread", []string{others(maxMarks / 2), "1.1 fred", others(maxMarks / 2)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var fields []http1.Field
			for _, v := range tt.via {
				fields = append(fields, http1.Field{Name: "via", Value: v, ID: http1.IDOf("via")})
			}
			if got := m.Loops(fields); got != tt.want {
				t.Errorf("got %v for %q", got, tt.via)
			}
		})
	}
}

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
		rigs := make([]*rig, maxMarks+2)
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
