//go:build !race

package policy_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/policy/impact"
)

// half is a random policy as both evaluators take it.
type half struct {
	n       *naive
	objects map[policy.Key]policy.Object
	from    map[policy.Key]*world
}

// newHalf makes a policy of some objects of random worlds.
func newHalf(bind bool, objects map[policy.Key]policy.Object, from map[policy.Key]*world, created map[policy.Key]uint64) *half {
	h := &half{objects: objects, from: from, n: &naive{
		lists: map[string]*naiveList{}, consumers: map[string]*policy.Consumer{}, keys: map[string]*policy.Credential{},
		groups: map[string]*policy.Group{}, filters: map[string]*policy.Filter{}, plugins: map[string]*policy.Plugin{},
		mapped: map[string]*policy.PluginMapping{}, acls: map[string]*policy.ACL{}, apis: map[string]*policy.API{},
		domains: map[string]*policy.Mapping{}, created: map[string]uint64{}, bind: bind}}
	for k, o := range objects {
		h.n.created[string(k.Kind)+"/"+k.Name] = created[k]
		switch o := o.(type) {
		case *policy.List:
			h.n.lists[k.Name] = from[k].n.lists[k.Name]
		case *policy.Consumer:
			h.n.consumers[k.Name] = o
		case *policy.Credential:
			for key, c := range from[k].n.keys {
				if c == o {
					h.n.keys[key] = o
				}
			}
		case *policy.Group:
			h.n.groups[k.Name] = o
		case *policy.Filter:
			h.n.filters[k.Name] = o
		case *policy.Plugin:
			h.n.plugins[k.Name] = o
		case *policy.PluginMapping:
			h.n.mapped[k.Name] = o
		case *policy.ACL:
			h.n.acls[k.Name] = o
		case *policy.API:
			h.n.apis[k.Name] = o
		case *policy.Mapping:
			h.n.domains[k.Name] = o
		}
	}
	return h
}

func (h *half) changes(created map[policy.Key]uint64) (all []policy.Change) {
	for k, o := range h.objects {
		all = append(all, policy.Change{Key: k, Index: 1, Created: created[k], Object: o})
	}
	slices.SortFunc(all, func(a, b policy.Change) int { return a.Key.Compare(b.Key) })
	return all
}

// pairs makes two policies that differ in a few objects, and what tells ties.
func pair(seed uint64) (r *world, was, is *half, created map[policy.Key]uint64) {
	w, v := newWorld(seed), newWorld(seed+1<<32)
	r = &world{Rand: rand.New(rand.NewPCG(seed, 11)), n: w.n}
	all := [2]map[policy.Key]policy.Object{{}, {}}
	for i, x := range []*world{w, v} {
		for _, c := range x.changes {
			if p, ok := c.Object.(*policy.Plugin); !ok || p.Name != "jwt" { // a question as a consumer shows no token
				all[i][c.Key] = c.Object
			}
		}
	}
	share := 1 + r.IntN(4)
	switch r.IntN(9) {
	case 0:
		r.rivals(all)
		share = 5
	case 8:
		for _, objects := range all {
			keep(objects, policy.KindConsumers, policy.KindCredentials, policy.KindPlugins, policy.KindPluginMappings, policy.KindFilters)
		}
		share = 4
	case 1, 2, 3, 4:
		r.thin(all)
		share = 4
	case 5:
		r.places(all, w, v)
		share = 5
	case 6:
		r.behind(all, w, v)
		share = 5
	}
	created = map[policy.Key]uint64{}
	keys := slices.SortedFunc(maps.Keys(all[0]), policy.Key.Compare)
	for k := range all[1] {
		if all[0][k] == nil {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, policy.Key.Compare)
	for i, n := range r.Perm(len(keys)) {
		created[keys[i]] = uint64(n + 1)
	}
	first, then := map[policy.Key]policy.Object{}, map[policy.Key]policy.Object{}
	from, fromThen := map[policy.Key]*world{}, map[policy.Key]*world{}
	put := func(into map[policy.Key]policy.Object, whose map[policy.Key]*world, k policy.Key) {
		i := r.IntN(2)
		if all[i][k] == nil {
			i = 1 - i
		}
		into[k], whose[k] = all[i][k], []*world{w, v}[i]
	}
	for _, k := range keys {
		if r.IntN(5) < share {
			put(first, from, k)
			if r.IntN(12) > 0 {
				then[k], fromThen[k] = first[k], from[k]
			}
		}
	}
	for range 1 + r.IntN(3) {
		put(then, fromThen, keys[r.IntN(len(keys))])
	}
	return r, newHalf(w.n.bind, first, from, created), newHalf(w.n.bind, then, fromThen, created), created
}

// keep drops the objects of all kinds but those.
func keep(objects map[policy.Key]policy.Object, kinds ...policy.Kind) {
	maps.DeleteFunc(objects, func(k policy.Key, _ policy.Object) bool { return !slices.Contains(kinds, k.Kind) })
}

// rivals makes policies of two APIs whose filters have the same hosts, some as a whole
// and some below a *: which of the two a request goes to is a matter of how its host
// is named.
func (w *world) rivals(all [2]map[policy.Key]policy.Object) {
	for _, objects := range all {
		keep(objects, policy.KindConsumers, policy.KindCredentials)
		for _, name := range []string{"1", "2"} {
			f := &policy.Filter{Name: "f" + name, Hosts: pick(w, []string{"b.a.ex", "*.a.ex"}, []string{"*.a.ex"}, []string{"b.a.ex"}, []string{"*.ex", "b.a.ex"}, []string{"*.ex"})}
			if w.IntN(4) == 0 {
				f.Methods = []string{"GET"}
			}
			objects[policy.Key{Kind: policy.KindFilters, Name: f.Name}] = f
			objects[policy.Key{Kind: policy.KindAPIs, Name: "api" + name}] = &policy.API{Name: "api" + name, Filters: []string{f.Name}}
		}
		objects[policy.Key{Kind: policy.KindACLs, Name: "1"}] = &policy.ACL{ID: "1", API: "api1", Consumers: []string{pick(w, people3...)}, Mode: w.mode()}
		if w.IntN(4) == 0 {
			objects[policy.Key{Kind: policy.KindMappings, Name: "*.a.ex"}] = &policy.Mapping{Domain: "*.a.ex", Backends: []string{"http://h"}}
		}
	}
}

// behind makes policies of APIs that lead to other services, and of blacklists that
// name paths by these.
func (w *world) behind(all [2]map[policy.Key]policy.Object, worlds ...*world) {
	for i, objects := range all {
		keep(objects, policy.KindConsumers, policy.KindCredentials)
		e := naiveEntry{path: pick(w, "/pub/adm", "/pub/adm/x", "/svc/adm", "/pub", "/svc")}
		e.text = e.path
		list := &naiveList{List: &policy.List{Mode: policy.Enforce, Direction: policy.Ingress, Entries: []string{e.text}}, entries: []naiveEntry{e}}
		worlds[i].n.lists["l0"] = list
		objects[policy.Key{Kind: policy.KindBlacklist, Name: "l0"}] = list.List
		objects[policy.Key{Kind: policy.KindAPIs, Name: "svc"}] = &policy.API{Name: "svc", Service: "pub"}
		objects[policy.Key{Kind: policy.KindAPIs, Name: "api2"}] = &policy.API{Name: "api2", Service: "svc"}
	}
}

// places makes policies of a blacklist of addresses that stays, and of an ACL by
// addresses.
func (w *world) places(all [2]map[policy.Key]policy.Object, worlds ...*world) {
	list := &naiveList{List: &policy.List{Mode: policy.Enforce, Direction: policy.Ingress}}
	for range 2 + w.IntN(2) {
		e := naiveEntry{prefix: netip.MustParsePrefix(pick(w, nets...))}
		e.text = e.prefix.String()
		list.entries, list.Entries = append(list.entries, e), append(list.Entries, e.text)
	}
	for i, objects := range all {
		keep(objects, policy.KindConsumers, policy.KindCredentials)
		worlds[i].n.lists["l0"] = list
		objects[policy.Key{Kind: policy.KindBlacklist, Name: "l0"}] = list.List
		objects[policy.Key{Kind: policy.KindFilters, Name: "f1"}] = &policy.Filter{Name: "f1", IPs: append(w.some(2, nets...), pick(w, "127.0.0.0/30", "9.0.0.0/8"))}
		objects[policy.Key{Kind: policy.KindACLs, Name: "1"}] = &policy.ACL{ID: "1", API: pick(w, "svc", "pub"), Filters: []string{"f1"}}
	}
}

// thin leaves out some kinds of objects, as what one kind does is often hidden by what
// another one does.
func (w *world) thin(all [2]map[policy.Key]policy.Object) {
	kinds := []policy.Kind{policy.KindConsumers, policy.KindCredentials}
	for _, kind := range policy.Kinds {
		if w.IntN(2) == 0 {
			kinds = append(kinds, kind)
		}
	}
	for _, objects := range all {
		keep(objects, kinds...)
	}
}

var pieces = []string{"svc", "adm", "x", "y", "pub", "api1", "api2", "billing", "any", "adm;v=1", "..;", "%2e%2e", "..%2F", "x%2F..%2Fadm", "svc%2Fadm", `a\..\adm`,
	"..%5C", "", ".", "..", "ad%6d", "ADM", "admx", ";p", "%3Bz", "x%2F..%2F..%2Fpub", "~a", "..;%2Fadm", "..%3B"}

// edges are addresses at both ends of prefixes, and beside them.
func (w *world) edge() netip.Addr {
	p := netip.MustParsePrefix(pick(w, nets...)).Masked()
	last := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end := netip.AddrFrom4(last)
	return pick(w, p.Addr(), p.Addr().Prev(), p.Addr().Next(), end, end.Next(), end.Prev(), netip.MustParseAddr(pick(w, clients...)))
}

func (w *world) anyPath() uri.Path {
	for {
		text := pick(w, targets...)
		switch w.IntN(4) {
		case 0:
			text = pick(w, paths...) + pick(w, "", "/", "/x", "x", "//", ";v", "/any/..", "/.")
		case 1, 2:
			text = ""
			for range 1 + w.IntN(4) {
				text += pick(w, "/", "/", "/", "//", "%2F") + pick(w, pieces...)
			}
		}
		if p, _, err := uri.ParsePath(text, nil); err == nil {
			return p
		}
	}
}

// passes is what the naive evaluator says, with what the gateway refuses whatever
// the policy says.
func (h *half) passes(r *policy.Request, key string) bool {
	v := h.n.decide(r, key, "")
	by, api, service := h.n.route(r)
	stripped := by == policy.BySegment || by == policy.ByFilter && (under(r.Path.Canonical, "/"+api) || under(r.Path.Canonical, "/"+service))
	return by != policy.ByNothing && v.reason == "" && !r.Path.Climbs(r.Path.Target(stripped))
}

func (h *half) owner(key string) string {
	if c := h.n.keys[key]; c != nil {
		if who := h.n.consumer(c.Consumer); who != nil {
			return who.Name
		}
	}
	return ""
}

func (w *world) query(was, is *half) (q *impact.Query, r *policy.Request, key string) {
	path := w.anyPath()
	key = pick(w, "", "kann", "kbob", "kcyd", "kwrong")
	h := header{}
	if key != "" {
		h["apikey"] = []string{key}
	}
	q = &impact.Query{Method: pick(w, "GET", "POST", "PUT", "post", "Put", "DELETE", "OPTIONS"), Port: pick[uint16](w, 80, 8000, 8001), Path: &path, Client: w.edge(),
		Host: pick(w, "", "n.") + pick(w, "", "m.") + pick(w, append(hostNames, "other", "q.org")...), Before: was.owner(key), After: is.owner(key)}
	if was.n.apis["api1"] != nil && w.IntN(3) == 0 {
		q.Host = pick(w, "b.a.ex", "m.a.ex")
	}
	if w.IntN(6) == 0 {
		q.Method, q.Preflight = "OPTIONS", true
		h["Origin"], h["Access-Control-Request-Method"] = []string{"https://app.ex"}, []string{"PUT"}
	}
	q.Country = geo.Country(q.Client)
	r = &policy.Request{Method: q.Method, Host: q.Host, Port: q.Port, Path: &path, Client: q.Client, Fields: h, Locator: geo, Now: noon, Dry: true}
	if w.IntN(4) == 0 {
		q.Client = netip.AddrFrom16(q.Client.As16()) // mapped into IPv6
	}
	return q, r, key
}

// pairsTried is how many random changes are tried; LICTOR_PAIRS says another number.
const pairsTried = 500

// TestImpactAgreesWithTheNaiveEvaluator proves what random changes do, and holds the
// proofs against what the naive evaluator says of both policies to requests from
// inside of the classes, and from their edges. With LICTOR_PAIRS=10000 it takes a
// minute.
func TestImpactAgreesWithTheNaiveEvaluator(t *testing.T) { // R3
	const each = 100
	all := uint64(pairsTried)
	if n, err := strconv.ParseUint(os.Getenv("LICTOR_PAIRS"), 10, 32); err == nil {
		all = n
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var wait sync.WaitGroup
	for part := range 2 {
		wait.Go(func() {
			mine := map[string]int{}
			for seed := uint64(part); seed < all && !t.Failed(); seed += 2 {
				tryPair(t, seed, each, mine)
			}
			mu.Lock()
			defer mu.Unlock()
			for k, n := range mine {
				seen[k] += n
			}
		})
	}
	wait.Wait()
	t.Log(seen)
	for what, share := range map[string]float64{"CLOSES": 1, "OPENS": 1, "CLOSES odd": .3, "OPENS odd": .3, "complete": .7} {
		if least := int(share * float64(all)); seen[what] < least && !t.Failed() {
			t.Errorf("only %d of %s, want %d: the test proves little", seen[what], what, least)
		}
	}
}

func tryPair(t *testing.T, seed uint64, each int, seen map[string]int) {
	w, was, is, created := pair(seed)
	rep := impact.Compare(was.changes(created), is.changes(created), impact.Options{BindConsumers: was.n.bind, MaxClasses: 20000, MaxTotal: pick(w, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000)})
	if rep.Complete {
		seen["complete"]++
	}
	for _, p := range rep.Roads {
		seen["classes"] += p.Classes
	}
	for range each {
		q, r, key := w.query(was, is)
		want := impact.Same
		switch before, after := was.passes(r, key), is.passes(r, key); {
		case before && !after:
			want = impact.Closes
		case !before && after:
			want = impact.Opens
		}
		got, known := rep.Find(q)
		switch {
		case !known && rep.Complete:
			t.Errorf("world %d: a complete proof does not know %+v", seed, q)
		case !known:
			seen["unknown"]++
			continue
		case got != want:
			t.Errorf("world %d: %s %s:%d%s from %s %s as %q and %q: the proof says %q, the naive evaluator %q\nbefore %+v\nafter %+v\n%s", seed, q.Method, q.Host, q.Port, q.Path.Received, q.Client, q.Country, q.Before, q.After, got, want,
				summary(w.compile(t, was.changes(created)), r), summary(w.compile(t, is.changes(created)), r), describe(was, is))
			return
		}
		seen[strings.TrimSpace(string(got))]++
		if q.Path.Odd() {
			seen[string(got)+" odd"]++
		}
	}
}

func describe(was, is *half) string {
	var b strings.Builder
	for _, k := range slices.SortedFunc(maps.Keys(was.objects), policy.Key.Compare) {
		mark := "="
		if is.objects[k] != was.objects[k] {
			mark = "-"
		}
		fmt.Fprintf(&b, "%s %s %+v\n", mark, k, was.objects[k])
	}
	for k, o := range is.objects {
		if was.objects[k] != o {
			fmt.Fprintf(&b, "+ %s %+v\n", k, o)
		}
	}
	return b.String()
}
