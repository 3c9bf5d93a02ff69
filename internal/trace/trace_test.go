package trace

import (
	"math"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"
)

const (
	id     = "0af7651916cd43dd8448eb211c80319c"
	span   = "b7ad6b7169203331"
	parent = "00-" + id + "-" + span + "-01"
)

func TestWhatIsATraceparent(t *testing.T) {
	tests := []struct {
		name, value string
		ok, sampled bool
	}{
		{"one that is kept", parent, true, true},
		{"one that is not", "00-" + id + "-" + span + "-00", true, false},
		{"other flags say nothing", "00-" + id + "-" + span + "-02", true, false},
		{"a later version", "01-" + id + "-" + span + "-01", true, true},
		{"a later version that says more", "cc-" + id + "-" + span + "-01-what-comes", true, true},
		{"this version does not say more", parent + "-what-comes", false, false},
		{"a later version without the dash", "01-" + id + "-" + span + "-011", false, false},
		{"the version that is none", "ff-" + id + "-" + span + "-01", false, false},
		{"digits in upper case", strings.ToUpper(parent), false, false},
		{"no digits", "00-" + strings.Repeat("g", 32) + "-" + span + "-01", false, false},
		{"no trace", "00-" + strings.Repeat("0", 32) + "-" + span + "-01", false, false},
		{"no span", "00-" + id + "-" + strings.Repeat("0", 16) + "-01", false, false},
		{"flags that are no digits", "00-" + id + "-" + span + "-0x", false, false},
		{"other marks between the parts", strings.ReplaceAll(parent, "-", "_"), false, false},
		{"too short", parent[:54], false, false},
		{"nothing", "", false, false},
		{"a blank before it", " " + parent, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, ok := Parse(tt.value)
			if ok != tt.ok || c.Sampled != tt.sampled {
				t.Fatalf("%q: ok %v, sampled %v", tt.value, ok, c.Sampled)
			}
			if ok && (c.Trace.String() != id || c.Parent != SpanID{0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31}) || !ok && c != (Context{}) {
				t.Errorf("%q: read as %+v", tt.value, c)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{parent, "", "ff-", parent + "-x", "cc" + parent[2:] + "-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := Parse(s)
		if !ok {
			return
		}
		var p Place
		p.Join(&c, c.Sampled)
		again, ok := Parse(string(p.AppendParent(nil, 0)))
		if !ok || again.Trace != c.Trace || again.Sampled != c.Sampled || again.Parent != p.Span(0) {
			t.Errorf("%q is passed on as %+v, %v", s, again, ok)
		}
	})
}

func TestAShareIsThatOfOpenTelemetry(t *testing.T) {
	for _, part := range []float64{0, 1e-9, 0.01, 0.5, 0.999, 1} {
		theirs, ours := sdk.TraceIDRatioBased(part), ShareOf(part)
		had := 0
		const n = 20_000
		for range n {
			var p Place
			p.Begin(ours)
			want := theirs.ShouldSample(sdk.SamplingParameters{TraceID: otel.TraceID(p.Trace)}).Decision == sdk.RecordAndSample
			if p.Sampled != want {
				t.Fatalf("of %v: %s is in it: %v, OpenTelemetry says %v", part, p.Trace, p.Sampled, want)
			}
			if want {
				had++
			}
		}
		if got := float64(had) / n; math.Abs(got-part) > 0.02 {
			t.Errorf("of %v %v were kept", part, got)
		}
	}
}

// An id that is all zeros behind is in every share by the plain reckoning: who
// wants all of its requests kept would send just those.
func TestAStrangerDoesNotChooseWhatIsKept(t *testing.T) {
	share := ShareOf(0.1)
	had := 0
	const n = 20_000
	for i := range n {
		chosen := ID{1, byte(i), byte(i >> 8)}
		if !share.Has(chosen) {
			t.Fatalf("%s is not in a share by the plain reckoning", chosen)
		}
		in := share.HasStranger(chosen)
		if in != share.HasStranger(chosen) {
			t.Fatalf("%s is in the share and is not", chosen)
		}
		if in {
			had++
		}
	}
	if part := float64(had) / n; part < 0.08 || part > 0.12 {
		t.Errorf("of ids that were chosen %v are kept, want 0.1", part)
	}
	if ShareOf(0).HasStranger(ID{1}) || !ShareOf(1).HasStranger(ID{1}) {
		t.Error("none and all do not hold for strangers")
	}
}

func TestEachSpanHasANameOfItsOwn(t *testing.T) {
	for _, first := range []uint64{7, math.MaxUint64, math.MaxUint64 - 1} {
		p := Place{Trace: ID{1}, first: first}
		seen := map[SpanID]bool{{}: true}
		for n := range 4 {
			if id := p.Span(n); seen[id] {
				t.Errorf("from %d on: span %d is called %x again", first, n, id)
			} else {
				seen[id] = true
			}
		}
	}
}

func TestStateIsPassedOnWithinBounds(t *testing.T) {
	long := "k=" + strings.Repeat("v", 250)
	many := strings.TrimSuffix(strings.Repeat("a=1,", 40), ",")
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"one member", []string{"rojo=00f067aa0ba902b7"}, "rojo=00f067aa0ba902b7"},
		{"several lines are one", []string{"a=1 , b@x=2", "\tc=3"}, "a=1,b@x=2,c=3"},
		{"empty members go", []string{",a=1,,", "", ",b=2"}, "a=1,b=2"},
		{"what has no form goes", []string{"a=1,B=2,c,=3,d=,e=\x01,f=g=h,i=4"}, "a=1,i=4"},
		{"what is too long goes at the end, whole", []string{long + "," + long + ",x=1" + strings.Repeat("2", 10), "y=1"}, long + "," + long},
		{"as many as may be", []string{many}, strings.TrimSuffix(strings.Repeat("a=1,", 32), ",")},
		{"nothing", []string{""}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s State
			var got []byte
			for _, line := range tt.lines {
				got = s.Append(got, line)
			}
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNothingIsAllocated(t *testing.T) {
	var p Place
	var s State
	buf := make([]byte, 0, 1024)
	share := ShareOf(0.5)
	if n := testing.AllocsPerRun(100, func() {
		c, _ := Parse(parent)
		p.Join(&c, share.HasStranger(c.Trace))
		p.Begin(share)
		s = State{}
		buf = s.Append(p.AppendParent(buf[:0], 1), "a=1,b=2")
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
