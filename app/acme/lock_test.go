package acme

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"lictor/internal/consul"
)

// lender is a Consul that gives each lock to whoever asks last, as if the session before
// had ended.
type lender struct {
	mu       sync.Mutex
	sessions int
	released []string
}

func (l *lender) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/session/create"):
		l.sessions++
		fmt.Fprintf(w, `{"ID": "s%d"}`, l.sessions)
		return
	case r.URL.Query().Has("release"):
		l.released = append(l.released, r.URL.Query().Get("release"))
	}
	io.WriteString(w, "true")
}

// TestAWorkGivesBackItsOwnLock: a lock that was lost may be that of another work of this
// lictor by now.
func TestAWorkGivesBackItsOwnLock(t *testing.T) {
	l := new(lender)
	agent := httptest.NewServer(l)
	defer agent.Close()
	client, err := consul.New(consul.Config{API: &api.Config{Address: strings.TrimPrefix(agent.URL, "http://"), Scheme: "http"}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdle()
	seal, err := OwnSeal(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	kv := NewKV(client, "p/", seal)
	first, end := AtWork(t.Context())
	defer end(nil)
	second, end := AtWork(t.Context())
	defer end(nil)
	const name = "acme_account"
	if err := kv.Lock(first, name); err != nil {
		t.Fatal(err)
	}
	if err := kv.Lock(second, name); err != nil {
		t.Fatal(err)
	}
	if err := kv.Unlock(first, name); err != nil {
		t.Error(err)
	}
	if !slices.Equal(l.released, []string{"s1"}) {
		t.Errorf("the first work gave back the lock of %q", l.released)
	}
	if kv.Unlock(first, name) == nil {
		t.Error("a lock is given back twice")
	}
	if err := kv.Unlock(second, name); err != nil {
		t.Errorf("the second work has lost its lock: %v", err)
	}
	if !slices.Equal(l.released, []string{"s1", "s2"}) {
		t.Errorf("given back were the locks of %q", l.released)
	}
}
