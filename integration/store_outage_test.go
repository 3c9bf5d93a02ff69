//go:build integration

package integration_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/policy/store"
	"lictor/policy/store/storetest"
)

// fillPolicy puts enough beside the tested objects that the store splits its watch.
func fillPolicy(t *testing.T, agent *consulAgent) int {
	t.Helper()
	for i := range 5 {
		kvPut(t, agent, fmt.Sprintf("lictor/policy/blacklist/filler-%d", i), strings.Repeat("filler.example\n", 20_000))
	}
	return 5
}

// layouts runs a test with a policy of one watch and with one of many.
func layouts(t *testing.T, run func(t *testing.T, fill func(*testing.T, *consulAgent) int)) {
	t.Run("small", func(t *testing.T) { run(t, func(*testing.T, *consulAgent) int { return 0 }) })
	t.Run("split", func(t *testing.T) { run(t, fillPolicy) })
}

// tested are the objects of a watch without the filler.
func tested(content map[string]store.Object) string {
	var words []string
	for _, key := range []string{"acls/a", "acls/b", "consumers/c", "groups/new"} {
		if o, ok := content[key]; ok {
			words = append(words, key+"="+string(o.Value))
		}
	}
	return strings.Join(words, " ")
}

func wantTested(t *testing.T, w *storetest.Watch, want string) {
	t.Helper()
	w.Eventually("content is "+want, func(c map[string]store.Object) bool { return tested(c) == want })
}

// stays checks that the content is want now and after a while in which the
// store had every chance to go wrong.
func stays(t *testing.T, w *storetest.Watch, want string, while time.Duration) {
	t.Helper()
	holds(t, while, "the content stays (X6)", func() error {
		if got := tested(w.Content()); got != want {
			return fmt.Errorf("it is %q, want %q", got, want)
		}
		return nil
	})
}

// staysEmpty checks that a store that can know nothing does not take that for a
// policy.
func staysEmpty(t *testing.T, s store.Store) {
	t.Helper()
	holds(t, time.Second, "nothing is loaded", func() error {
		if s.Status().Loaded {
			return fmt.Errorf("status is %+v", s.Status())
		}
		return nil
	})
}

func putTested(t *testing.T, agent *consulAgent) {
	t.Helper()
	kvPut(t, agent, "lictor/policy/acls/a", "1")
	kvPut(t, agent, "lictor/policy/acls/b", "2")
	kvPut(t, agent, "lictor/policy/consumers/c", "3")
}

const testedAll = "acls/a=1 acls/b=2 consumers/c=3"

func wantHeld(t *testing.T, s store.Store, held int) {
	t.Helper()
	eventually(t, storetest.Soon, fmt.Sprintf("%d objects are held", held), func() error {
		if status := s.Status(); status.Held != held || (status.Problem == "") != (held == 0) {
			return fmt.Errorf("status is %+v", status)
		}
		return nil
	})
}

// TestPolicyOutlivesConsul kills Consul and brings it back with and without its
// memory (X6): nothing opens, nothing is lost.
func TestPolicyOutlivesConsul(t *testing.T) {
	together(t)
	layouts(t, func(t *testing.T, fill func(*testing.T, *consulAgent) int) {
		t.Run("restarted with its data", func(t *testing.T) {
			agent := startConsul(t, persistent(t))
			fill(t, agent)
			putTested(t, agent)
			s := openStore(t, agent, "", t.TempDir())
			w := storetest.Follow(t, s)
			agent.Kill(t)
			eventually(t, storetest.Soon, "the store notices", func() error {
				if s.Status().Live || s.Status().Problem == "" {
					return fmt.Errorf("status is %+v", s.Status())
				}
				return nil
			})
			_, err := s.Write(t.Context(), []store.Op{{Kind: "acls", Name: "a", Value: []byte("no")}})
			if err == nil || !strings.Contains(err.Error(), store.ErrUnavailable.Error()) {
				t.Errorf("a write without Consul: %v (X7)", err)
			}
			if o, err := s.Get(t.Context(), "acls", "a"); err != nil || string(o.Value) != "1" {
				t.Errorf("a read without Consul: %+v, %v (X7)", o, err)
			}
			stays(t, w, testedAll, time.Second)
			agent.Start(t)
			kvDelete(t, agent, "lictor/policy/acls/b")
			wantTested(t, w, "acls/a=1 consumers/c=3")
			wantHeld(t, s, 0)
		})
		t.Run("restarted empty", func(t *testing.T) {
			agent := startConsul(t)
			filler := fill(t, agent)
			putTested(t, agent)
			s := openStore(t, agent, "", t.TempDir())
			w := storetest.Follow(t, s)
			wantTested(t, w, testedAll)
			agent.Kill(t)
			agent.Start(t)
			wantHeld(t, s, 3+filler)
			stays(t, w, testedAll, time.Second)
			kvPut(t, agent, "lictor/policy/acls/a", "new") // what comes back is used
			wantTested(t, w, "acls/a=new acls/b=2 consumers/c=3")
			wantHeld(t, s, 2+filler)
			kvDelete(t, agent, "lictor/policy/acls/a") // and its deletion obeyed
			wantTested(t, w, "acls/b=2 consumers/c=3")
			kvPut(t, agent, "lictor/policy/.cleared", "")
			wantTested(t, w, "")
			wantHeld(t, s, 0)
		})
	})
}

// TestPolicyPrefixVanishes deletes the whole prefix (X6, A11).
func TestPolicyPrefixVanishes(t *testing.T) {
	together(t)
	layouts(t, func(t *testing.T, fill func(*testing.T, *consulAgent) int) {
		t.Run("by accident", func(t *testing.T) {
			agent := startConsul(t)
			filler := fill(t, agent)
			putTested(t, agent)
			data := t.TempDir()
			s := openStore(t, agent, "", data)
			w := storetest.Follow(t, s)
			wantTested(t, w, testedAll)
			deleteTree(t, agent)
			wantHeld(t, s, 3+filler)
			stays(t, w, testedAll, 500*time.Millisecond)
			w.Stop()
			again := openStore(t, agent, "", data) // a restart does not forget it
			w = storetest.Follow(t, again)
			wantTested(t, w, testedAll)
			wantHeld(t, again, 3+filler)
			putTested(t, agent)
			wantHeld(t, again, filler)
		})
		t.Run("on purpose", func(t *testing.T) {
			agent := startConsul(t)
			fill(t, agent)
			putTested(t, agent)
			s := openStore(t, agent, "", t.TempDir())
			w := storetest.Follow(t, s)
			kvPut(t, agent, "lictor/policy/.cleared", "")
			w.Eventually("settled", func(map[string]store.Object) bool { return s.Status().Live })
			stays(t, w, testedAll, 2*time.Second) // a person does it one after the other
			deleteTree(t, agent)
			wantTested(t, w, "")
			wantHeld(t, s, 0)
		})
		t.Run("object by object", func(t *testing.T) {
			agent := startConsul(t)
			filler := fill(t, agent)
			putTested(t, agent)
			s := openStore(t, agent, "", t.TempDir())
			w := storetest.Follow(t, s)
			for i := range filler {
				kvDelete(t, agent, fmt.Sprintf("lictor/policy/blacklist/filler-%d", i))
			}
			for _, key := range []string{"acls/a", "acls/b", "consumers/c"} {
				kvDelete(t, agent, "lictor/policy/"+key)
			}
			w.Want("")
			wantHeld(t, s, 0)
		})
	})
}

func deleteTree(t *testing.T, agent *consulAgent) {
	t.Helper()
	if _, err := agent.Client.KV().DeleteTree("lictor/policy/", nil); err != nil {
		t.Fatal(err)
	}
}

// TestPolicyKept starts lictor again while Consul is away (X6).
func TestPolicyKept(t *testing.T) {
	together(t)
	agent := startConsul(t)
	putTested(t, agent)
	data := t.TempDir()
	s := openStore(t, agent, "", data)
	w := storetest.Follow(t, s)
	kvPut(t, agent, "lictor/policy/acls/a", "later")
	wantTested(t, w, "acls/a=later acls/b=2 consumers/c=3")
	w.Stop()
	agent.Kill(t)
	again := openStore(t, agent, "", data)
	w = storetest.Follow(t, again)
	wantTested(t, w, "acls/a=later acls/b=2 consumers/c=3")
	if u := w.Updates()[0]; !u.LastGood || !again.Status().LastGood || again.Status().Contact.IsZero() {
		t.Errorf("update %+v, status %+v", u.LastGood, again.Status())
	}
	nothing := openStore(t, agent, "", t.TempDir())
	storetest.Start(t, nothing)
	staysEmpty(t, nothing)
	agent.Start(t)
	putTested(t, agent)
	wantTested(t, w, testedAll)
	eventually(t, storetest.Soon, "it is confirmed", func() error {
		if again.Status().LastGood {
			return fmt.Errorf("status is %+v", again.Status())
		}
		return nil
	})
}

// TestPolicyRestoredFromBackup brings Consul back to an earlier state: what was
// changed since goes back, what was added since stays (X6).
func TestPolicyRestoredFromBackup(t *testing.T) {
	together(t)
	agent := startConsul(t)
	putTested(t, agent)
	backup, _, err := agent.Client.Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(backup)
	if err != nil {
		t.Fatal(err)
	}
	kvPut(t, agent, "lictor/policy/acls/a", "later")
	kvPut(t, agent, "lictor/policy/groups/new", "4")
	s := openStore(t, agent, "", t.TempDir())
	w := storetest.Follow(t, s)
	wantTested(t, w, "acls/a=later acls/b=2 consumers/c=3 groups/new=4")
	if err := agent.Client.Snapshot().Restore(nil, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	w.Eventually("the backup is in force, nothing is lost", func(c map[string]store.Object) bool {
		return tested(c) == testedAll+" groups/new=4" && c["groups/new"].Held
	})
}

// TestPolicyWithoutRights takes the rights of the token away (X6): nothing is
// lost, and the reason is shown.
func TestPolicyWithoutRights(t *testing.T) {
	together(t)
	const root = "5f0bd2c8-5a1c-4d0a-8d0a-0b6a1f9f3a01"
	full := `key_prefix "lictor/policy/" { policy = "write" }`
	for _, test := range []struct {
		name, rules string
		anonymous   bool
		remove      bool // the token itself
	}{
		{"no rights left", `node_prefix "" { policy = "read" }`, false, false},
		{"a part of the rights left", `key_prefix "lictor/policy/consumers" { policy = "read" }`, false, false},
		{"the token is deleted", "", false, true},
		{"nobody may read", `node_prefix "" { policy = "read" }`, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			agent := startConsul(t, withACL(root))
			putTested(t, agent)
			acl := agent.Client.ACL()
			policy, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: "lictor", Rules: full}, nil)
			if err != nil {
				t.Fatal(err)
			}
			token := &api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}
			if test.anonymous {
				token.AccessorID = "00000000-0000-0000-0000-000000000002"
				token, _, err = acl.TokenUpdate(token, nil)
			} else {
				token, _, err = acl.TokenCreate(token, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			secret := token.SecretID
			if test.anonymous {
				secret = ""
			}
			lictor := &consulAgent{Addr: agent.Addr, Token: secret}
			data := t.TempDir()
			s := openStore(t, lictor, "", data)
			w := storetest.Follow(t, s)
			wantTested(t, w, testedAll)

			if test.remove {
				_, err = acl.TokenDelete(token.AccessorID, nil)
			} else {
				_, _, err = acl.PolicyUpdate(&api.ACLPolicy{ID: policy.ID, Name: "lictor", Rules: test.rules}, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			kvPut(t, agent, "lictor/policy/acls/a", "unseen") // wakes the watch
			stays(t, w, testedAll, 2*time.Second)
			if _, err := s.Write(t.Context(), []store.Op{{Kind: "acls", Name: "b", Value: []byte("no")}}); err == nil {
				t.Error("a write without rights")
			}
			w.Stop()

			again := openStore(t, lictor, "", data)
			w = storetest.Follow(t, again)
			stays(t, w, testedAll, time.Second)
			if status := again.Status(); !status.LastGood || status.Live || !strings.Contains(status.Problem, "may not read") {
				t.Errorf("status is %+v", status)
			}
			bare := openStore(t, lictor, "", "")
			storetest.Start(t, bare)
			staysEmpty(t, bare)
			if test.remove {
				return
			}
			if _, _, err = acl.PolicyUpdate(&api.ACLPolicy{ID: policy.ID, Name: "lictor", Rules: full}, nil); err != nil {
				t.Fatal(err)
			}
			wantTested(t, w, "acls/a=unseen acls/b=2 consumers/c=3")
		})
	}
}

// TestPolicyInOnePiece writes transactions past lictor and looks whether an
// update ever shows a part of one.
func TestPolicyInOnePiece(t *testing.T) {
	together(t)
	layouts(t, func(t *testing.T, fill func(*testing.T, *consulAgent) int) {
		agent := startConsul(t)
		fill(t, agent)
		s := openStore(t, agent, "", "")
		w := storetest.Follow(t, s)
		kinds := []string{"acls", "apis", "consumers", "groups", "plugins"}
		last := ""
		for i := range 150 {
			last = fmt.Sprint(i)
			var ops api.TxnOps
			for _, kind := range kinds {
				key := "lictor/policy/" + kind + "/x"
				ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: []byte(last)}})
			}
			for _, digit := range "048c" {
				key := fmt.Sprintf("lictor/policy/credentials/%c%d", digit, i%3)
				ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: []byte(last)}})
			}
			if ok, _, _, err := agent.Client.Txn().Txn(ops, nil); !ok || err != nil {
				t.Fatal(err)
			}
			if i%15 == 0 { // a busy machine would read all of them together
				w.Eventually("it is there", func(c map[string]store.Object) bool { return string(c["acls/x"].Value) == last })
			}
		}
		w.Eventually("the last one is there", func(c map[string]store.Object) bool { return string(c["acls/x"].Value) == last })
		storetest.WantOnePiece(t, w, "x")
	})
}
