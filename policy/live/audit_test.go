package live

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/policy/store"
	"lictor/policy/store/memory"
	_ "lictor/policy/tokens" // reads the configuration of jwt
)

// audited is a policy in memory, and what its audit was told.
type audited struct {
	*testing.T
	store  store.Store
	policy *Policy
	mu     sync.Mutex
	told   []Audited
}

func newAudited(t *testing.T) *audited { return newAuditedOn(t, memory.New(hclog.NewNullLogger())) }

// newAuditedOn is newAudited of a policy in another store.
func newAuditedOn(t *testing.T, on store.Store) *audited {
	t.Helper()
	a := &audited{T: t, store: on}
	var err error
	a.policy, err = New(Config{Store: a.store, Log: hclog.NewNullLogger(), Audit: func(e *Audited) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.told = append(a.told, *e)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.policy.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	eventually.True(t, "the policy is loaded", func() bool { return a.policy.Ready() == nil })
	return a
}

// write does operations as somebody; to is the store of the policy, or that below it.
func (a *audited) write(to store.Store, who string, ops ...store.Op) error {
	_, err := to.Write(store.WithWriter(a.Context(), who), ops)
	return err
}

func put(key, value string) store.Op {
	kind, name, _ := strings.Cut(key, "/")
	return store.Op{Kind: kind, Name: name, Value: []byte(value)}
}

// last returns what the audit was told last, less what differs from run to run.
func (a *audited) last() Audited {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.told[len(a.told)-1]
	if e.Time.IsZero() {
		a.Error("no time")
	}
	return e
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestEachChangeIsAuditedOnce(t *testing.T) { // R6
	a := newAudited(t)
	const first, second = `{"entries":["/a","/b"]}`, `{"entries":["/b","/<c>"],"reason":"scanners"}`
	const secret, keyed = `{"name":"jwt","config":{"secrets":["hunter2-hunter2-hunter2-hunter2-hunter2"]}}`, "keyed"
	steps := []struct {
		name string
		do   func() error
		want Audited
	}{
		{"one that the API makes", func() error { return a.write(a.policy.Store(), "ci 10.0.0.1:7", put("blacklist/ops", first)) },
			Audited{By: "ci", From: "10.0.0.1:7", Key: "blacklist/ops", Verb: "create", After: sumOf(first), Outcome: inForce,
				Fields: []string{`direction: (none) -> "both"`, `entries: +"/a" +"/b"`, `mode: (none) -> "enforce"`}}},
		{"another value", func() error { return a.write(a.policy.Store(), "ci 10.0.0.1:7", put("blacklist/ops", second)) },
			Audited{By: "ci", From: "10.0.0.1:7", Key: "blacklist/ops", Verb: "change", Before: sumOf(first), After: sumOf(second), Outcome: inForce,
				Fields: []string{`entries: +"/<c>" -"/a"`, `reason: (none) -> "scanners"`}}},
		{"one that is made in the store", func() error { return a.write(a.store, "", put("blacklist/ops", first)) },
			Audited{By: "memory", Key: "blacklist/ops", Verb: "change", Before: sumOf(second), After: sumOf(first), Outcome: inForce,
				Fields: []string{`entries: +"/a" -"/<c>"`, `reason: "scanners" -> (none)`}}},
		{"without a token", func() error { return a.write(a.policy.Store(), "127.0.0.1:9", put("groups/g", `{}`)) },
			Audited{By: "admin", From: "127.0.0.1:9", Key: "groups/g", Verb: "create", After: sumOf(`{}`), Outcome: inForce, Fields: []string{`name: (none) -> "g"`}}},
		{"one that cannot be read", func() error { return a.write(a.store, "", put("blacklist/ops", `{"entries":7}`)) },
			Audited{By: "memory", Key: "blacklist/ops", Verb: "change", Before: sumOf(first), After: sumOf(`{"entries":7}`), Outcome: `not in force: line 1: entries: `}},
		{"a secret", func() error {
			return a.write(a.store, "", put("plugins/p", secret))
		}, Audited{By: "memory", Key: "plugins/p", Verb: "create", After: keyed, Outcome: inForce,
			Fields: []string{`config: (none) -> {"secrets":["[secret]"]}`, `id: (none) -> "p"`, `mode: (none) -> "enforce"`, `name: (none) -> "jwt"`}}},
		{"a deletion", func() error {
			return a.write(a.policy.Store(), "admin 10.0.0.1:7", store.Op{Kind: "groups", Name: "g", Verb: store.Delete})
		},
			Audited{By: "admin", From: "10.0.0.1:7", Key: "groups/g", Verb: "delete", Before: sumOf(`{}`), Outcome: inForce, Fields: []string{`name: "g" -> (none)`}}},
	}
	for i, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			got := a.last()
			if got.Seq != uint64(i+1) || got.Index == 0 {
				t.Errorf("it is number %d at %d, want %d", got.Seq, got.Index, i+1)
			}
			if strings.HasSuffix(tt.want.Outcome, ": ") && strings.HasPrefix(got.Outcome, tt.want.Outcome) {
				got.Outcome = tt.want.Outcome
			}
			if tt.want.After == keyed && len(got.After) == 64 && got.After != sumOf(secret) {
				got.After = keyed // so that nobody finds the secret by trying
			}
			tt.want.Seq, tt.want.Time, tt.want.Index = got.Seq, got.Time, got.Index
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
	// The same value again is no change.
	if err := a.write(a.store, "", put("plugins/p", secret)); err != nil {
		t.Fatal(err)
	}
	if n := len(a.told); n != len(steps) {
		t.Errorf("%d were told, want %d", n, len(steps))
	}
	if text, _ := json.Marshal(a.told); strings.Contains(string(text), "hunter2") {
		t.Errorf("the audit tells a secret: %s", text)
	}
}

// A write that is refused is told as well, by whoever tried.
func TestARefusedWriteIsAudited(t *testing.T) { // R6
	a := newAudited(t)
	op := put("groups/g", `{}`)
	op.Check.Index = 99
	if err := a.write(a.policy.Store(), "ci 10.0.0.1:7", op, store.Op{Kind: "groups", Name: "h", Verb: store.Delete}, store.Op{Kind: "groups", Name: "i", Verb: store.Verify}); err == nil {
		t.Fatal("it is written")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.told) != 2 {
		t.Fatalf("got %+v", a.told)
	}
	for i, want := range []string{"groups/g change " + sumOf(`{}`), "groups/h delete "} {
		e := a.told[i]
		if got := e.Key + " " + e.Verb + " " + e.After; got != want || e.By != "ci" || !strings.HasPrefix(e.Outcome, "refused: ") {
			t.Errorf("got %+v, want %s", e, want)
		}
	}
}

// slow is a store in which the writes of somebody called slow take a while, and one
// called late is always behind somebody else's.
type slow struct {
	store.Store
	began, goOn chan struct{}
}

func (s *slow) Write(ctx context.Context, ops []store.Op) (uint64, error) {
	switch by, _ := split(store.WriterOf(ctx)); by {
	case "slow":
		s.began <- struct{}{}
		<-s.goOn
	case "late":
		ops = slices.Clone(ops)
		ops[0].Value = []byte(`{"plugins":["of somebody else"]}`)
	}
	return s.Store.Write(ctx, ops)
}

// Of two who write the same object at the same moment each is told for what it wrote.
func TestWhoWritesAtTheSameMomentIsNotTakenForTheOther(t *testing.T) { // R6
	const one, two = `{"plugins":["p"]}`, `{}`
	for name, tt := range map[string]struct {
		check store.Check
		want  []string
	}{
		"both write":      {store.Check{}, []string{"create quick in force " + sumOf(two), "change slow in force " + sumOf(one)}},
		"one is too late": {store.Check{Absent: true}, []string{"create quick in force " + sumOf(two), "change slow refused: groups/g already exists " + sumOf(one)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slow{Store: memory.New(hclog.NewNullLogger()), began: make(chan struct{}), goOn: make(chan struct{})}
			a := newAuditedOn(t, s)
			op, done := put("groups/g", one), make(chan struct{})
			op.Check = tt.check
			go func() {
				defer close(done)
				_ = a.write(a.policy.Store(), "slow 10.0.0.2:7", op) // the audit tells whether it is done
			}()
			<-s.began
			if err := a.write(a.policy.Store(), "quick 10.0.0.1:7", put("groups/g", two)); err != nil {
				t.Fatal(err)
			}
			close(s.goOn)
			<-done
			a.tells(t, tt.want)
		})
	}
}

// What is overwritten before anybody saw it has been written all the same.
func TestAWriteThatIsReplacedAtOnceIsAudited(t *testing.T) { // R6
	a := newAuditedOn(t, &slow{Store: memory.New(hclog.NewNullLogger())})
	if err := a.write(a.policy.Store(), "late 10.0.0.2:7", put("groups/g", `{}`)); err != nil {
		t.Fatal(err)
	}
	a.tells(t, []string{
		"create memory in force " + sumOf(`{"plugins":["of somebody else"]}`),
		"change late written, and replaced before it was in force here " + sumOf(`{}`),
	})
}

// tells holds what the audit was told against verbs, writers, outcomes and sums.
func (a *audited) tells(t *testing.T, want []string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var got []string
	for _, e := range a.told {
		got = append(got, e.Verb+" "+e.By+" "+e.Outcome+" "+e.After)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What a policy is loaded with is no change; what became another while nobody looked is.
func TestTheFirstLoadIsNoChange(t *testing.T) { // R6
	log := hclog.NewNullLogger()
	s := &scripted{updates: []store.Update{
		{Reset: true, LastGood: true, Index: 1, Changes: []store.Change{object("groups/a", `{}`, 1), object("groups/b", `{}`, 1)}},
		{Reset: true, Index: 9, Changes: []store.Change{object("groups/a", `{"plugins":["p"]}`, 7), object("groups/c", `{}`, 8)}},
	}}
	var told []string
	p, err := New(Config{Store: s, Log: log, Audit: func(e *Audited) { told = append(told, e.Key+" "+e.Verb+" "+e.By) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(told)
	if got := strings.Join(told, ", "); got != "groups/a change consul, groups/b delete consul, groups/c create consul" {
		t.Errorf("got %s", got)
	}
}

// scripted is a store that delivers what it was told to.
type scripted struct {
	store.Store
	updates []store.Update
}

func (s *scripted) Kind() string         { return store.KindConsul }
func (s *scripted) Status() store.Status { return store.Status{Loaded: true} }
func (s *scripted) Watch(_ context.Context, fn func(store.Update) []string) error {
	for _, u := range s.updates {
		fn(u)
	}
	return nil
}

func object(key, value string, index uint64) store.Change {
	kind, name, _ := strings.Cut(key, "/")
	return store.Change{Object: store.Object{Kind: kind, Name: name, Value: []byte(value), Index: index, CreateIndex: 1}}
}

func TestTheLastChangesAreKeptAndPaged(t *testing.T) { // R6
	a := newAudited(t)
	for i := range maxAudited + 50 {
		a.policy.audit.add(Audited{Key: fmt.Sprint(i)})
	}
	var seqs []uint64
	for before, more := uint64(0), true; more; {
		var page []Audited
		page, more = a.policy.Changes(300, before)
		for _, e := range page {
			seqs = append(seqs, e.Seq)
		}
		before = page[len(page)-1].Seq
	}
	if len(seqs) != maxAudited || seqs[0] != maxAudited+50 || seqs[len(seqs)-1] != 51 || !slices.IsSortedFunc(seqs, func(a, b uint64) int { return int(b) - int(a) }) {
		t.Errorf("got %d from %d to %d", len(seqs), seqs[0], seqs[len(seqs)-1])
	}
}

// What is said of one change is bounded.
func TestALargeDifferenceIsCut(t *testing.T) { // R6
	long := &policy.List{Reason: strings.Repeat("é", 400)}
	for i := range 1000 {
		long.Entries = append(long.Entries, fmt.Sprint("/", i))
	}
	text := strings.Join(differences(&policy.List{Entries: []string{"/x"}}, long), "\n")
	if len(text) > 1000 || !strings.Contains(text, "and 991 more") || !strings.Contains(text, "...") {
		t.Errorf("got %d bytes: %s", len(text), text)
	}
	if got := differences(&policy.List{Entries: []string{"a", "b"}}, &policy.List{Entries: []string{"b", "a"}}); len(got) != 1 || got[0] != "entries: in another order" {
		t.Errorf("got %q", got)
	}
}

// TestALineOfALongListAllocatesLittle holds that what is told of a change costs what
// changed, and not what else the list says.
func TestALineOfALongListAllocatesLittle(t *testing.T) {
	was := make([]string, 20_000)
	for i := range was {
		was[i] = fmt.Sprintf("host-%d.example", i)
	}
	is := slices.Clone(was)
	is[7000] = "/x"
	before, after := &policy.List{Entries: was, Reason: "a"}, &policy.List{Entries: is, Reason: "b"}
	var lines []string
	if n := testing.AllocsPerRun(10, func() { lines = differences(before, after) }); n > 200 {
		t.Errorf("%v allocations", n)
	}
	if got, want := strings.Join(lines, "\n"), "entries: +\"/x\" -\"host-7000.example\"\nreason: \"a\" -> \"b\""; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
