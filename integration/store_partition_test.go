//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/internal/consul"
	"lictor/policy/store"
	consulstore "lictor/policy/store/consul"
	"lictor/policy/store/storetest"
)

// link is the way to an agent, which can be cut.
type link struct {
	Addr string // host:port

	agent string
	mu    sync.Mutex            // guards what follows
	up    chan struct{}         // closed while bytes pass
	deaf  bool                  // connections are refused rather than silent
	conns map[net.Conn]struct{} // of both sides
}

// startLink serves until the test ends.
func startLink(t *testing.T, agent string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{Addr: l.Addr().String(), agent: agent, up: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(k.up)
	var parts sync.WaitGroup
	parts.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			parts.Go(func() { k.carry(conn) })
		}
	})
	t.Cleanup(func() {
		k.Heal()
		_ = l.Close() // its end is not the test
		k.drop()
		parts.Wait()
	})
	return k
}

// Cut ends the passage of bytes: without a word, or by refusing connections.
func (k *link) Cut(deaf bool) {
	k.mu.Lock()
	k.up, k.deaf = make(chan struct{}), deaf
	k.mu.Unlock()
	if deaf {
		k.drop()
	}
}

// Heal lets bytes pass again, those that wait first.
func (k *link) Heal() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deaf = false
	select {
	case <-k.up:
	default:
		close(k.up)
	}
}

// drop resets all connections.
func (k *link) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for conn := range k.conns {
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset, as from a host that does not know the connection
		_ = conn.Close()
	}
}

// hold keeps a connection for drop, unless the link refuses it.
func (k *link) hold(conn net.Conn) (up <-chan struct{}, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.deaf {
		_ = conn.Close() // refused
		return nil, false
	}
	k.conns[conn] = struct{}{}
	return k.up, true
}

func (k *link) release(conn net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, conn)
	_ = conn.Close() // it may be closed already
}

// carry carries one connection to the agent and back.
func (k *link) carry(near net.Conn) {
	up, ok := k.hold(near)
	if !ok {
		return
	}
	defer k.release(near)
	<-up
	far, err := net.Dial("tcp", k.agent)
	if err != nil {
		return
	}
	if _, ok := k.hold(far); !ok {
		return
	}
	defer k.release(far)
	var ways sync.WaitGroup
	way := func(to, from net.Conn) {
		_, _ = io.Copy(&gated{to, k}, from) // ends with either connection
		_, _ = to.Close(), from.Close()
	}
	ways.Go(func() { way(far, near) })
	ways.Go(func() { way(near, far) })
	ways.Wait()
}

// gated writes while the link is up.
type gated struct {
	net.Conn
	k *link
}

func (g *gated) Write(p []byte) (int, error) {
	g.k.mu.Lock()
	up := g.k.up
	g.k.mu.Unlock()
	<-up
	return g.Conn.Write(p)
}

// openStoreBy returns a store that reaches an agent by an address, and comes back
// as soon as lictor does.
func openStoreBy(t *testing.T, addr string) *consulstore.Store {
	t.Helper()
	client, err := consul.New(consul.Config{API: &api.Config{Address: addr}, MaxAnswer: consul.MaxPolicy})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = client.Contact.Probe(ctx, client) // ends with ctx
	}()
	t.Cleanup(func() { cancel(); <-ended })
	s, err := consulstore.New(consulstore.Config{
		Client: client, Kinds: storeKinds, Shard: "credentials", DataDir: t.TempDir(), MaxStale: 4 * time.Second, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPolicyOverAPartition cuts the link to Consul, changes the policy meanwhile
// and heals it (X6): until then what was in force stays in force, and then what
// was changed comes into force, but for what looks like an accident.
func TestPolicyOverAPartition(t *testing.T) {
	together(t)
	for _, test := range []struct {
		name string
		deaf bool
	}{
		{"connections are refused", true},
		{"packets vanish", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			layouts(t, func(t *testing.T, fill func(*testing.T, *consulAgent) int) {
				agent := startConsul(t)
				fill(t, agent)
				putTested(t, agent)
				for i := range 3 {
					kvPut(t, agent, fmt.Sprintf("lictor/policy/plugins/%d", i), "p")
				}
				k := startLink(t, agent.Addr)
				s := openStoreBy(t, k.Addr)
				w := storetest.Follow(t, s)
				wantTested(t, w, testedAll)
				seen := len(w.Updates())

				k.Cut(test.deaf)
				kvPut(t, agent, "lictor/policy/acls/a", "new")
				kvDelete(t, agent, "lictor/policy/acls/b")
				kvPut(t, agent, "lictor/policy/groups/new", "4")
				if _, err := agent.Client.KV().DeleteTree("lictor/policy/plugins/", nil); err != nil {
					t.Fatal(err)
				}
				eventually(t, 2*storetest.Soon, "the store notices the partition", func() error {
					if s.Status().Live || s.Status().Problem == "" {
						return fmt.Errorf("status is %+v", s.Status())
					}
					return nil
				})
				if got := tested(w.Content()); got != testedAll || len(w.Updates()) != seen {
					t.Errorf("behind a cut link the content is %q, after %d updates more", got, len(w.Updates())-seen)
				}

				k.Heal()
				wantTested(t, w, "acls/a=new consumers/c=3 groups/new=4")
				wantHeld(t, s, 3) // a kind that vanished at once
				for _, u := range w.Updates()[seen:] {
					wantOnlyDeleted(t, u, "acls/b")
				}
			})
		})
	}
}

// wantOnlyDeleted checks that an update takes nothing away but one key.
func wantOnlyDeleted(t *testing.T, u store.Update, key string) {
	t.Helper()
	if u.Reset {
		t.Errorf("an update replaces everything: %d objects", len(u.Changes))
	}
	for _, c := range u.Changes {
		if c.Deleted && c.Key() != key && !strings.HasPrefix(c.Key(), ".") {
			t.Errorf("%s was taken away", c.Key())
		}
	}
}
