//go:build integration

package integration_test

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/app/acme"
	"lictor/internal/consul"
)

// acmeKV is the storage of one lictor.
func acmeKV(t *testing.T, c *consulAgent, key string) *acme.KV {
	t.Helper()
	seal, err := acme.ReadSeal(key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := consul.New(consul.Config{API: &api.Config{Address: c.Addr, Scheme: "http"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	return acme.NewKV(client, "lictor/acme/", seal)
}

// TestALockInConsulLocks (P8): three that add to a number, which only a lock makes
// right.
func TestALockInConsulLocks(t *testing.T) {
	together(t)
	c, key := startConsul(t), sealFile(t)
	const each = 15
	var wg sync.WaitGroup
	for range 3 {
		s := acmeKV(t, c, key)
		wg.Go(func() {
			for range each {
				if err := addOne(t.Context(), s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, err := acmeKV(t, c, key).Load(t.Context(), "number"); err != nil || string(got) != strconv.Itoa(3*each) {
		t.Errorf("got %s, %v, want %d", got, err, 3*each)
	}
	sessions, _, err := c.Client.Session().List(nil)
	if err != nil || len(sessions) > 0 {
		t.Errorf("%d sessions are left, %v", len(sessions), err)
	}
}

func addOne(ctx context.Context, s *acme.KV) error {
	ctx, end := acme.AtWork(ctx)
	defer end(nil)
	if err := s.Lock(ctx, "number"); err != nil {
		return err
	}
	text, err := s.Load(ctx, "number")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n, _ := strconv.Atoi(string(text)) // 0 if there is none
	err = s.Store(ctx, "number", []byte(strconv.Itoa(n+1)))
	return errors.Join(err, s.Unlock(ctx, "number"))
}

// TestALockThatIsLostEndsTheWork (P8): its session ends under it. It writes and
// deletes nothing any more, its work ends, and nobody else has the lock at once.
func TestALockThatIsLostEndsTheWork(t *testing.T) {
	together(t)
	c, key := startConsul(t), sealFile(t)
	s, other := acmeKV(t, c, key), acmeKV(t, c, key)
	ctx, end := acme.AtWork(t.Context())
	defer end(nil)
	if err := errors.Join(s.Lock(ctx, "x"), s.Store(ctx, "value", []byte("before"))); err != nil {
		t.Fatal(err)
	}
	sessions, _, err := c.Client.Session().List(nil)
	if err != nil || len(sessions) != 1 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	if _, err := c.Client.Session().Destroy(sessions[0].ID, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.Store(ctx, "value", []byte("after")); err == nil || !strings.Contains(err.Error(), "was lost") {
		t.Errorf("it writes without its lock: %v", err)
	}
	if err := s.Delete(ctx, "value"); err == nil {
		t.Error("it deletes without its lock")
	}
	if got, err := other.Load(t.Context(), "value"); err != nil || string(got) != "before" {
		t.Errorf("got %s, %v", got, err)
	}
	eventually(t, soon, "the work ends", func() error {
		if ctx.Err() == nil {
			return errors.New("it goes on")
		}
		return nil
	})
	next, end := acme.AtWork(t.Context())
	defer end(nil)
	if err := other.Lock(next, "x"); err != nil {
		t.Fatal(err)
	}
	if after := time.Since(began); after < 10*time.Second {
		t.Errorf("somebody else has the lock after %v, before the former one may know", after)
	}
	if err := errors.Join(other.Store(next, "value", []byte("other")), other.Unlock(next, "x")); err != nil {
		t.Error(err)
	}
}

// TestWhatAnotherKeySealedIsNotOpened (P8).
func TestWhatAnotherKeySealedIsNotOpened(t *testing.T) {
	together(t)
	c := startConsul(t)
	one := acmeKV(t, c, sealFile(t))
	if err := one.Store(t.Context(), "a/b", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	own := t.TempDir() + "/key"
	if _, err := acme.OwnSeal(own); err != nil {
		t.Fatal(err)
	}
	if got, err := acmeKV(t, c, own).Load(t.Context(), "a/b"); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "key_file") {
		t.Errorf("got %s, %v", got, err)
	}
	pair, _, err := c.Client.KV().Get("lictor/acme/a/b", nil)
	if err != nil || strings.Contains(string(pair.Value), "secret") {
		t.Fatalf("%v, or it is not sealed", err)
	}
	pair.Key = "lictor/acme/a/c" // somebody moves it
	if _, err := c.Client.KV().Put(pair, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := one.Load(t.Context(), "a/c"); err == nil {
		t.Errorf("a value under another name opens: %s", got)
	}
	if keys, err := one.List(t.Context(), "a", true); err != nil || len(keys) != 2 || keys[0] != "a/b" {
		t.Errorf("got %q, %v", keys, err)
	}
	if err := one.Delete(t.Context(), "a"); err != nil || one.Exists(t.Context(), "a/b") || one.Exists(t.Context(), "a") {
		t.Errorf("a folder is not deleted: %v", err)
	}
}
