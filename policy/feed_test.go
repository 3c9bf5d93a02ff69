package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"lictor/policy"
)

// feedOf makes a feed of entries, leaving out what a feed may not have.
func feedOf(o policy.FeedOptions, entries ...string) *policy.Feed {
	m := policy.NewFeedMaker(o)
	for _, e := range entries {
		_ = m.Add(e) // what it refuses is another test's
	}
	return m.Feed()
}

// TestAFeedDecidesAsABlacklist holds random feeds against blacklists of the same
// entries: gateway and egress decide alike, and cite the same entry.
func TestAFeedDecidesAsABlacklist(t *testing.T) { // A18
	rng := rand.New(rand.NewPCG(7, 8))
	hosts := []string{"a.example", "b.a.example", "example", "x.b.a.example", "c.example"}
	addrs := []string{"10.0.0.1", "10.0.0.2", "10.1.0.1", "2001:db8::1", "2001:db8:1::1", "::ffff:10.0.0.1", "192.0.2.1"}
	forms := []string{"a.example", ".a.example", "*.a.example", "b.a.example", "10.0.0.1", "10.0.0.0/30", "10.0.0.0/8", "2001:db8::/32", "2001:db8::1", "C.example", "192.0.2.0/24"}
	for range 2000 {
		var entries []string
		for _, f := range forms {
			if rng.IntN(3) == 0 {
				entries = append(entries, f)
			}
		}
		o := policy.FeedOptions{Name: "x", Reason: "why", Direction: []policy.Direction{"", policy.Ingress, policy.Egress, policy.Both}[rng.IntN(4)]}
		if rng.IntN(3) == 0 {
			o.Mode = policy.Report
		}
		b := policy.NewBuilder(policy.Options{})
		b.SetFeeds([]*policy.Feed{feedOf(o, entries...)})
		fed, _ := b.Apply(1, nil)
		listed, _ := policy.NewBuilder(policy.Options{}).Apply(1, []policy.Change{{
			Key:    policy.Key{Kind: policy.KindBlacklist, Name: "x"},
			Object: &policy.List{Entries: entries, Direction: o.Direction, Mode: o.Mode, Reason: o.Reason},
		}})
		told := func(v *policy.Verdict) string {
			text := fmt.Sprint(v.Action, v.Reason, v.Status, v.Rule.Entry, v.Rule.Note)
			for _, w := range v.Would() {
				text += fmt.Sprint(" would ", w.Reason, w.Rule.Entry)
			}
			return text
		}
		host, addr := hosts[rng.IntN(len(hosts))], netip.MustParseAddr(addrs[rng.IntN(len(addrs))])
		var got, want policy.Verdict
		for set, v := range map[*policy.Set]*policy.Verdict{fed: &got, listed: &want} {
			r := policy.Request{Method: "GET", Host: host, Client: addr, Path: mustPath("/shop/x")}
			set.Decide(&r, &policy.Route{API: "shop", Service: "shop"}, v, nil)
		}
		if told(&got) != told(&want) {
			t.Fatalf("%+v %q, %s from %s: the feed says %s, the list %s", o, entries, host, addr, told(&got), told(&want))
		}
		for set, v := range map[*policy.Set]*policy.Verdict{fed: &got, listed: &want} {
			set.Blacklisted(&policy.Destination{Method: "GET", Host: host, Port: 80, Path: mustPath("/"), Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.1"), addr}}, v, nil)
		}
		if told(&got) != told(&want) {
			t.Fatalf("%+v %q, to %s at %s: the feed says %s, the list %s", o, entries, host, addr, told(&got), told(&want))
		}
	}
}

// TestAnUnknownFeedCloses holds what a feed does that was never read.
func TestAnUnknownFeedCloses(t *testing.T) { // A18, X6
	b := policy.NewBuilder(policy.Options{})
	state := func() string {
		set, _ := b.Apply(1, nil)
		_, in := set.Closed(policy.Ingress)
		_, out := set.Closed(policy.Egress)
		return fmt.Sprint(in, out, len(set.Closings()))
	}
	for _, tt := range []struct {
		o    policy.FeedOptions
		want string
	}{
		{policy.FeedOptions{Name: "x"}, "true true 1"},
		{policy.FeedOptions{Name: "x", Direction: policy.Egress}, "false true 1"},
		{policy.FeedOptions{Name: "x", Direction: policy.Ingress}, "true false 1"},
		{policy.FeedOptions{Name: "x", Mode: policy.Report}, "false false 0"},
	} {
		b.SetFeeds([]*policy.Feed{policy.UnknownFeed(tt.o)})
		if got := state(); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.o, got, tt.want)
		}
	}
	b.SetFeeds([]*policy.Feed{feedOf(policy.FeedOptions{Name: "x"}, "a.example")})
	if got := state(); got != "false false 0" {
		t.Errorf("once it is known: got %s", got)
	}
}

// TestTheHashTellsFeedsApart holds that lictors with the same hash have the same feeds.
func TestTheHashTellsFeedsApart(t *testing.T) {
	b := policy.NewBuilder(policy.Options{})
	seen := map[string]string{}
	empty, _ := b.Apply(1, nil)
	for name, feeds := range map[string][]*policy.Feed{
		"one":          {feedOf(policy.FeedOptions{Name: "x"}, "a.example")},
		"another":      {feedOf(policy.FeedOptions{Name: "x"}, "b.example")},
		"renamed":      {feedOf(policy.FeedOptions{Name: "y"}, "a.example")},
		"reports":      {feedOf(policy.FeedOptions{Name: "x", Mode: policy.Report}, "a.example")},
		"not read yet": {policy.UnknownFeed(policy.FeedOptions{Name: "x"})},
		"two":          {feedOf(policy.FeedOptions{Name: "x"}, "a.example"), feedOf(policy.FeedOptions{Name: "y"}, "a.example")},
	} {
		b.SetFeeds(feeds)
		set, _ := b.Apply(1, nil)
		if other, twice := seen[set.Version().Hash]; twice {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[set.Version().Hash] = name
	}
	b.SetFeeds(nil)
	if set, _ := b.Apply(1, nil); set.Version() != empty.Version() {
		t.Error("feeds that are gone are still in the hash")
	}
}

// TestAFeedCostsNoAllocation asks a feed of many entries, for some that it has and
// others.
func TestAFeedCostsNoAllocation(t *testing.T) {
	b := policy.NewBuilder(policy.Options{})
	b.SetFeeds([]*policy.Feed{feedOf(policy.FeedOptions{Name: "x"}, plain(50_000)...)})
	set, _ := b.Apply(1, nil)
	for host, denied := range map[string]bool{plain(1)[0]: true, "www.shop.example": false} {
		r := ask(t, "GET http://"+host+"/api-7/x")
		var v policy.Verdict
		if n := testing.AllocsPerRun(100, func() {
			route := set.Route(r)
			set.Decide(r, &route, &v, nil)
		}); n != 0 || (v.Reason == policy.ReasonBlacklist) != denied {
			t.Errorf("%s: %v allocations, %+v", host, n, v)
		}
	}
}

// A feed counts what it refuses, or would refuse, as the store's lists do, and goes on
// when it is read anew; it is ready to be enforced by what the configuration says of it,
// for it is read anew all the time.
func TestAFeedCountsWhatItRefuses(t *testing.T) {
	b := policy.NewBuilder(policy.Options{})
	now := time.Unix(1_000_000, 0)
	in := func(feeds ...*policy.Feed) *policy.Set {
		b.SetFeeds(feeds)
		set, _ := b.Apply(1, nil)
		b.Stamp(now)
		return set
	}
	ask := func(s *policy.Set) {
		var v policy.Verdict
		s.Blacklisted(&policy.Destination{Host: "bad.example", Port: 80}, &v, nil)
		v.Count(now)
	}
	o := policy.FeedOptions{Name: "x", Mode: policy.Report}
	set := in(feedOf(o, "bad.example"))
	ask(set)
	began := now
	now = now.Add(25 * time.Hour)
	set = in(feedOf(o, "bad.example", "worse.example"))
	ask(set)
	hits := set.Hits()
	if len(hits) != 1 || hits[0].Key != "feeds/x" || hits[0].Would != 2 || !hits[0].Changed.Equal(began) || hits[0].Ready(now) || !hits[0].Ready(now.Add(25*time.Hour)) {
		t.Errorf("in report mode: %+v", hits)
	}
	o.Mode = policy.Enforce
	set = in(feedOf(o, "bad.example"))
	ask(set)
	if hits := set.Hits(); len(hits) != 1 || hits[0].Refused != 1 || hits[0].Would != 2 || !hits[0].Changed.Equal(now) {
		t.Errorf("enforced: %+v", hits)
	}
	if hits := in().Hits(); len(hits) != 0 {
		t.Errorf("after it went: %+v", hits)
	}
}
