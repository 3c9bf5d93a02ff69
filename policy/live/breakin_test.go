package live

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/policy/store"
)

// keptStore has nothing but what an earlier life kept.
type keptStore struct {
	store.Store
	contact time.Time
}

func (s *keptStore) Status() store.Status {
	return store.Status{Loaded: true, LastGood: true, Contact: s.contact}
}

func (s *keptStore) Watch(ctx context.Context, fn func(store.Update) []string) error {
	fn(store.Update{Reset: true, LastGood: true})
	<-ctx.Done()
	return ctx.Err()
}

// TestKeptPolicyThatIsTooOldLetsNobodyIn checks max_stale from the very first
// moment of a cold start (X6).
func TestKeptPolicyThatIsTooOldLetsNobodyIn(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  time.Duration
		max  time.Duration
		want bool // it serves at once
	}{
		{"too old", time.Hour, time.Minute, false},
		{"fresh enough", time.Second, time.Minute, true},
		{"old without a limit", time.Hour, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := New(Config{Store: &keptStore{contact: time.Now().Add(-tt.age)}, MaxStale: tt.max, Log: hclog.NewNullLogger()})
				if err != nil {
					t.Fatal(err)
				}
				if p.Set() != nil {
					t.Error("it serves before anything was loaded")
				}
				first := make(chan bool, 1)
				p.OnChange(func() { first <- p.Set() != nil })
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- p.Run(ctx) }()
				if got := <-first; got != tt.want {
					t.Errorf("serves at once: %v, want %v", got, tt.want)
				}
				time.Sleep(2 * time.Minute)
				if got, want := p.Set() != nil, tt.max == 0; got != want {
					t.Errorf("serves later: %v, want %v", got, want)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
