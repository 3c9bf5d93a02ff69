//go:build !race

package policy_test

import (
	"slices"
	"strings"
	"testing"

	"lictor/policy"
)

// respelled is a name of a service, or a path that begins with one, in another case.
func (w *world) respelled(s string) string {
	if strings.HasPrefix(s, "*") || strings.HasPrefix(s, "api") {
		return s // it is an API's, and no registry's
	}
	from := strings.Count(s[:min(1, len(s))], "/")
	end := len(s)
	if i := strings.IndexAny(s[from:], "/;%"); i >= 0 {
		end = from + i
	}
	return s[:from] + pick(w, s[from:end], strings.ToUpper(s[from:end]), strings.ToUpper(s[from:min(from+1, end)])+s[min(from+1, end):end]) + s[end:]
}

// respell returns a policy in which services are spelled otherwise, and which says the
// same besides.
func (w *world) respell(changes []policy.Change) []policy.Change {
	all := slices.Clone(changes)
	for i := range all {
		switch o := all[i].Object.(type) {
		case *policy.List:
			next := *o
			next.Entries = nil
			for _, e := range w.n.lists[all[i].Key.Name].entries {
				path := w.respelled(e.path)
				switch {
				case e.service != "":
					e.text = "service:" + w.respelled(e.service)
				case e.host != "" && e.path != "":
					e.text = strings.Replace(e.text, e.path, path, 1)
				case e.path != "":
					e.text = strings.TrimSuffix(e.text, e.path) + path
				}
				next.Entries = append(next.Entries, e.text)
			}
			all[i].Object = &next
		case *policy.Filter:
			next := *o
			next.Paths = slices.Clone(o.Paths)
			for j := range next.Paths {
				next.Paths[j] = w.respelled(next.Paths[j])
			}
			all[i].Object = &next
		case *policy.ACL:
			next := *o
			next.API = w.respelled(o.API)
			all[i].Object = &next
		case *policy.PluginMapping:
			next := *o
			next.API = w.respelled(o.API)
			all[i].Object = &next
		case *policy.API:
			next := *o
			next.Service = w.respelled(o.Service)
			all[i].Object = &next
		}
	}
	return all
}

// anyCase decides as the gateway does where the registry does not mind the case of
// names, and calls each service as it is in lower case.
func anyCase(set *policy.Set, r *policy.Request) (route policy.Route, v policy.Verdict) {
	route = set.Route(r)
	name := strings.ToLower(route.Service)
	route.AnyCase = route.By != policy.ByNothing && route.Backends == nil
	if renamed := route.By == policy.BySegment && route.Service != name; renamed {
		set.Rename(&route, name)
		route.Service = strings.ToLower(route.Service)
		set.Narrow(r, &route)
	}
	route.Service = strings.ToLower(route.Service)
	r.Again = false
	for i := 0; ; i++ {
		as, name := route, set.OtherName(&route, i)
		if name == "" {
			set.Decide(r, &route, &v, nil)
			return route, v
		}
		set.As(&as, name)
		if set.Decide(r, &as, &v, nil); !v.Allowed() {
			return route, v
		}
		r.Again = true
	}
}

// TestNoSpellingLetsMoreThrough spells the services of random policies and requests
// otherwise (E7): what is refused in small letters is refused in all.
func TestNoSpellingLetsMoreThrough(t *testing.T) {
	refused := map[policy.Reason]int{}
	for seed := range uint64(800) {
		w := newWorld(seed)
		small := w.compile(t, w.changes)
		spelled := w.respell(w.changes)
		other := w.compile(t, spelled)
		for range 40 {
			r, _, _ := w.request()
			if r.Method == "OPTIONS" {
				continue // another API may answer it before anybody asks who it is
			}
			target := r.Path.Received
			route, want := anyCase(small, r)
			r.Path = mustPath(w.respelled(target))
			as, got := anyCase(other, r)
			if want.Allowed() || route.Service != as.Service || as.Service == "" || route.By == policy.ByFilter && route.API != route.Service {
				continue // no registry has a say
			}
			refused[want.Reason]++
			if got.Allowed() {
				t.Fatalf("world %d: %s %s%s is let pass, as %+v; %s, as %+v, is refused: %s\n%s\n%s", seed, r.Method, r.Host, r.Path.Received, as, target, route, want.Reason, w, &world{changes: spelled})
			}
		}
	}
	for _, reason := range []policy.Reason{"blacklist", "whitelist", "no_credentials", "acl", "bad_path", "terminated"} {
		if refused[reason] < 50 {
			t.Errorf("only %d are refused as %q: the test proves little", refused[reason], reason)
		}
	}
}

func TestEachSpellingOfAnotherReadingHasToLetItPass(t *testing.T) { // E7, D22
	for _, api := range []string{"open", "Open", "OPEN"} {
		_, set := newStore(t, policy.Options{}, "filters/f", `{"paths":["/OPEN/pub"]}`, "apis/pub", `{"name":"pub","service":"OPEN","filters":["f"]}`,
			"acls/a", `{"api":"`+api+`","groups":["staff"]}`)
		if _, v := anyCase(set, ask(t, "GET http://x/OPEN/pub/..%2Fadmin")); v.Allowed() {
			t.Errorf("an ACL of %s: it is let pass", api)
		}
		if _, v := anyCase(set, ask(t, "GET http://x/OPEN/pub/admin")); !v.Allowed() {
			t.Errorf("an ACL of %s: %s", api, v.Reason)
		}
	}
}

func TestABoundConsumerIsBoundToAServiceInAnyCase(t *testing.T) { // E7, C6
	docs := with("plugins/k", `{"name":"key-auth"}`, "acls/a", `{"api":"svc","consumers":["ann"]}`,
		"plugins/r", `{"name":"rate-limiting","config":{"minute":1000}}`, "plugin-mappings/m", `{"api":"Svc","plugins":["r"]}`)
	_, set := newStore(t, policy.Options{BindConsumers: true}, docs...)
	if _, v := anyCase(set, ask(t, "GET http://x/svc ka")); !v.Allowed() {
		t.Errorf("her own service: %s", v.Reason)
	}
	if _, v := anyCase(set, ask(t, "GET http://x/other ka")); v.Reason != policy.ReasonBoundConsumer {
		t.Errorf("another one: %q", v.Reason)
	}
}
