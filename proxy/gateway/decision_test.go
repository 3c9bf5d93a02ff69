package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"lictor/admin/api"
	"lictor/internal/eventually"
	"lictor/policy"
)

// ask is a request for /svc/x that asks why.
func (r *rig) ask(target string) *http.Response {
	r.t.Helper()
	resp, _ := r.get(target, "X-Lictor-Explain: 1")
	return resp
}

func TestDecisionOfOnesOwnRequest(t *testing.T) { // contract 5
	r := newRig(t, func(s *Settings) { s.TrustedNetworks = []netip.Prefix{mustPrefix("127.0.0.0/8")} })
	var upstream http.Header
	back := r.backend(func(w http.ResponseWriter, req *http.Request) { upstream = req.Header })
	r.rules.apply(policy.Change{Key: policy.Key{Kind: policy.KindBlacklist, Name: "ops"}, Index: 7, Object: &policy.List{Entries: []string{"/svc/admin"}}})

	told := func(resp *http.Response) (e api.Explanation) {
		t.Helper()
		id := resp.Header.Get("X-Lictor-Decision")
		if id == "" {
			t.Fatalf("%s: no decision", resp.Status)
		}
		var text json.RawMessage
		eventually.True(t, "the decision is kept", func() (ok bool) {
			text, ok = r.gw.Decision(id)
			return ok
		})
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := told(r.ask("/svc/x?q=1"))
	if !e.Allowed || e.Status != 200 || e.Path.Forwarded != "/x" || e.Route.Service != "svc" || e.Dispatch == nil ||
		len(e.Dispatch.Instances) != 1 || e.Dispatch.Instances[0].Address != back.Listener.Addr().String() || !e.Dispatch.Instances[0].Chosen {
		t.Errorf("got %+v %+v", e, e.Dispatch)
	}
	if upstream.Get("X-Lictor-Explain") != "" {
		t.Error("the backend got the field")
	}
	e = told(r.ask("/svc/admin"))
	if e.Allowed || e.Status != 403 || e.Reason != "blacklist" || len(e.Steps) != 1 || e.Steps[0].Rule.Key != "lictor/policy/blacklist/ops" {
		t.Errorf("got %+v", e)
	}
	if e = told(r.ask("/%zz")); e.Status != 400 || e.Reason != "bad_path" || e.Route != nil || e.Path.Received != "/%zz" {
		t.Errorf("got %+v", e)
	}
	if resp, _ := r.get("/svc/x"); resp.Header.Get("X-Lictor-Decision") != "" {
		t.Error("who did not ask got a decision")
	}
}

func TestDecisionIsNotForOutside(t *testing.T) {
	r := newRig(t, nil)
	var upstream http.Header
	r.backend(func(w http.ResponseWriter, req *http.Request) { upstream = req.Header })
	if resp := r.ask("/svc/x"); resp.StatusCode != 200 || resp.Header.Get("X-Lictor-Decision") != "" {
		t.Errorf("got %s %v", resp.Status, resp.Header)
	}
	if upstream.Get("X-Lictor-Explain") != "" {
		t.Error("the backend got the field")
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	var g Gateway
	for i := range 2*keptDecisions + 1 {
		g.decisions.keep(fmt.Sprint(i), []byte("{}"))
	}
	for i, want := range map[int]bool{0: false, keptDecisions: false, keptDecisions + 1: true, 2 * keptDecisions: true} {
		if _, kept := g.Decision(fmt.Sprint(i)); kept != want {
			t.Errorf("%d: kept %v, want %v", i, kept, want)
		}
	}
	if _, kept := g.Decision(""); kept {
		t.Error("there is a decision without an id")
	}
}
