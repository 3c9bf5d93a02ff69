//go:build !race

package policy_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"lictor/policy"
)

// TestManyEntriesCostLittle compares decisions with no and with 100,000 entries
// by the best of many short runs, which a busy machine disturbs least.
func TestManyEntriesCostLittle(t *testing.T) {
	var runs [2]func()
	for i, n := range [...]int{0, 100_000} {
		_, set := newStore(t, policy.Options{}, big(n, 100, 1000, 1000)...)
		_, runs[i] = busy(t, set)
	}
	best := [2]time.Duration{time.Hour, time.Hour}
	for range 200 {
		for i, run := range runs {
			began := time.Now()
			for range 200 {
				run()
			}
			best[i] = min(best[i], time.Since(began)/200)
		}
	}
	t.Logf("%s without entries, %s with 100,000", best[0], best[1])
	if float64(best[1]) > 2*float64(best[0]) {
		t.Errorf("%s without entries, %s with 100,000, want at most 1.3 times (2 on a busy machine)", best[0], best[1])
	}
}

// Whoever makes up values fills the table of values alone, and whoever comes then
// is counted all the same.
func TestMadeUpValuesHarmNobodyElse(t *testing.T) { // P6
	_, set := newStore(t, policy.Options{}, with("plugins/l", `{"name":"rate-limiting","config":{"year":2,"by":"header:X-Tenant"}}`)...)
	limiter := new(policy.Limiter)
	r := &policy.Request{Method: "GET", Host: "x", Port: 80, Path: mustPath("/svc/a"), Client: netip.MustParseAddr("127.0.0.1"), Now: noon, Limiter: limiter}
	send := func(tenant string) policy.Reason {
		r.Fields = header{}
		if tenant != "" {
			r.Fields = oneField{"X-Tenant", tenant}
		}
		route := set.Route(r)
		var v policy.Verdict
		set.Decide(r, &route, &v, nil)
		return v.Reason
	}
	three := func(tenant string) [3]policy.Reason {
		return [3]policy.Reason{send(tenant), send(tenant), send(tenant)}
	}
	limitOfTwo := [3]policy.Reason{"", "", policy.ReasonRateLimit}
	if three("") != limitOfTwo {
		t.Fatal("the address has no limit of two")
	}
	for i := range 400_000 {
		if why := send(fmt.Sprint("made-up-", i)); why != "" {
			t.Fatalf("the %dth value is refused: %s", i, why)
		}
	}
	if send("") != policy.ReasonRateLimit {
		t.Error("a flood of values forgave an address")
	}
	if three("honest") != limitOfTwo {
		t.Error("a value that comes after the flood has no limit of two")
	}
	tenant := oneField{"X-Tenant", "honest"}
	r.Fields = tenant
	route := set.Route(r)
	var v policy.Verdict
	if n := testing.AllocsPerRun(100, func() { set.Decide(r, &route, &v, nil) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestDecideAmongAMillionDoesNotAllocate asks among a million entries, and for some
// of them.
func TestDecideAmongAMillionDoesNotAllocate(t *testing.T) {
	docs := append(plainLists(1_000_000, 20_000), big(0, 10, 100, 100)...)
	set, _ := policy.NewBuilder(policy.Options{}).Apply(1, changesOf(docs))
	_, run := busy(t, set)
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("a decision among a million entries allocates %v times", n)
	}
	all := plain(1_000_000)
	for _, entry := range []string{all[0], all[999_998]} {
		deny := ask(t, "GET http://"+entry+"/api-7/x")
		var v policy.Verdict
		if n := testing.AllocsPerRun(100, func() {
			route := set.Route(deny)
			set.Decide(deny, &route, &v, nil)
		}); n != 0 || v.Reason != policy.ReasonBlacklist || v.Rule.Entry != entry {
			t.Errorf("%s: a refusal allocates %v times: %+v", entry, n, v)
		}
	}
}
