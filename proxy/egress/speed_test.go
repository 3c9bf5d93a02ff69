package egress

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
	"lictor/proxy/own"
)

// decider returns what decides about a request for a name, with a blacklist of
// many entries, as [exchange.decide] does for one request after the other.
func decider(tb testing.TB, entries int) func() answer.Refusal {
	tb.Helper()
	list := black()
	for i := range entries {
		list.Entries = append(list.Entries, fmt.Sprintf(".bad%d.example", i))
	}
	set, rejected := policy.NewBuilder(policy.Options{}).Apply(1, []policy.Change{{Key: blackKey, Object: list}})
	if len(rejected) > 0 {
		tb.Fatal(rejected[0].Problems)
	}
	var req message.RequestHead
	if err := req.Parse([]byte("GET http://www.shop.example/some/path?x=1 HTTP/1.1\r\nHost: www.shop.example\r\n\r\n")); err != nil {
		tb.Fatal(err)
	}
	addrs := []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2a00::8")}
	look := func(context.Context, string) ([]netip.Addr, error) { return addrs, nil }
	g := basis{set: set, own: new(own.Set), settings: new(Settings)}
	var q inquiry
	var s scratch
	var t target
	return func() answer.Refusal {
		var err error
		if t, err = parseTarget(&req, &s); err != nil {
			tb.Fatal(err)
		}
		q.begin(g, &t, req.Method, readCredentials(&req), nil)
		_, r := q.run(context.Background(), look)
		return r
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, entries := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			decide := decider(b, entries)
			b.ReportAllocs()
			for b.Loop() {
				if r := decide(); r.Status != 0 {
					b.Fatal("the benchmark measures a refusal")
				}
			}
		})
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	decide := decider(t, 1000)
	if n := testing.AllocsPerRun(100, func() { decide() }); n != 0 {
		t.Errorf("a decision allocates %v times, want 0", n)
	}
}
