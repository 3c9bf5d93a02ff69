package eureka

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lictor/resolver"
	"lictor/resolver/eureka/eurekatest"
)

func TestUnchangedKeepsPointers(t *testing.T) {
	s := startServer(t, eurekatest.Options{})
	s.Register(member("orders", "a", 8001))
	s.Register(member("shop", "b", 8002))
	r := newResolver(t, Config{URLs: []string{s.URL()}})
	refresh(t, r)
	before := r.Catalog()
	refresh(t, r)
	if r.Catalog() != before {
		t.Error("nothing changed, but the catalog did")
	}
	s.Register(member("shop", "c", 8003))
	refresh(t, r)
	after := r.Catalog()
	if after.Lookup("orders") != before.Lookup("orders") || after.Lookup("shop").Instances[0] != before.Lookup("shop").Instances[0] {
		t.Error("what did not change got new pointers")
	}
}

// TestEmptyService: one service that vanishes is believed after a second look.
func TestEmptyService(t *testing.T) { // D8
	s := startServer(t, eurekatest.Options{})
	for _, app := range []string{"a", "b", "c"} {
		s.Register(member(app, "1", 8001))
	}
	r := newResolver(t, Config{URLs: []string{s.URL()}, EmptyHold: time.Hour})
	refresh(t, r)
	s.Cancel("a", "1")
	refresh(t, r)
	want(t, r, "a", "unknown")
	want(t, r, "b", "127.0.0.1:8001")
	if n := len(s.Requests()); n != 3 {
		t.Errorf("asked %d times, want a second look", n)
	}
}

func TestFreshServer(t *testing.T) { // E9
	s := startServer(t, eurekatest.Options{})
	for _, app := range []string{"a", "b", "c", "d"} {
		s.Register(member(app, "1", 8001))
		s.Register(member(app, "2", 8002))
	}
	r := newResolver(t, Config{URLs: []string{s.URL()}, EmptyHold: time.Hour})
	refresh(t, r)
	s.Forget()
	refresh(t, r)
	want(t, r, "a", "127.0.0.1:8001 127.0.0.1:8002")
	if st := r.Status(); st.Held == "" || r.Catalog().Lookup("a").Held == "" {
		t.Errorf("got %+v, want it said", st)
	}
	s.Register(member("a", "1", 9001)) // came back at another port
	s.Register(member("b", "1", 8001))
	s.SetStatus("b", "1", "DOWN")
	s.Register(member("e", "1", 8001))
	refresh(t, r)
	want(t, r, "a", "127.0.0.1:9001 127.0.0.1:8002")
	want(t, r, "b", "127.0.0.1:8002")
	want(t, r, "e", "127.0.0.1:8001")
	r.belief.since = r.belief.since.Add(-time.Hour)
	refresh(t, r)
	want(t, r, "a", "127.0.0.1:9001")
	want(t, r, "b", "")
	want(t, r, "c", "unknown")
	if st := r.Status(); st.Held != "" || r.Catalog().Lookup("a").Held != "" {
		t.Errorf("got %+v, want it over", st)
	}
}

// TestBelief is the rule of E9 and D8 as a conversation.
func TestBelief(t *testing.T) {
	services := func(names string) map[string]*resolver.Service {
		told := make(map[string]*resolver.Service)
		for name := range strings.FieldsSeq(names) {
			told[name] = &resolver.Service{Name: name, Loaded: true, Instances: []*resolver.Instance{{ID: name, Weight: 1, State: resolver.Passing}}}
		}
		return told
	}
	steps := []struct {
		name string
		at   int // seconds
		told string
		want string
		fail bool // no answer
	}{
		{"the first answer", 0, "a b c d e f", "a b c d e f", false},
		{"one less is believed", 10, "a b c d e", "a b c d e", false},
		{"two less of five too", 20, "c d e", "c d e", false},
		{"more", 30, "a b c d e f", "a b c d e f", false},
		{"four of six are not believed", 40, "a b", "a b c d e f", false},
		{"some are back, one is new", 50, "a b c g", "a b c d e f g", false},
		{"an answer is missing", 60, "", "a b c d e f g", true},
		{"so the time starts again", 140, "a b c g", "a b c d e f g", false},
		{"and is over", 150, "a b c g", "a b c g", false},
		{"all but one", 160, "a", "a b c g", false},
		{"all back: nothing is held", 170, "a b c g", "a b c g", false},
		{"nothing", 180, "", "a b c g", false},
		{"nothing for long", 270, "", "", false},
		{"one service only", 280, "a", "a", false},
		{"that is all there is", 290, "", "a", false},
		{"for long", 380, "", "", false},
	}
	b := belief{hold: 90 * time.Second}
	known := resolver.NewFoldedCatalog()
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, step := range steps {
		now := start.Add(time.Duration(step.at) * time.Second)
		if step.fail {
			b.broken(now)
			continue
		}
		got, held := b.judge(known, services(step.told), now)
		var names []string
		known = resolver.NewFoldedCatalog()
		for name, s := range got {
			names = append(names, name)
			known = known.With([]*resolver.Service{s}, nil)
		}
		slices.Sort(names)
		if text := strings.Join(names, " "); text != step.want {
			t.Errorf("%s: got %q, want %q", step.name, text, step.want)
		}
		if (held != "") != (len(services(step.told)) != len(got)) {
			t.Errorf("%s: held is %q", step.name, held)
		}
	}
}

func TestColdStart(t *testing.T) { // X6
	file := filepath.Join(t.TempDir(), "eureka.json")
	s := startServer(t, eurekatest.Options{})
	s.Register(member("Orders", "a", 8001))
	r := newResolver(t, Config{URLs: []string{s.URL()}, SnapshotFile: file})
	refresh(t, r)
	s.Fail(503)

	r = newResolver(t, Config{URLs: []string{s.URL()}, SnapshotFile: file, EmptyHold: time.Hour})
	r.load()
	want(t, r, "ORDERS", "127.0.0.1:8001")
	if st := r.Status(); !st.Ready || !st.Snapshot || st.Since.IsZero() || !st.Contact.IsZero() {
		t.Errorf("got %+v", st)
	}
	s.Fail(0)
	s.Forget()
	refresh(t, r) // both were restarted: the snapshot is not given up either
	want(t, r, "orders", "127.0.0.1:8001")
	if st := r.Status(); st.Snapshot || st.Contact.IsZero() || st.Held == "" {
		t.Errorf("got %+v", st)
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBadSnapshotIsIgnored(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":           "{",
		"another version":   `{"Version":99}`,
		"no name":           `{"Version":1,"Services":[{}]}`,
		"null":              `{"Version":1,"Services":[null]}`,
		"an odd instance":   `{"Version":1,"Services":[{"Name":"a","Instances":[{"State":200}]}]}`,
		"a null instance":   `{"Version":1,"Services":[{"Name":"a","Instances":[null]}]}`,
		"an unusable name":  `{"Version":1,"Services":[{"Name":"A"}]}`,
		"negative weighing": `{"Version":1,"Services":[{"Name":"a","Instances":[{"Weight":-1}]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "eureka.json")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := newResolver(t, Config{URLs: []string{"http://127.0.0.1:1/"}, SnapshotFile: file})
			r.load()
			if r.Catalog().Len() != 0 || r.Status().Ready {
				t.Errorf("got %d services", r.Catalog().Len())
			}
		})
	}
}
