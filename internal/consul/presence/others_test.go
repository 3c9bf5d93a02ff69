package presence

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func entriesOf(t *testing.T, policies map[string]string) []entry {
	t.Helper()
	var all []entry
	for id, policy := range policies {
		var e entry
		e.Node.Node, e.Service.Service, e.Service.ID = "n", Service, id
		e.Service.Meta = map[string]string{metaPolicy: policy}
		all = append(all, e)
	}
	return all
}

// Another lictor differs from the moment in which its policy is neither the one in
// force here nor one that was within the time a change takes; who does not tell does
// not differ, and neither does anybody while nothing is in force here.
func TestLictorsWithAnotherPolicyAreNamed(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	at := func(d time.Duration) time.Time { return begin.Add(d) }
	o := &others{self: "me"}
	differs := func(now time.Time) map[string]time.Time {
		all, _ := o.list(now)
		found := make(map[string]time.Time)
		for _, l := range all {
			if !l.Differs.IsZero() {
				found[l.ID] = l.Differs
			}
		}
		return found
	}
	steps := []struct {
		what   string
		do     func()
		now    time.Duration
		differ map[string]time.Duration
	}{
		{"nothing is in force here", func() { o.take(entriesOf(t, map[string]string{"me": "", "a": "1", "b": ""}), at(0)) }, 0, nil},
		{"the same", func() { o.changed("1", at(1)) }, 1, nil},
		{"a is behind", func() { o.changed("2", at(2)) }, 2, nil},
		{"a stays behind", func() {}, 2 + settle, nil},
		{"for too long", func() {}, 2 + settle + 1, map[string]time.Duration{"a": 2 + settle + 1}},
		{"and longer", func() { o.take(entriesOf(t, map[string]string{"me": "1", "a": "1", "b": ""}), at(2*settle)) }, 2 * settle, map[string]time.Duration{"a": 2 + settle + 1}},
		{"b tells of a third one", func() { o.take(entriesOf(t, map[string]string{"me": "2", "a": "2", "b": "3"}), at(3*settle)) }, 3 * settle, map[string]time.Duration{"b": 3 * settle}},
		{"which comes here", func() { o.changed("3", at(3*settle+1)) }, 3*settle + 1, nil},
		{"b is gone", func() { o.take(entriesOf(t, map[string]string{"me": "3"}), at(4*settle)) }, 9 * settle, nil},
	}
	for _, step := range steps {
		step.do()
		got := differs(at(step.now))
		if len(got) != len(step.differ) {
			t.Fatalf("%s: %v", step.what, got)
		}
		for id, since := range step.differ {
			if !got[id].Equal(at(since)) {
				t.Errorf("%s: %s differs since %v, want %v", step.what, id, got[id], at(since))
			}
		}
	}
}

// What others register is bounded, and what this process has is not taken from Consul.
func TestWhatLictorsTellIsBounded(t *testing.T) {
	var e entry
	text := `{"Node":{"Node":"n","Datacenter":"dc1","Address":"10.0.0.1"},"Service":{"ID":"a","Service":"lictor","Port":80,"Meta":{"lictor-policy":"` + strings.Repeat("x", 5000) + `"}}}`
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	many := make([]entry, maxOthers+5)
	for i := range many {
		many[i] = e
	}
	o := &others{self: "a", current: "1"}
	o.take(many, time.Now())
	all, _ := o.list(time.Now())
	if len(all) != maxOthers || all[0].Policy != "1" || all[0].Address != "10.0.0.1:80" || all[0].Datacenter != "dc1" {
		t.Errorf("%d are told of, the first as %+v", len(all), all[0])
	}
	o.self = "other"
	o.take(many[:1], time.Now())
	if all, _ = o.list(time.Now()); len(all[0].Policy) > maxText+3 {
		t.Errorf("a policy of %d bytes", len(all[0].Policy))
	}
	for i := range 10_000 {
		o.changed(string(rune(i)), time.Unix(int64(i/1000), 0))
	}
	if len(o.former) > maxFormer {
		t.Errorf("%d former policies are remembered", len(o.former))
	}
}
