package answer

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/ring"
	"lictor/policy"
	"lictor/proxy/middleware"
)

// decided is a decision with all that a record can hold.
func decided() *Decided {
	return &Decided{
		Line: &Line{
			Began: time.Date(2026, 3, 4, 5, 6, 7, 89_000, time.UTC), ID: "0123abcd", Client: netip.MustParseAddr("10.1.2.3"), Method: "GET",
			Path: "/shop/export/all", Status: 403, Reason: "acl", Credential: "k1", Agent: "curl", Referer: "http://secret",
			Ruling: Ruling{Policy: "3fa981c2", Plugin: "acl", Rule: policy.Rule{Key: "lictor/policy/acls/shop", Index: 7}},
		},
		Host: "shop.example.org", Port: 443, Names: []string{"ci.example.org"}, Body: true, Clean: true, Country: "DE", KnowsCountry: true,
		Verdict:  &policy.Verdict{Credential: "k1", Plugin: "acl", Rests: policy.Rests{KeyNames: []string{"apikey"}, Key: "apikey", KeySum: 0x0a0b0c0d}},
		Route:    &policy.Route{By: policy.BySegment, API: "shop", Service: "shop"},
		Identity: &policy.Identity{ID: "c1", Name: "ci", Mark: "0011aabb"},
		Headers:  []string{"canary"}, Ran: true, Matched: []string{"canary"}, Routed: []string{"shop-new"},
	}
}

func openDecisions(t testing.TB, s DecisionSettings) (*DecisionLog, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "decisions")
	l, err := NewDecisionLog(path, ring.MinSize, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.ring.Close() })
	return l, path
}

// take is what the log holds.
func take(t testing.TB, l *DecisionLog, path string) string {
	t.Helper()
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDecisionIsALineOfJSON(t *testing.T) { // R1
	l, path := openDecisions(t, DecisionSettings{Sample: 1, Refused: 1})
	l.Write(decided(), 1)
	bare := &Decided{Line: &Line{Began: time.Unix(0, 0), ID: "1", Egress: true, Client: netip.MustParseAddr("::1"), Method: "CONNECT"}, Host: "a.example", Port: 443,
		Verdict: new(policy.Verdict), Passed: true, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
	l.Write(bare, 0.5)
	lines := strings.SplitAfter(take(t, l, path), "\n")
	want := []string{
		`{"v":1,"time":"2026-03-04T05:06:07.000089Z","id":"0123abcd","listener":"gateway","method":"GET","host":"shop.example.org","port":443,"path":"/shop/export/all","client":"10.1.2.3","country":"DE","consumer":"c1","mark":"0011aabb","credential":"k1","key_sum":"0a0b0c0d","names":["ci.example.org"],"by":"segment","api":"shop","service":"shop","key_names":["apikey"],"key":"apikey","body":true,"headers":["canary"],"ran":true,"matched":["canary"],"routed":["shop-new"],"verdict":"refuse","reason":"acl","rule":"lictor/policy/acls/shop","plugin":"acl","policy":"3fa981c2","status":403}` + "\n",
		`{"v":1,"time":"1970-01-01T00:00:00.000000Z","id":"1","listener":"egress","sample":0.5,"method":"CONNECT","host":"a.example","port":443,"path":"","client":"::1","addrs":["192.0.2.1","2001:db8::1"],"verdict":"pass","status":0}` + "\n", "",
	}
	for i, got := range lines {
		if got != want[i] {
			t.Errorf("got\n %swant\n %s", got, want[i])
		}
		if got != "" && !json.Valid([]byte(got)) {
			t.Error("not JSON")
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// An entry of a list that matches what is hidden would tell it.
func TestARuleDoesNotTellWhatIsMasked(t *testing.T) { // R1
	for _, tt := range []struct {
		client, path, entry string
		told                bool
	}{
		{"10.1.2.3", "/shop/export", "10.1.2.3", false},
		{"10.1.2.3", "/shop/export", "10.1.2.0/28", false},
		{"10.1.2.3", "/shop/export", "10.1.0.0/16", true},
		{"10.1.2.3", "/shop/export", "::ffff:10.1.2.3", false},
		{"2001:db8:1:2:3::4", "/shop/export", "2001:db8:1:2::/64", false},
		{"2001:db8:1:2:3::4", "/shop/export", "2001:db8::/32", true},
		{"10.1.2.3", "/shop/export/secret", "/shop/export/secret", false},
		{"10.1.2.3", "/shop/export/secret", "GET /shop/export/secret", false},
		{"10.1.2.3", "/shop/export/secret", "GET http://shop.example.org/shop/export/secret", false},
		{"10.1.2.3", "/shop/export/secret", "/shop/export", true},
		{"10.1.2.3", "/shop/export/secret", "http://shop.example.org/shop", true},
		{"10.1.2.3", "/shop/export/secret", "10.0.0.0/8", true},
		{"10.1.2.3", "/shop/export/secret", ".example.org", true},
		{"10.1.2.3", "/shop/export", "/shop/export", true},
	} {
		l, path := openDecisions(t, DecisionSettings{Sample: 1, Refused: 1, Mask: Mask{Client4: 24, Client6: 56, Segments: 2}})
		d := decided()
		d.Line.Client, d.Line.Path, d.Line.Ruling.Rule.Entry = netip.MustParseAddr(tt.client), tt.path, tt.entry
		l.Write(d, 1)
		if got := take(t, l, path); got == "" || strings.Contains(got, `"entry":"`+tt.entry+`"`) != tt.told {
			t.Errorf("%s of %s, refused by %s: got %s", tt.path, tt.client, tt.entry, got)
		}
	}
}

func TestWhatIsMaskedIsNotWritten(t *testing.T) {
	tests := []struct {
		name, client, path string
		clean              bool
		want               string // "" = dropped
	}{
		{"an address and a path", "10.1.2.3", "/shop/export/secret", true, `"path":"/shop/export","cut":"plain","client":"10.1.2.0/24"`},
		{"an IPv6 address", "2001:db8:1:2:3::4", "/shop", true, `"path":"/shop","client":"2001:db8:1::/56"`},
		{"an IPv4 address within IPv6", "::ffff:10.1.2.3", "/shop/a", true, `"path":"/shop/a","client":"10.1.2.0/24"`},
		{"what may lead elsewhere", "10.1.2.3", "/shop/export/../secret", true, `"path":"/shop/export","cut":"odd"`},
		{"what may be read in two ways", "10.1.2.3", "/shop/export/a%2fsecret", true, `"cut":"odd"`},
		{"an empty segment", "10.1.2.3", "/shop/export//secret", true, `"cut":"odd"`},
		{"a path that could not be read", "10.1.2.3", "/shop/secret%zz/b", false, ""},
		{"no address", "", "/shop", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, path := openDecisions(t, DecisionSettings{Sample: 1, Refused: 1, Mask: Mask{Client4: 24, Client6: 56, Segments: 2}})
			d := decided()
			d.Line.Path, d.Clean = tt.path, tt.clean
			d.Line.Client, _ = netip.ParseAddr(tt.client)
			l.Write(d, 1)
			got := take(t, l, path)
			if tt.want == "" {
				if _, _, unmasked, _ := l.Lost(); got != "" || unmasked != 1 {
					t.Errorf("got %q, %d dropped", got, unmasked)
				}
				return
			}
			if !strings.Contains(got, tt.want) || strings.Contains(got, "secret") {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSampleAndShareOfRefusals(t *testing.T) {
	l, _ := openDecisions(t, DecisionSettings{Sample: 0.25, Refused: 1})
	kept := map[bool]int{}
	for range 10_000 {
		for _, refused := range []bool{true, false} {
			if share, ok := l.Wants(refused); ok {
				kept[refused]++
				if want := map[bool]float64{true: 1, false: 0.25}[refused]; share != want {
					t.Fatalf("share is %v, want %v", share, want)
				}
			}
		}
	}
	if kept[true] != 10_000 || kept[false] < 2200 || kept[false] > 2800 {
		t.Errorf("kept %v", kept)
	}
	l.settings.Store(&DecisionSettings{})
	if _, ok := l.Wants(true); ok {
		t.Error("0 keeps none")
	}
	if _, ok := (*DecisionLog)(nil).Wants(true); ok {
		t.Error("no log keeps none")
	}
}

func TestLongDecisionIsDroppedNotCut(t *testing.T) {
	l, path := openDecisions(t, DecisionSettings{Sample: 1, Refused: 1})
	d := decided()
	d.Line.Path = "/" + strings.Repeat("a", maxDecision)
	l.Write(d, 1)
	if _, _, _, long := l.Lost(); long != 1 || take(t, l, path) != "" {
		t.Errorf("%d were too long", long)
	}
	d.Line.Path = "/" + strings.Repeat("a", 8<<10)
	l.Write(d, 1)
	if !strings.Contains(take(t, l, path), d.Line.Path) {
		t.Error("what is not too long is written whole")
	}
}

func TestLossesAreCounted(t *testing.T) {
	l, _ := openDecisions(t, DecisionSettings{Sample: 1, Refused: 1, Mask: Mask{Segments: 1}})
	d := decided()
	l.Write(d, 1)
	d.Clean = false
	l.Write(d, 1)
	r := prometheus.NewRegistry()
	r.MustRegister(l)
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range all {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, label := range m.Label {
				name += " " + label.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"lictor_decision_log_records_total": 1, "lictor_decision_log_dropped_total mask": 1, "lictor_decision_log_dropped_total disk": 0, "lictor_decision_log_up": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// A disk that takes nothing holds nobody up: past the bound decisions are dropped.
func TestSlowDiskHoldsNobodyUp(t *testing.T) {
	l, _ := openDecisions(t, DecisionSettings{Sample: 1, Refused: 1})
	release := l.ring.Hold()
	d := decided()
	for range decisionBytes/200 + 1 {
		l.Write(d, 1)
	}
	if full, _, _, _ := l.Lost(); full == 0 {
		t.Error("nothing was dropped")
	}
	if l.ring.Status().Err != nil { // does not wait either
		t.Error("a slow disk is no error")
	}
	release()
}

func TestDecisionAllocatesNothing(t *testing.T) {
	l, _ := openDecisions(t, DecisionSettings{Sample: 0.999999, Refused: 1, Mask: Mask{Client4: 24, Client6: 56, Segments: 2}})
	d := decided()
	l.Write(d, 1)
	if n := testing.AllocsPerRun(1000, func() {
		if share, ok := l.Wants(true); ok {
			l.Write(d, share)
		}
	}); n >= 0.5 { // the buffers grow now and then
		t.Errorf("%v allocations", n)
	}
}

func TestHeadTellsWhatMiddlewareReads(t *testing.T) {
	pattern, err := middleware.CompilePattern("X-Beta", "~secret")
	if err != nil {
		t.Fatal(err)
	}
	h := DecisionHead{BindConsumers: true, Prefix: "lictor/", Middleware: []MiddlewareHead{
		HeadOf(&middleware.Rule{Name: "canary", Match: middleware.Match{Headers: []middleware.HeaderPattern{pattern}, Share: 0.1}, Effect: middleware.Effect{Route: "new"}}),
		HeadOf(&middleware.Rule{Name: "shut", Report: true, Effect: middleware.Effect{Block: &middleware.Block{Status: 403}}}),
	}}
	want := `{"v":1,"kind":"head","bind_consumers":true,"prefix":"lictor/","countries":false,"middleware":[{"name":"canary","reads":["X-Beta"],"share":0.1,"route":"new"},{"name":"shut"}]}` + "\n"
	if got := string(h.Line()); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// BenchmarkDecisionLog is what a request pays.
func BenchmarkDecisionLog(b *testing.B) {
	for _, mask := range []Mask{{}, {Client4: 24, Client6: 56, Segments: 2}} {
		b.Run(fmt.Sprintf("masked=%v", mask.Segments > 0), func(b *testing.B) {
			l, _ := openDecisions(b, DecisionSettings{Sample: 1, Refused: 1, Mask: mask})
			d := decided()
			b.ReportAllocs()
			for b.Loop() {
				if share, ok := l.Wants(true); ok {
					l.Write(d, share)
				}
			}
			_ = l.lines.Flush(time.Minute) // the log ends with the test
		})
	}
}
