// Package modeltest does at random what happens to documents, to Consul and to
// lictor, beside a model of what the policy must forbid: at no moment does the
// policy in force let pass what the last good value of a key forbids, unless its
// deletion was obeyed.
package modeltest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/policy/live"
	"lictor/policy/store"
)

// Run does so many things, told apart by seed, with a data_dir of its own.
func Run(t *testing.T, consul Consul, data string, seed uint64, steps int) {
	m := &model{
		t: t, rand: rand.New(rand.NewPCG(seed, 7)), consul: consul, data: data, //nolint:gosec // to be repeated
		forbidden: map[string][]int{}, current: map[string]int{}, shown: map[string]bool{},
	}
	m.start()
	defer func() { m.stop() }()
	for range steps {
		if m.step(); t.Failed() {
			t.Fatalf("seed %d; what was done:\n%s", seed, m.lately())
		}
	}
}

// model knows what the policy in force must forbid: for each key the last good
// value, or, until it is certain which of them was seen, one of the last ones.
type model struct {
	t      *testing.T
	rand   *rand.Rand
	consul Consul
	data   string // data_dir, one for all lives

	mu        sync.Mutex       // guards forbidden
	forbidden map[string][]int // values of each key, one of which must be in force
	current   map[string]int   // value of a key that is in Consul and good; none if it is bad or gone
	shown     map[string]bool  // keys that Consul has
	trouble   bool             // Consul fails at present
	history   []string

	store  store.Store
	policy *live.Policy
	stop   func()
}

// modelKinds are what the keys guard: a path of their own, or an API.
var modelKinds = []string{"blacklist", "acls"}

func modelKeys() (keys []string) {
	for _, kind := range modelKinds {
		for i := range 6 {
			keys = append(keys, fmt.Sprintf("%s/k%d", kind, i))
		}
	}
	return keys
}

// good is a value that can be read, and bad one in which nobody can.
func good(key string, value int) string {
	kind, name, _ := strings.Cut(key, "/")
	if kind == "acls" {
		return fmt.Sprintf(`{"api": "api-%s", "groups": ["g%d"]}`, name, value)
	}
	return fmt.Sprintf(`{"entries": ["/%s-%d"], "direction": "ingress"}`, name, value)
}

func (m *model) bad(key string) string {
	text := good(key, m.rand.IntN(4))
	switch m.rand.IntN(5) {
	case 0:
		return text[:m.rand.IntN(len(text)-1)+1]
	case 1:
		return strings.Replace(text, "ingress", "ingres", 1) + "}"
	case 2:
		return strings.Replace(text, "[", `[{"a": 1}, `, 1)
	case 3:
		return "{" + strings.Repeat("\x00", 5)
	}
	return strings.TrimSuffix(text, "}") + ",}"
}

// forbids reports whether a policy forbids what a value of a key does.
func forbids(set *policy.Set, key string, value int) bool {
	kind, name, _ := strings.Cut(key, "/")
	target := fmt.Sprintf("/%s-%d", name, value)
	if kind == "acls" {
		target = "/api-" + name + "/x"
	}
	path, _, err := uri.ParsePath(target, nil)
	if err != nil {
		panic(err)
	}
	r := &policy.Request{Method: "GET", Host: "h", Port: 80, Path: &path, Client: netip.MustParseAddr("192.0.2.1"), Now: time.Now()}
	route := set.Route(r)
	var v policy.Verdict
	set.Decide(r, &route, &v, nil)
	return v.Reason != policy.ReasonNone
}

// check is called at every moment: whenever a policy comes into force.
func (m *model) check() {
	set := m.policy.Set()
	if set == nil {
		return // everything is refused
	}
	if key, values := m.open(set); key != "" {
		m.t.Fatalf("%s is open, one of its values %v must be in force; held %d, problem %q; what was done:\n%s", key, values,
			m.store.Status().Held, m.store.Status().Problem, m.lately())
	}
}

// open returns a key whose last good value is not in force, and "" if all are.
func (m *model) open(set *policy.Set) (key string, values []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, values := range m.forbidden {
		if len(values) > 0 && !slices.ContainsFunc(values, func(v int) bool { return forbids(set, key, v) }) {
			return key, values
		}
	}
	return "", nil
}

// lately is what was done last.
func (m *model) lately() string { return strings.Join(m.history[max(0, len(m.history)-40):], "\n") }

func (m *model) start() {
	m.store = m.consul.Open(m.data, m.rand.IntN(3) == 0)
	p, err := live.New(live.Config{Store: m.store, Prefix: "lictor/", Log: hclog.NewNullLogger()})
	if err != nil {
		m.t.Fatal(err)
	}
	m.policy = p
	failed := false
	p.OnChange(func() {
		if key, values := m.open(p.Loaded()); key != "" && !failed {
			failed = true
			m.t.Errorf("in between %s is open, want one of %v", key, values)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx) // ends with ctx
	}()
	m.stop = func() { cancel(); <-done }
}

// settle lets lictor see what there is, and is then certain of it.
func (m *model) settle() {
	if m.trouble {
		return
	}
	m.consul.Settle(m.store, 75*time.Second) // the longest pause, and a watch that hung
	if !m.store.Status().Live {
		m.t.Fatalf("not live after a minute of health: %+v; what was done:\n%s", m.store.Status(), m.lately())
	}
	m.check()
	m.mu.Lock()
	for key, value := range m.current {
		m.forbidden[key] = []int{value}
	}
	m.mu.Unlock()
	m.check()
}

// step does one thing that happens to a policy.
func (m *model) step() {
	keys := modelKeys()
	key, value := keys[m.rand.IntN(len(keys))], m.rand.IntN(4)
	kind, name, _ := strings.Cut(key, "/")
	say := func(format string, a ...any) { m.history = append(m.history, fmt.Sprintf(format, a...)) }
	switch n := m.rand.IntN(100); {
	case n < 30:
		say("put %s=%d", key, value)
		m.wrote(key, value)
		m.consul.Put(key, good(key, value))
	case n < 45:
		text := m.bad(key)
		say("put %s bad %q", key, text)
		delete(m.current, key)
		m.shown[key] = true
		m.consul.Put(key, text)
	case n < 52:
		say("delete %s", key)
		m.deleted(key)
		m.consul.Remove(key)
	case n < 58:
		m.writeBack(say, kind, name, value)
	case n < 63:
		say("restart")
		m.stop()
		m.start()
	case n < 73:
		m.fail(say)
	case n < 83:
		say("health")
		m.trouble = false
		m.consul.SetFault(nil)
	case n < 87:
		m.vanish(say, kind)
	case n < 88 && !m.trouble:
		say("consul loses its memory")
		m.settle()
		m.consul.Forget()
		clear(m.shown)
		clear(m.current)
		m.consul.Settle(m.store, 10*time.Second)
	case n < 94:
		say("settle")
		m.settle()
	default:
		m.consul.Pass(time.Duration(m.rand.IntN(3000)) * time.Millisecond)
	}
	m.consul.Pass(time.Duration(m.rand.IntN(300)) * time.Millisecond)
	m.check()
}

func (m *model) wrote(key string, value int) {
	m.shown[key] = true
	m.current[key] = value
	m.mayBe(key, value)
}

// mayBe notes a value that may come into force.
func (m *model) mayBe(key string, value int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.forbidden[key], value) && len(m.forbidden[key]) > 0 {
		m.forbidden[key] = append(m.forbidden[key], value)
	}
}

func (m *model) deleted(key string) {
	delete(m.current, key)
	delete(m.shown, key)
	m.mu.Lock()
	m.forbidden[key] = nil
	m.mu.Unlock()
}

// writeBack writes by way of the store, whose answer may get lost.
func (m *model) writeBack(say func(string, ...any), kind, name string, value int) {
	key := kind + "/" + name
	op := store.Op{Kind: kind, Name: name, Value: []byte(good(key, value))}
	if m.rand.IntN(3) == 0 {
		op = store.Op{Kind: kind, Name: name, Verb: store.Delete}
	}
	if !m.trouble {
		m.consul.Lose(m.rand.IntN(2) == 0, m.rand.IntN(3))
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.consul.Patience())
	defer cancel()
	if op.Verb == store.Delete {
		m.mu.Lock()
		m.forbidden[key] = nil
		m.mu.Unlock()
	} else {
		m.mayBe(key, value)
	}
	_, err := m.store.Write(ctx, []store.Op{op})
	say("write %s verb %d value %d: %v", key, op.Verb, value, err)
	if !m.trouble {
		m.consul.SetFault(nil)
	}
	now, there := m.consul.Value(key)
	is := there && op.Verb == store.Put && now == string(op.Value) || !there && op.Verb == store.Delete
	if (err == nil || errors.Is(err, store.ErrNotSeen)) && !is {
		m.t.Errorf("a write that was done is not there: %s", key)
	}
	switch {
	case op.Verb == store.Delete && !there:
		m.deleted(key)
	case op.Verb == store.Put && is:
		m.wrote(key, value)
	}
}

// fail makes Consul fail in one of its ways.
func (m *model) fail(say func(string, ...any)) {
	m.trouble = true
	way := m.rand.IntN(6)
	say("failure %d", way)
	m.consul.SetFault(func(r *http.Request) (*http.Response, error) {
		switch way {
		case 0:
			return nil, errors.New("connection refused")
		case 1:
			return Respond(500, 0, "No cluster leader"), nil
		case 2:
			return Respond(403, 0, "Permission denied"), nil
		case 3: // half-open watches
			if r.URL.Query().Has("wait") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return nil, nil
		case 4: // somebody else's page
			return Respond(404, 0, "<html>"), nil
		}
		if r.URL.Query().Has("recurse") { // half an answer
			return Respond(200, 20, `[{"Key":"lictor/policy/acls/a","Val`), nil
		}
		return nil, nil
	})
}

// vanish deletes a kind, or everything, at one stroke: of three objects or more
// that were seen nothing opens.
func (m *model) vanish(say func(string, ...any), kind string) {
	m.settle()
	count := 0
	for key := range m.shown {
		if strings.HasPrefix(key, kind+"/") {
			count++
		}
	}
	if m.trouble || count < 3 {
		return
	}
	prefix := kind + "/"
	if m.rand.IntN(3) == 0 && len(m.shown) > count {
		prefix = ""
	}
	say("delete -recurse %q", prefix)
	m.consul.RemoveAll(prefix)
	for _, key := range modelKeys() {
		if strings.HasPrefix(key, prefix) {
			delete(m.shown, key)
			delete(m.current, key)
		}
	}
	if m.rand.IntN(2) == 0 { // an import follows, and stops half-way
		for _, key := range modelKeys()[:m.rand.IntN(5)] {
			value := m.rand.IntN(4)
			say("import %s=%d", key, value)
			m.wrote(key, value)
			m.consul.Put(key, good(key, value))
		}
	}
}
