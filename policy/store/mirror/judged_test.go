package mirror

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/policy/store"
)

// life is a mirror whose reader calls the value "bad" bad, after meanwhile was called.
func life(t *testing.T, l *LastGood, meanwhile func(*Mirror)) *Mirror {
	t.Helper()
	m := New(store.KindMemory, hclog.NewNullLogger(), l)
	read := func(u store.Update) (bad []string) {
		meanwhile(m)
		for _, c := range u.Changes {
			if string(c.Value) == "bad" {
				bad = append(bad, c.Key())
			}
		}
		return bad
	}
	if err := m.Begin(read); err != nil {
		t.Fatal(err)
	}
	return m
}

func publish(m *Mirror, value string, index uint64) {
	m.Publish(store.Update{Index: index, Changes: []store.Change{{Object: store.Object{Kind: "acls", Name: "a", Value: []byte(value), Index: index}}}})
}

// A life may end at any moment, also while its reader judges, or when there is none.
func TestAValueIsTheLastGoodOneOnceItWasJudgedAndNoSooner(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spoilt func(t *testing.T, m *Mirror, l *LastGood)
	}{
		{"saved while it is judged", func(*testing.T, *Mirror, *LastGood) {}},
		{"saved when it was judged", func(t *testing.T, m *Mirror, l *LastGood) { save(t, m, l) }},
		{"saved though nobody judged it", func(t *testing.T, m *Mirror, l *LastGood) {
			m.End()
			publish(m, "bad", 3)
			save(t, m, l)
		}},
		{"spoilt where nobody judged it, and then judged", func(t *testing.T, m *Mirror, l *LastGood) {
			m.End()
			publish(m, "bad", 3)
			if err := m.Begin(func(u store.Update) []string { return []string{"acls/a"} }); err != nil {
				t.Fatal(err)
			}
			save(t, m, l)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLastGood(t.TempDir(), "here", "here")
			m := life(t, l, func(m *Mirror) { save(t, m, l) })
			publish(m, "good", 1)
			publish(m, "bad", 2)
			tt.spoilt(t, m, l)
			kept, err := l.load()
			if err != nil || kept == nil || len(kept.changes) != 1 {
				t.Fatalf("kept is %+v, %v", kept, err)
			}
			if c := kept.changes[0]; string(c.Value) != "bad" || c.Former == nil || string(c.Former.Value) != "good" {
				t.Errorf("kept is %q, and as the last good value %+v", c.Value, c.Former)
			}
		})
	}
}

func save(t *testing.T, m *Mirror, l *LastGood) {
	t.Helper()
	if err := l.save(m); err != nil {
		t.Error(err)
	}
}
