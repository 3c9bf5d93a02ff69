package consul

import (
	"hash/maphash"
	"slices"
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	s := summary{seed: maphash.MakeSeed()}
	steps := []struct {
		name string
		text string
		want []string
	}{
		{"at first all are new", `[{"Name":"a","N":1},{"Name":"b","N":1}]`, []string{"a", "b"}},
		{"nothing moved", "[ {\"Name\":\"a\",\"N\":1} ,\n{\"Name\":\"b\",\"N\":1}\n]", nil},
		{"one moved", `[{"Name":"a","N":1},{"Name":"b","N":2}]`, []string{"b"}},
		{"one went, which the names tell", `[{"Name":"b","N":2}]`, nil},
		{"brackets in strings", `[{"Name":"]}[{\",","N":[1,{"x":[]}]},{"Name":"b","N":2}]`, []string{`]}[{",`}},
		{"none is left", `[]`, nil},
	}
	for _, tt := range steps {
		if err := readText(s.reader(), tt.text); err != nil || !slices.Equal(s.changed, tt.want) {
			t.Errorf("%s: got %q, %v, want %q", tt.name, s.changed, err, tt.want)
		}
		s.last = s.lines
	}
	for _, text := range []string{``, `{}`, `[`, `[{"Name":"a"}`, `[{"Name":"a`, `["a"]`} {
		if err := readText(s.reader(), text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

// TestOverviewFails: without the overview all services that have no watch are read.
func TestOverviewFails(t *testing.T) {
	fake := newFake()
	fake.refuse = "/v1/internal/"
	names := crowd(fake, 6, httpOK)
	onBench(t, fake, func(c *Config) { c.Watches = 1 }, func(b *bench) {
		b.want(names...)
		b.pass(time.Minute)
		fake.set("s6", instance("a", 6, httpOK), instance("b", 7, httpOK))
		b.pass(2 * time.Second)
		b.expect("s6", "a passing, b passing", "an instance was registered")
	})
}

// TestChangeInPlace: a new address under the old ID, which the overview does not tell.
func TestChangeInPlace(t *testing.T) {
	fake := newFake()
	names := crowd(fake, 6, httpOK)
	onBench(t, fake, func(c *Config) { c.Watches = 1 }, func(b *bench) {
		b.want(names...)
		b.pass(time.Minute)
		fake.set("s6", instance("a", 66, httpOK))
		b.pass(sweepLazy + time.Second)
		if got := b.one("s6").Address; got != "10.0.0.1:66" {
			t.Errorf("after %v it is still at %s", sweepLazy, got)
		}
	})
}
