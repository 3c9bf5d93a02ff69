//go:build !race

package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestMemoryIsBounded(t *testing.T) { // C17: whatever clients send
	l, c := new(Limiter), limitOf(t, map[string]any{"minute": 2})
	now := at("2026-07-15T12:30:30Z")
	var a [4]byte
	var out Limits
	const flood = limiterShards * shardCounters * 5 / 4
	for i := range flood {
		a[0], a[1], a[2], a[3] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
		l.take(counterKey{api: "svc", client: netip.AddrFrom4(a)}, c, now, false, &out)
	}
	if n := l.Counters(); n > limiterShards*shardCounters*3/4 {
		t.Errorf("%d counters for addresses", n)
	}
	if l.take(counterKey{api: "svc", client: netip.MustParseAddr("203.0.113.7")}, c, now, false, &out); out.Refused {
		t.Error("when all counters are in use an address that was not seen before is refused")
	}
	l.take(counterKey{api: "svc", consumer: "ann"}, c, now, false, &out)
	if out.Refused {
		t.Error("a flood of addresses keeps a consumer out")
	}
	// A minute later the old counters are over, and room is found again.
	l.take(counterKey{api: "svc", client: netip.MustParseAddr("2001:db8::1")}, c, now.Add(time.Minute), false, &out)
	l.take(counterKey{api: "svc", client: netip.MustParseAddr("2001:db8::1")}, c, now.Add(time.Minute), false, &out)
	if out.Refused || out.Tight.Remaining != 0 {
		t.Errorf("after the flood: %+v", out)
	}
	if n := l.Counters(); n > limiterShards*shardCounters {
		t.Errorf("%d counters", n)
	}
}

// TestFloodsLockNobodyOut has one network after the other use as many addresses
// as it has (C17), and asks then for whoever was not seen before.
func TestFloodsLockNobodyOut(t *testing.T) {
	now := at("2026-07-15T12:30:30Z")
	v6 := func(prefix string, place, i int) netip.Addr {
		a := netip.MustParseAddr(prefix).As16()
		a[place], a[place+1], a[place+2] = byte(i>>16), byte(i>>8), byte(i)
		return netip.AddrFrom16(a)
	}
	tests := []struct {
		name    string
		n       int
		most    int // that may pass, with a limit of 5
		address func(i int) netip.Addr
	}{
		{"one /64", 240_000, 5, func(i int) netip.Addr { return v6("2001:db8::", 13, i) }},
		{"every /64 of a /48", 65_536, 65_536, func(i int) netip.Addr { return v6("2001:db8:1::", 5, i) }},
		{"many /48s", 240_000, 240_000, func(i int) netip.Addr { return v6("2001:db8::", 2, i) }},
		{"many /24s of IPv4", 240_000, 240_000, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}) }},
		{"a /14 of IPv4", 262_144, 262_144, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, c := new(Limiter), limitOf(t, map[string]any{"year": 5})
			if passed := flood(l, c, now, tt.n, tt.address); passed > tt.most {
				t.Errorf("%d requests passed, want at most %d", passed, tt.most)
			}
			if n, most := l.Counters(), limiterShards*shardCounters*3/4; n > most {
				t.Errorf("%d counters, want at most %d", n, most)
			}
			for i := range 2000 {
				client := netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 7})
				if passed := flood(l, c, now, 7, func(int) netip.Addr { return client }); passed != 5 {
					t.Fatalf("of 7 requests of newcomer %d %d passed, want 5", i, passed)
				}
			}
		})
	}
}

// TestAFloodGainsNothing asks again from addresses whose counters were taken.
func TestAFloodGainsNothing(t *testing.T) {
	l, c := new(Limiter), limitOf(t, map[string]any{"year": 2})
	now := at("2026-07-15T12:30:30Z")
	address := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0xd, 0xb8, 0, 1, byte(i >> 8), byte(i)})
	}
	passed := 0
	for range 4 {
		passed += flood(l, c, now, 65_536, address)
	}
	if most := 2*shardCounters*3/4 + 2; passed > most {
		t.Errorf("%d requests of one /48 passed, want at most %d", passed, most)
	}
}

// TestManyAPIsCostOnlyWhoAsksForThem has one client make up names of APIs.
func TestManyAPIsCostOnlyWhoAsksForThem(t *testing.T) {
	l, c := new(Limiter), limitOf(t, map[string]any{"year": 2})
	now, out := at("2026-07-15T12:30:30Z"), Limits{}
	for i := range 300_000 {
		for _, k := range []counterKey{{client: netip.MustParseAddr("192.0.2.1")}, {consumer: "ann"}} {
			k.api = fmt.Sprint("svc", i)
			l.take(k, c, now, false, &out)
		}
	}
	if n := l.Counters(); n > 2*shardCounters {
		t.Errorf("%d counters", n)
	}
	for i := range 5000 {
		for _, k := range []counterKey{{api: "svc", client: netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 7})}, {api: "svc", consumer: fmt.Sprint("c", i)}} {
			if l.take(k, c, now, false, &out); out.Refused {
				t.Fatalf("%+v is refused", k)
			}
		}
	}
}

// TestTableStaysWhole enters and takes at random and looks at what must hold.
func TestTableStaysWhole(t *testing.T) {
	l, c := new(Limiter), limitOf(t, map[string]any{"minute": 2})
	r := rand.New(rand.NewPCG(1, 2))
	now, out := at("2026-07-15T12:30:30Z"), Limits{}
	for i := range 400_000 {
		a := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(1 + r.IntN(256))), byte(r.IntN(256))})
		k := counterKey{api: fmt.Sprint(r.IntN(8)), client: a}
		if l.take(k, c, now, r.IntN(4) == 0, &out); i%1000 == 0 && r.IntN(20) == 0 {
			now = now.Add(20 * time.Second)
		}
	}
	for i := range l.shards {
		table := &l.shards[i].addresses
		total := int32(0)
		for h := range table.holders {
			x := &table.holders[h]
			at, n := x.first, int32(0)
			for ; n < x.n; n++ {
				k := table.counters[at].key
				if table.counters[at].holder != int32(h) || table.index[k] != at || table.counters[table.counters[at].next].prev != at {
					t.Fatalf("shard %d: counter %d is in no order", i, at)
				}
				at = table.counters[at].next
			}
			if x.n > 0 && at != x.first || x.n > table.most {
				t.Fatalf("shard %d: the ring of holder %d does not close", i, h)
			}
			total += x.n
		}
		if int(total) != len(table.index) || len(table.counters) > table.size || len(table.numbers)+len(table.free) != len(table.holders) {
			t.Fatalf("shard %d: %d counters are held, %d known, %d there", i, total, len(table.index), len(table.counters))
		}
	}
}
