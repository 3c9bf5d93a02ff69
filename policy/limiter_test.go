package policy

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func limitOf(t testing.TB, config map[string]any) *rateLimit {
	t.Helper()
	return rateLimiting{}.compile(config, func(field, format string, args ...any) {
		t.Fatalf("%s: %s", field, fmt.Sprintf(format, args...))
	}).(*rateLimit)
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestBurstIsExact(t *testing.T) { // C17: 1,000 at once with limit 10 let 10 through
	l, c := new(Limiter), limitOf(t, map[string]any{"hour": 10})
	now := at("2026-07-15T12:30:30Z")
	var passed atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 1000 {
		wg.Go(func() {
			<-start
			var out Limits
			if l.take(counterKey{api: "svc", consumer: "ann"}, c, now, false, &out); !out.Refused {
				passed.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if passed.Load() != 10 {
		t.Errorf("%d passed, want 10", passed.Load())
	}
}

func TestWindowsAreCalendarWindows(t *testing.T) { // C16, C17, C18
	steps := []struct {
		name, at             string
		refused              bool
		second, minute, left int // remaining of second, minute, month
		tight                Window
		reset                time.Duration
	}{
		{"first", "2026-02-28T23:59:58.2Z", false, 1, 2, 4, Second, time.Second},
		{"second", "2026-02-28T23:59:58.9Z", false, 0, 1, 3, Second, time.Second},
		{"the second is full, nothing rises", "2026-02-28T23:59:58.99Z", true, 0, 1, 3, Second, time.Second},
		{"a new second", "2026-02-28T23:59:59Z", false, 1, 0, 2, Minute, time.Second},
		{"the minute is full", "2026-02-28T23:59:59.5Z", true, 1, 0, 2, Minute, time.Second},
		{"a new month", "2026-03-01T00:00:00Z", false, 1, 2, 4, Second, time.Second},
		{"another offset is the same moment", "2026-03-01T01:00:00+01:00", false, 0, 1, 3, Second, time.Second},
		{"the clock goes back", "2026-02-28T23:59:59Z", true, 0, 1, 3, Second, time.Second},
		{"later in March", "2026-03-20T12:00:00Z", false, 1, 2, 2, Second, time.Second},
		{"and again", "2026-03-20T12:00:30Z", false, 1, 1, 1, Month, 0},
		{"and again", "2026-03-20T12:00:31Z", false, 1, 0, 0, Month, 0},
		{"the month is full", "2026-03-21T12:00:00Z", true, 2, 3, 0, Month, 0},
		{"a month that begins a year", "2027-01-01T00:00:00Z", false, 1, 2, 4, Second, time.Second},
	}
	l, c := new(Limiter), limitOf(t, map[string]any{"seconds": int64(2), "minute": 3.0, "month": 5})
	for _, s := range steps {
		var dry, out Limits
		key := counterKey{api: "svc", client: netip.MustParseAddr("1.2.3.4")}
		l.take(key, c, at(s.at), true, &dry)
		l.take(key, c, at(s.at), false, &out)
		w := out.All()
		if out.Refused != s.refused || len(w) != 3 || w[0].Remaining != s.second || w[1].Remaining != s.minute || w[2].Remaining != s.left || out.Tight.Window != s.tight {
			t.Fatalf("%s: got %+v, want %+v", s.name, out, s)
		}
		if s.reset > 0 && out.Tight.Reset != s.reset {
			t.Errorf("%s: reset in %s, want %s", s.name, out.Tight.Reset, s.reset)
		}
		if dry.Refused != out.Refused {
			t.Errorf("%s: the dry run says %v", s.name, dry.Refused)
		}
	}
	if got := (Limits{}); got.All() == nil || len(got.All()) != 0 {
		t.Error("no limits are not empty")
	}
}

// A clock that was years ahead for a moment locks nobody out until then.
func TestAClockThatWasFarAheadLocksNobodyOut(t *testing.T) { // C17
	l, c := new(Limiter), limitOf(t, map[string]any{"minute": 1, "month": 1})
	key := counterKey{api: "svc", client: netip.MustParseAddr("1.2.3.4")}
	for _, s := range []struct {
		name, at string
		refused  bool
	}{
		{"while it is ahead", "2031-01-01T00:00:00Z", false},
		{"again", "2031-01-01T00:00:01Z", true},
		{"once it is right", "2026-03-20T12:00:00Z", false},
		{"and what was used up since is", "2026-03-20T12:00:01Z", true},
	} {
		var dry, out Limits
		l.take(key, c, at(s.at), true, &dry)
		l.take(key, c, at(s.at), false, &out)
		if out.Refused != s.refused || dry.Refused != s.refused {
			t.Errorf("%s: refused %v, dry %v, want %v", s.name, out.Refused, dry.Refused, s.refused)
		}
	}
	s := &l.shards[holderOf(l.seed, &key)%limiterShards]
	kept := s.table(&key).counters[0].expires
	if want := at("2026-04-01T00:00:00Z").Unix(); kept != want {
		t.Errorf("the counter is kept until %v, want the end of the month that it counts in", time.Unix(kept, 0).UTC())
	}
}

func TestMonthEnds(t *testing.T) {
	var number, ends [windows]int64
	calendar(at("2028-02-29T12:00:00Z"), []Window{Day, Month, Year}, &number, &ends)
	for w, want := range map[Window]string{Day: "2028-03-01T00:00:00Z", Month: "2028-03-01T00:00:00Z", Year: "2029-01-01T00:00:00Z"} {
		if ends[w] != at(want).Unix() {
			t.Errorf("%s ends at %s, want %s", w, time.Unix(ends[w], 0).UTC(), want)
		}
	}
}

func TestSplitDividesTheLimit(t *testing.T) { // C17
	l := new(Limiter)
	split := limitOf(t, map[string]any{"minute": 10, "scope": "split"})
	node := limitOf(t, map[string]any{"minute": 10})
	for instances, want := range map[int]int{-1: 10, 0: 10, 1: 10, 2: 5, 3: 4, 100: 1} {
		l.SetInstances(instances)
		var a, b Limits
		l.take(counterKey{api: "svc"}, split, at("2026-07-15T12:30:30Z"), true, &a)
		l.take(counterKey{api: "svc"}, node, at("2026-07-15T12:30:30Z"), true, &b)
		if a.Tight.Limit != want || b.Tight.Limit != 10 {
			t.Errorf("%d instances: split %d, node %d, want %d and 10", instances, a.Tight.Limit, b.Tight.Limit, want)
		}
	}
}

func TestLimitConfiguration(t *testing.T) { // C16
	bad := []map[string]any{
		{}, nil, {"second": 0}, {"second": -1}, {"second": 1.5}, {"second": "10"}, {"week": 7}, {"second": 10, "minute": 5}, {"second": 1, "seconds": 2},
		{"second": 1, "scope": "cluster"}, {"scope": "node"}, {"second": 1e300}, {"secondss": 1},
	}
	for _, config := range bad {
		wrong := 0
		rateLimiting{}.compile(config, func(string, string, ...any) { wrong++ })
		if wrong == 0 {
			t.Errorf("%v is taken for a limit", config)
		}
	}
	if c := limitOf(t, map[string]any{"years": 7, "days": int64(5), "hour": 5}); len(c.windows) != 3 || c.windows[0] != Hour || c.windows[2] != Year {
		t.Errorf("windows %v", c.windows)
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	l, c := new(Limiter), limitOf(t, map[string]any{"second": 1000, "year": 1000000})
	key, now := counterKey{api: "svc", consumer: "ann"}, at("2026-07-15T12:30:30Z")
	var out Limits
	l.take(key, c, now, false, &out)
	if n := testing.AllocsPerRun(100, func() { l.take(key, c, now, false, &out) }); n != 0 {
		t.Errorf("take allocates %v times, want 0", n)
	}
}

// flood counts one request for each of n addresses.
func flood(l *Limiter, c *rateLimit, now time.Time, n int, address func(i int) netip.Addr) (passed int) {
	var out Limits
	for i := range n {
		l.take(counterKey{api: "svc", client: l.client(address(i))}, c, now, false, &out)
		if !out.Refused {
			passed++
		}
	}
	return passed
}

func TestCountedAs(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::", "::1": "::",
	} {
		if got := CountedAs(netip.MustParseAddr(from), 64); got != netip.MustParseAddr(want) {
			t.Errorf("%s is counted as %s, want %s", from, got, want)
		}
	}
	l, c := new(Limiter), limitOf(t, map[string]any{"minute": 1})
	l.SetPrefix(128)
	two := func(i int) netip.Addr { return netip.AddrFrom16([16]byte{15: byte(i + 1)}) }
	if passed := flood(l, c, at("2026-07-15T12:30:30Z"), 2, two); passed != 2 {
		t.Errorf("with a prefix of 128 bits %d of two addresses pass", passed)
	}
}

// Counters is how many counters are in use.
func (l *Limiter) Counters() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.addresses.index) + len(s.consumers.index)
		s.mu.Unlock()
	}
	return n
}
