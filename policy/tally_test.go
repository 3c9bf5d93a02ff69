package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/internal/uri"
)

// tallied is a policy whose rules count.
type tallied struct {
	t   *testing.T
	b   *Builder
	set *Set
	now time.Time
}

func (p *tallied) apply(changes ...Change) {
	p.t.Helper()
	set, rejected := p.b.Apply(1, changes)
	if len(rejected) > 0 {
		p.t.Fatal(rejected[0].Problems)
	}
	p.b.Stamp(p.now)
	p.set = set
}

// ask decides a request for a path of the service shop, and counts it.
func (p *tallied) ask(path string) { p.askAs(path, "") }

func (p *tallied) askAs(path, consumer string) {
	p.t.Helper()
	u, _, err := uri.ParsePath(path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r := Request{Method: "GET", Host: "h", Path: &u, Client: netip.MustParseAddr("10.0.0.1"), Now: p.now, As: consumer, Dry: consumer != ""}
	route := p.set.Route(&r)
	var v Verdict
	p.set.Decide(&r, &route, &v, nil)
	v.Count(p.now)
}

func (p *tallied) hits(key string) Hits {
	for _, h := range p.set.Hits() {
		if h.Key == key {
			return h
		}
	}
	return Hits{}
}

func list(allow bool, mode Mode, entries ...string) *List {
	return &List{Allow: allow, Entries: entries, Direction: Ingress, Mode: mode}
}

func put(kind Kind, name string, o Object) Change {
	return Change{Key: Key{kind, name}, Index: 1, Object: o}
}

// A rule counts what it did and when it did so last, over changes of the policy that
// leave its key; a key that is gone begins anew.
func TestRulesCountWhatTheyDo(t *testing.T) {
	p := &tallied{t: t, b: NewBuilder(Options{}), now: time.Unix(1_000_000, 0)}
	p.apply(
		put(KindBlacklist, "no", list(false, Enforce, "/shop/secret")), put(KindBlacklist, "maybe", list(false, Report, "/shop/soon")),
		put(KindWhitelist, "yes", list(true, Enforce, "/shop")),
		put(KindACLs, "a", &ACL{ID: "a", API: "other", Consumers: []string{"ann"}, Mode: Report}),
		put(KindACLs, "b", &ACL{ID: "b", API: "other", Consumers: []string{"bob"}, Mode: Report}),
	)
	for range 3 {
		p.ask("/shop/secret/x")
	}
	p.ask("/shop/soon")
	p.ask("/shop/x")
	for key, want := range map[string]Hits{
		"blacklist/no": {Mode: Enforce, Refused: 3}, "blacklist/maybe": {Mode: Report, Would: 1}, "whitelist/yes": {Mode: Enforce, Passed: 2},
		"acls/a": {Mode: Report}, "acls/b": {Mode: Report},
	} {
		got := p.hits(key)
		if got.Mode != want.Mode || got.Refused != want.Refused || got.Would != want.Would || got.Passed != want.Passed ||
			got.Last.IsZero() != (want.Refused+want.Would+want.Passed == 0) || !got.Changed.Equal(p.now) {
			t.Errorf("%s: %+v, want %+v", key, got, want)
		}
	}
	p.now = p.now.Add(time.Hour)
	p.apply(put(KindBlacklist, "no", list(false, Enforce, "/shop/other", "/shop/secret")), put(KindBlacklist, "maybe", list(false, Report, "/shop/soon")))
	p.ask("/shop/secret/x")
	if got := p.hits("blacklist/no"); got.Refused != 4 || !got.Last.Equal(p.now) || !got.Changed.Equal(p.now) {
		t.Errorf("after a change: %+v", got)
	}
	if got := p.hits("blacklist/maybe"); got.Would != 1 || got.Changed.Equal(p.now) {
		t.Errorf("read again without a change: %+v", got)
	}
	p.apply(Change{Key: Key{KindBlacklist, "no"}})
	p.apply(put(KindBlacklist, "no", list(false, Enforce, "/shop/secret")))
	if got := p.hits("blacklist/no"); got.Refused != 0 || !got.Last.IsZero() {
		t.Errorf("as a new one: %+v", got)
	}
}

// What several rules together would refuse keeps each of them from being ready: they
// were all asked, and none let it pass.
func TestWhatNoneLetsPassCountsForAll(t *testing.T) {
	p := &tallied{t: t, b: NewBuilder(Options{}), now: time.Unix(1_000_000, 0)}
	p.apply(
		put(KindWhitelist, "a", list(true, Report, "/a")), put(KindWhitelist, "b", list(true, Report, "/b")),
		put(KindACLs, "a", &ACL{ID: "a", API: "shop", Consumers: []string{"ann"}, Mode: Report}),
		put(KindACLs, "b", &ACL{ID: "b", API: "shop", Consumers: []string{"bob"}, Mode: Report}),
	)
	p.ask("/shop/x")
	for _, key := range []string{"whitelist/a", "whitelist/b", "acls/a", "acls/b"} {
		if got := p.hits(key); got.Would != 1 || !got.LastWould.Equal(p.now) || !got.Last.Equal(p.now) || got.Ready(p.now.Add(23*time.Hour)) {
			t.Errorf("%s: %+v", key, got)
		}
	}
}

// However many rules have a say in one decision, each of them counts.
func TestAllRulesOfADecisionCount(t *testing.T) {
	p := &tallied{t: t, b: NewBuilder(Options{}), now: time.Unix(1_000_000, 0)}
	plugin := func(name string, config map[string]any) Change {
		return put(KindPlugins, name, &Plugin{ID: name, Name: name, Mode: Report, Config: config})
	}
	p.apply(
		put(KindBlacklist, "maybe", list(false, Report, "/shop")), put(KindWhitelist, "maybe", list(true, Report, "/other")),
		put(KindACLs, "a", &ACL{ID: "a", API: "shop", Consumers: []string{"ann"}, Mode: Report}),
		plugin("key-auth", nil), plugin("jwt", map[string]any{"secrets": []any{"0123456789abcdef0123456789abcdef"}}), plugin("request-termination", nil),
	)
	p.ask("/shop/x")
	for _, h := range p.set.Hits() {
		if h.Would != 1 {
			t.Errorf("%s: %+v, want that it would have refused one", h.Key, h)
		}
	}
}

// An ACL that binds a consumer (C6) counts what it refuses at other APIs.
func TestWhatACLsRefuseElsewhereCounts(t *testing.T) {
	for _, mode := range []Mode{Enforce, Report} {
		p := &tallied{t: t, b: NewBuilder(Options{BindConsumers: true}), now: time.Unix(1_000_000, 0)}
		p.apply(put(KindConsumers, "ann", &Consumer{ID: "ann", Name: "ann"}), put(KindACLs, "a", &ACL{ID: "a", API: "other", Consumers: []string{"ann"}, Mode: mode}))
		p.askAs("/shop/x", "ann")
		if got := p.hits("acls/a"); got.Refused+got.Would != 1 || mode.Reports() != (got.Would == 1) {
			t.Errorf("%s: %+v", mode, got)
		}
	}
}

// A rule in report mode is ready once it stood for a day without refusing anything.
func TestWhenARuleIsReadyToBeEnforced(t *testing.T) {
	now := time.Unix(10_000_000, 0)
	ago := func(h int) time.Time { return now.Add(-time.Duration(h) * time.Hour) }
	for _, c := range []struct {
		what string
		hits Hits
		want bool
	}{
		{"a day", Hits{Mode: Report, Changed: ago(24)}, true},
		{"less", Hits{Mode: Report, Changed: ago(23)}, false},
		{"enforced", Hits{Mode: Enforce, Changed: ago(99)}, false},
		{"not known since when", Hits{Mode: Report}, false},
		{"a refusal within the day", Hits{Mode: Report, Changed: ago(99), LastWould: ago(23)}, false},
		{"a refusal before it", Hits{Mode: Report, Changed: ago(99), LastWould: ago(24)}, true},
	} {
		if got := c.hits.Ready(now); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
	if (*Set)(nil).Hits() != nil || !(*Set)(nil).LastUsed("x").IsZero() {
		t.Error("no policy counts")
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	p := &tallied{t: t, b: NewBuilder(Options{}), now: time.Unix(1_000_000, 0)}
	p.apply(put(KindBlacklist, "no", list(false, Enforce, "/shop")))
	r := Request{Method: "GET", Host: "h", Path: &uri.Path{Canonical: "/shop/x"}, Client: netip.MustParseAddr("10.0.0.1"), Now: p.now}
	route := p.set.Route(&r)
	var v Verdict
	if n := testing.AllocsPerRun(100, func() { p.set.Decide(&r, &route, &v, nil); v.Count(p.now) }); n != 0 {
		t.Errorf("a request allocates %v times", n)
	}
}

// header is a request's one field.
type header struct{ name, value string }

func (h header) Field(name string) (string, int) {
	if strings.EqualFold(name, h.name) {
		return h.value, 1
	}
	return "", 0
}

// A key was used when it said who asks, whether that was let pass or not; one that
// nobody shows, or is unknown, was not.
func TestAKeyIsUsedWhenItSaysWhoAsks(t *testing.T) {
	p := &tallied{t: t, b: NewBuilder(Options{}), now: time.Unix(1_000_000, 0)}
	name := func(key string) string { sum := sha256.Sum256([]byte(key)); return hex.EncodeToString(sum[:]) }
	p.apply(
		put(KindConsumers, "ann", &Consumer{ID: "ann", Name: "ann"}),
		put(KindCredentials, name("a"), &Credential{Consumer: "ann", ID: "1"}), put(KindCredentials, name("b"), &Credential{Consumer: "ann", ID: "2"}),
		put(KindACLs, "x", &ACL{ID: "x", API: "shop", Consumers: []string{"ann"}}),
	)
	for _, key := range []string{"a", "unknown", ""} {
		r := Request{Method: "GET", Host: "h", Path: &uri.Path{Canonical: "/shop/x"}, Client: netip.MustParseAddr("10.0.0.1"), Fields: header{"apikey", key}, Now: p.now}
		route := p.set.Route(&r)
		var v Verdict
		p.set.Decide(&r, &route, &v, nil)
		if !p.set.LastUsed(name(key)).IsZero() {
			t.Errorf("key %q is used before the request is counted", key)
		}
		v.Count(p.now)
	}
	for key, used := range map[string]bool{"a": true, "b": false, "unknown": false, "": false} {
		if got := p.set.LastUsed(name(key)); got.Equal(p.now) != used || got.IsZero() == used {
			t.Errorf("key %q: last used %v, want %v", key, got, used)
		}
	}
}
