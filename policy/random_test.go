//go:build !race

package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lictor/policy"
)

// world makes random policies and requests of a few names, so that they meet.
type world struct {
	*rand.Rand
	n       *naive
	changes []policy.Change
}

func pick[T any](w *world, of ...T) T { return of[w.IntN(len(of))] }

// some returns up to n of the choices, each once.
func (w *world) some(n int, of ...string) (list []string) {
	for range w.IntN(n + 1) {
		if s := pick(w, of...); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

var (
	svcs      = []string{"svc", "pub", "adm", "billing"}
	hostNames = []string{"a.ex", "b.a.ex", "c.b.a.ex", "ex", "z.org"}
	people3   = []string{"ann", "bob", "cyd"}
	groups3   = []string{"g1", "g2", "g3"}
	methods3  = []string{"GET", "POST", "PUT"}
	sent4     = []string{"GET", "POST", "PUT", "post"} // by clients
	paths     = []string{"/svc", "/svc/adm", "/svc/adm/x", "/pub", "/", "/adm/"}
	nets      = []string{"127.0.0.0/24", "127.0.0.1/32", "127.0.0.2/31", "10.0.0.0/8"}
	targets   = []string{"/svc", "/svc/adm", "/svc/adm/x/y", "/svc/admx", "/pub/a", "/adm", "/", "/pub/..;/svc/adm", "/svc//adm", "/svc/x/%2e%2e/adm",
		"/svc/adm;v=1", "/svc%2Fadm", "/pub/x%2F..%2Fy", "/svc/x/..;/adm", "/api2/adm", "/svc/x%2F..%2Fadm/y", "/svc;a/adm"}
	clients  = []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "10.1.1.1", "9.9.9.9"}
	origins8 = []string{"*", "https://app.ex", "https://app.ex:8443", "*.ex", "http://*.ex:8000", "~https://[a-z]+\\.ex", "null", "https://[2001:db8::1]"}
	// What browsers send, and what they never do.
	sentOrigins = []string{"https://app.ex", "https://app.ex:8443", "https://a.app.ex", "http://app.ex", "http://app.ex:8000", "null", "https://[2001:db8::1]",
		"https://app.ex.evil", "https://evilapp.ex", "https://APP.ex", "https://app.ex:443", "https://app.ex/", "https://evil/.ex", "https://u@app.ex", "*", "https://app.ex https://app.ex"}
	filters4 = []string{"f1", "f2", "f3", "inl", "nosuch"}
)

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 7)), n: &naive{
		lists: map[string]*naiveList{}, consumers: map[string]*policy.Consumer{}, keys: map[string]*policy.Credential{},
		groups: map[string]*policy.Group{}, filters: map[string]*policy.Filter{}, plugins: map[string]*policy.Plugin{},
		mapped: map[string]*policy.PluginMapping{}, acls: map[string]*policy.ACL{}, apis: map[string]*policy.API{},
		domains: map[string]*policy.Mapping{}, created: map[string]uint64{}}}
	w.n.bind = w.IntN(4) == 0
	for i := range w.IntN(3) {
		w.addList(fmt.Sprint("l", i), false)
	}
	for i := range w.IntN(3) / 2 {
		w.addList(fmt.Sprint("w", i), true)
	}
	for i, name := range people3 {
		c := &policy.Consumer{Name: name, ID: pick(w, name, fmt.Sprint("id", i)), Groups: w.some(2, groups3...), CustomID: pick(w, "", "custom-"+name)}
		w.n.consumers[name] = c
		w.add(policy.KindConsumers, name, c)
		cred := &policy.Credential{Consumer: pick(w, name, c.ID)}
		w.n.keys["k"+name] = cred
		w.add(policy.KindCredentials, strings.TrimPrefix(credential("k"+name), "credentials/"), cred)
	}
	w.addRules()
	return w
}

func (w *world) add(kind policy.Kind, name string, o policy.Object) {
	created := uint64(len(w.changes) + 1)
	w.n.created[string(kind)+"/"+name] = created
	w.changes = append(w.changes, policy.Change{Key: policy.Key{Kind: kind, Name: name}, Index: created, Created: created, Object: o})
}

func (w *world) entry() (e naiveEntry) {
	port := ""
	if w.IntN(4) == 0 {
		e.port, e.saidPort, port = 8000, true, ":8000"
	}
	switch w.IntN(6) {
	case 0:
		e.prefix = netip.MustParsePrefix(pick(w, nets...))
		e.text = e.prefix.String() + port
	case 1:
		e.service, e.port = pick(w, svcs...), 0
		e.text = "service:" + e.service
	case 2:
		e.path, e.port = pick(w, paths...), 0
		e.text = e.path
	case 3:
		e.path, e.host = pick(w, paths...), pick(w, hostNames...)
		e.text = "http://" + e.host + port + e.path
	default:
		e.host, e.scope = pick(w, hostNames...), pick(w, "", ".", "*.")
		e.text = e.scope + e.host + port
	}
	if e.path != "" && w.IntN(2) == 0 {
		e.method = pick(w, methods3...)
		e.text = e.method + " " + e.text
	}
	return e
}

func (w *world) addList(name string, allow bool) {
	l := &naiveList{List: &policy.List{Allow: allow, Mode: pick(w, policy.Enforce, policy.Enforce, policy.Report),
		Direction: pick(w, policy.Ingress, policy.Egress, policy.Both)}}
	for range w.IntN(4) {
		e := w.entry()
		l.entries = append(l.entries, e)
		l.Entries = append(l.Entries, e.text)
	}
	w.n.lists[name] = l
	w.add(l.Kind(), name, l.List)
}

func (w *world) mode() policy.Mode { return pick(w, policy.Enforce, policy.Enforce, policy.Report) }

func (w *world) origins() []string {
	if list := w.some(3, origins8...); len(list) > 0 {
		return list
	}
	return []string{"*"}
}

func (w *world) addRules() {
	for _, name := range filters4[:4] {
		f := &policy.Filter{Name: name, Methods: w.some(2, methods3...), Hosts: w.some(2, "a.ex", "b.a.ex", "*.a.ex", "*.ex"),
			Paths: w.some(1, paths...), IPs: w.some(2, nets...), Locations: w.some(1, "US", "CA"), Inline: name == "inl"}
		if len(f.Methods)+len(f.Hosts)+len(f.Paths)+len(f.IPs)+len(f.Locations) == 0 {
			f.Methods = []string{"GET"}
		}
		w.n.filters[name] = f
		w.add(policy.KindFilters, name, f)
	}
	refs := func() []string { return w.some(2, filters4...) }
	for i := range w.IntN(4) {
		a := &policy.ACL{ID: fmt.Sprint(i), API: pick(w, "svc", "pub", "*.a.ex"), Consumers: w.some(1, "ann", "id0", "id1", "bob", "dead"),
			Groups: w.some(1, groups3...), Filters: refs(), Mode: w.mode()}
		if len(a.Consumers)+len(a.Groups)+len(a.Filters) > 0 {
			w.n.acls[a.ID] = a
			w.add(policy.KindACLs, a.ID, a)
		}
	}
	for i := range w.IntN(5) {
		p := &policy.Plugin{ID: fmt.Sprint("p", i), Name: "rate-limiting", Config: map[string]any{"minute": int64(1 + w.IntN(3)), "by": pick(w, "consumer", "credential", "address", "path", "header:Origin")}}
		switch w.IntN(16) {
		case 0, 1, 2:
			p.Name, p.Config = "key-auth", map[string]any{"hide_credentials": w.IntN(2) == 0}
		case 3:
			p.Name, p.Config = "request-size-limiting", map[string]any{"allowed_payload_size": int64(1 + w.IntN(3)), "size_unit": "bytes"}
		case 4:
			p.Name, p.Config = "request-termination", map[string]any{"status_code": int64(503)}
		case 8, 9, 10:
			list := w.origins()
			p.Name, p.Config = "cors", map[string]any{"origins": list, "credentials": w.IntN(2) == 0 && !slices.Contains(list, "null"), "preflight_continue": w.IntN(3) == 0}
		case 5:
			p.Mode = policy.Report
		case 6, 7:
			p.Name, p.Config, p.Mode = "forward-auth", map[string]any{"service": p.ID}, pick(w, policy.Enforce, policy.Enforce, policy.Report)
		case 11, 12:
			p.Name, p.Config = "jwt", w.tokenConfig()
		}
		yes, no := true, false
		p.Global, p.Enabled = pick(w, nil, nil, &no, &yes), pick(w, nil, nil, nil, &no)
		w.n.plugins[p.ID] = p
		w.add(policy.KindPlugins, p.ID, p)
	}
	for i := range w.IntN(4) {
		m := &policy.PluginMapping{ID: fmt.Sprint("m", i), API: pick(w, "", "svc", "pub", "api1"), Plugins: w.some(2, "p0", "p1", "p2", "p3"),
			Consumers: w.some(1, "ann", "id1", "cyd"), Groups: w.some(1, groups3...), Filters: w.some(1, filters4...)}
		if len(m.Plugins)+len(m.Groups) > 0 {
			w.n.mapped[m.ID] = m
			w.add(policy.KindPluginMappings, m.ID, m)
		}
	}
	for _, name := range w.some(2, groups3...) {
		g := &policy.Group{Name: name, Plugins: w.some(2, "p0", "p1", "p2", "p3")}
		w.n.groups[name] = g
		w.add(policy.KindGroups, name, g)
	}
	for _, name := range w.some(2, "svc", "api1", "api2") {
		a := &policy.API{Name: name, Filters: refs()}
		switch target := pick(w, "", "", "svc", "pub"); {
		case w.IntN(4) == 0 && target != "":
			a.Backends = []string{"service:" + target}
		default:
			a.Service = target
		}
		w.n.apis[name] = a
		w.add(policy.KindAPIs, name, a)
	}
	for _, domain := range w.some(1, "b.a.ex", "*.a.ex", "z.org") {
		m := &policy.Mapping{Domain: domain, Backends: []string{"http://h"}}
		w.n.domains[domain] = m
		w.add(policy.KindMappings, domain, m)
	}
}

// request makes a random request, and tells the key and the token in it.
func (w *world) request() (r *policy.Request, key, token string) {
	key = pick(w, "", "kann", "kbob", "kcyd", "kwrong")
	token = pick(w, "", "ann", "ann", "bob", "cyd", "eve", "none", "old", "forged")
	h := header{}
	if key != "" {
		h["apikey"] = []string{key}
	}
	method := pick(w, sent4...)
	if w.IntN(3) == 0 {
		h["Origin"] = []string{pick(w, sentOrigins...)}
	}
	if w.IntN(6) == 0 {
		method, h["Access-Control-Request-Method"] = "OPTIONS", []string{"PUT"}
	}
	if token != "" {
		h["Authorization"] = []string{"Bearer " + naiveTokens[token].text}
	}
	return &policy.Request{Method: method, Host: pick(w, hostNames...), Port: pick[uint16](w, 80, 8000), Path: mustPath(pick(w, targets...)),
		Client: netip.MustParseAddr(pick(w, clients...)), Fields: h, Length: int64(w.IntN(5) - 1), Locator: geo, Now: noon, Limiter: new(policy.Limiter), Tokens: verifier, Dry: true}, key, token
}

func (w *world) compile(t *testing.T, changes []policy.Change) *policy.Set {
	t.Helper()
	set, rejected := policy.NewBuilder(policy.Options{BindConsumers: w.n.bind}).Apply(1, changes)
	if len(rejected) > 0 {
		t.Fatalf("rejected %+v", *rejected[0])
	}
	return set
}

// summary is what the naive evaluator has to agree with.
func summary(set *policy.Set, r *policy.Request) naiveVerdict {
	route := set.Route(r)
	var v policy.Verdict
	set.Decide(r, &route, &v, nil)
	s := naiveVerdict{by: route.By, api: route.API, reason: v.Reason, hide: v.Allowed() && len(v.Hide) > 0}
	if x := v.CORS; x.Rules != nil {
		s.cors = [...]string{"nothing", "any", "named"}[x.Access]
	}
	s.answered = v.Action == policy.Answer
	if v.Identity != nil {
		s.consumer = v.Identity.Name
	}
	var would []string
	for _, w := range v.Would() {
		if w.Reason != policy.ReasonRateLimit { // counters are the Limiter's tests
			would = append(would, string(w.Reason))
		}
	}
	s.would = strings.Join(would, " ")
	if all := v.Limits.All(); len(all) > 0 && v.Allowed() {
		s.limit = all[0].Limit
	}
	if v.Allowed() {
		s.most = v.MaxBody
		s.asks = strings.Join(wheres(&v), " ")
	}
	return s
}

// TestAgreesWithTheNaiveEvaluator compares more than 100,000 decisions.
func TestAgreesWithTheNaiveEvaluator(t *testing.T) {
	reasons, told := map[policy.Reason]int{}, map[string]int{}
	for seed := range uint64(2800) {
		w := newWorld(seed)
		set := w.compile(t, w.changes)
		for range 40 {
			r, key, token := w.request()
			got, want := summary(set, r), w.n.decide(r, key, token)
			if got != want {
				t.Fatalf("world %d: %s %s%s from %s with %q and the token %q\n got %+v\nwant %+v\n%s", seed, r.Method, r.Host, r.Path.Received, r.Client, key, token, got, want, w)
			}
			reasons[got.reason]++
			if strings.Contains(got.asks, " / ") {
				reasons["asks twice"]++
			} else if got.asks != "" {
				reasons["asks"]++
			}
			told[got.cors]++
			if got.answered {
				told["a preflight"]++
			}
		}
	}
	for _, what := range []string{"nothing", "any", "named", "a preflight"} {
		if told[what] < 300 {
			t.Errorf("only %d answers tell browsers of %q: the test proves little", told[what], what)
		}
	}
	for _, reason := range []policy.Reason{"", "asks", "asks twice", "blacklist", "whitelist", "no_credentials", "bad_credentials", "acl", "bound_consumer", "bad_path", "body_too_large", "terminated"} {
		if reasons[reason] < 300 {
			t.Errorf("only %d decisions of the reason %q: the test proves little", reasons[reason], reason)
		}
	}
}

// TestEgressAgreesWithTheNaiveEvaluator compares 40,000 destinations.
func TestEgressAgreesWithTheNaiveEvaluator(t *testing.T) {
	reasons := map[policy.Reason]int{}
	for seed := range uint64(1000) {
		w := newWorld(seed)
		set := w.compile(t, w.changes)
		for range 40 {
			d := &policy.Destination{Method: pick(w, sent4...), Host: pick(w, hostNames...), Port: pick[uint16](w, 80, 8000, 8080), Registry: services}
			if w.IntN(4) > 0 {
				d.Path = mustPath(pick(w, targets...))
			}
			for range 1 + w.IntN(2) {
				d.Addrs = append(d.Addrs, netip.MustParseAddr(pick(w, append(clients, "10.0.0.5")...)))
			}
			var v policy.Verdict
			if !set.Blacklisted(d, &v, nil) {
				set.Whitelisted(d, &v, nil)
			}
			if want := w.n.out(d); v.Reason != want || v.Allowed() != (want == "") {
				t.Fatalf("world %d: %+v: got %+v, want %q\n%s", seed, d, v, want, w)
			}
			reasons[v.Reason]++
		}
	}
	if reasons[""] < 1000 || reasons["blacklist"] < 1000 || reasons["whitelist"] < 500 {
		t.Errorf("the test proves little: %v", reasons)
	}
}

func (w *world) String() string {
	var b strings.Builder
	for _, c := range w.changes {
		fmt.Fprintf(&b, "%s %+v\n", c.Key, c.Object)
	}
	return b.String()
}

// TestOrderDoesNotMatter loads the same objects in another order, in several
// steps, with detours, and wants the same hash and the same decisions.
func TestOrderDoesNotMatter(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(seed)
		other := newWorld(seed + 1)
		straight := w.compile(t, w.changes)
		b := policy.NewBuilder(policy.Options{BindConsumers: w.n.bind})
		b.Apply(1, other.changes) // another policy first, all of it replaced or deleted
		for _, k := range b.Keys() {
			if !slices.ContainsFunc(w.changes, func(c policy.Change) bool { return c.Key == k }) {
				b.Apply(2, []policy.Change{{Key: k}})
			}
		}
		shuffled := slices.Clone(w.changes)
		w.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		var detour *policy.Set
		for len(shuffled) > 0 {
			n := 1 + w.IntN(len(shuffled))
			detour, _ = b.Apply(3, shuffled[:n])
			shuffled = shuffled[n:]
		}
		if straight.Version().Hash != detour.Version().Hash {
			t.Fatalf("world %d: the hash depends on the way", seed)
		}
		for range 40 {
			r, _, _ := w.request()
			if got, want := summary(detour, r), summary(straight, r); got != want {
				t.Fatalf("world %d: %+v after a detour, %+v straight\n%s", seed, got, want, w)
			}
		}
	}
}

// TestADenyNeverLetsMoreThrough adds a blacklist to random policies.
func TestADenyNeverLetsMoreThrough(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(seed)
		before := w.compile(t, w.changes)
		extra := &policy.List{Mode: policy.Enforce, Direction: pick(w, policy.Ingress, policy.Both)}
		for range 1 + w.IntN(3) {
			extra.Entries = append(extra.Entries, w.entry().text)
		}
		w.add(policy.KindBlacklist, "extra", extra)
		after := w.compile(t, w.changes)
		for range 40 {
			r, _, _ := w.request()
			if was, is := summary(before, r), summary(after, r); was.reason != "" && is.reason == "" {
				t.Fatalf("world %d: %v lets through what was refused by %s", seed, extra.Entries, was.reason)
			}
		}
	}
}
