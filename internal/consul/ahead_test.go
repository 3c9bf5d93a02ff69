package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/internal/eventually"
)

// askWaiting asks a query that waits, ahead or not.
func askWaiting(ctx context.Context, c *Client, path string, ahead bool) (Meta, error) {
	q := Query{Index: 7, Wait: time.Minute, Many: true}
	if ahead {
		q.Asked = c.Ahead(ctx, path, q)
		defer q.Asked.End()
	}
	return c.Get(ctx, path, q, readAll(new(string)))
}

// TestAWatchOfVeryManyHoldsLittleStack: what it took to ask and to read stays with nobody.
func TestAWatchOfVeryManyHoldsLittleStack(t *testing.T) {
	const n = 100
	s := startSecured(t, 50, "h2")
	c := s.client(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	for i := range n {
		path := fmt.Sprint("/v1/health/service/svc-", i)
		many := func(ctx context.Context, q Query) (uint64, error) {
			q.Many = true
			m, err := c.Get(ctx, path, q, readAll(new(string)))
			return m.Index, err
		}
		w := Watch{Step: many, Wait: func() time.Duration { return time.Minute }, Nudge: new(Nudge), Ahead: func(ctx context.Context, q Query) *Asked {
			q.Many = true
			return c.Ahead(ctx, path, q)
		}}
		all.Go(func() { w.Run(ctx) })
	}
	eventually.True(t, "all wait", func() bool { return s.waiting.Load() == n })
	eventually.True(t, "none waits on the stack that asking takes", func() bool { return strings.Count(allStacks(), "(*Client).get(") == 0 })
}

func allStacks() string {
	buf := make([]byte, 16<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// TestAnOlderAnswerThatWasAskedForAheadIsAskedForAgain, and not read twice.
func TestAnOlderAnswerThatWasAskedForAheadIsAskedForAgain(t *testing.T) {
	s := startSecured(t, 50, "h2")
	c := s.client(t, 2)
	close(s.release)
	q := Query{Index: 7, Known: 9, Wait: time.Minute, Many: true}
	q.Asked = c.Ahead(t.Context(), "/v1/x", q)
	defer q.Asked.End()
	if m, err := c.Get(t.Context(), "/v1/x", q, readAll(new(string))); err != nil || m.Index != 7 || s.streams.Load() != 2 {
		t.Errorf("%+v %v, by %d streams, want 2", m, err, s.streams.Load())
	}
}

// TestATokenThatIsReplacedAfterAQueryWasAskedAhead is not refused for the former one.
func TestATokenThatIsReplacedAfterAQueryWasAskedAhead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "first")
	g := new(guarded)
	g.token.Store("second")
	s := startSecuredAs(t, func(served *http.Server) { served.Handler = g }, "h2")
	i, err := NewIdentity(IdentityConfig{TokenFile: file, TLS: api.TLSConfig{CAFile: s.ca}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{API: &api.Config{Address: s.URL}, Identity: i, Conns: 20, Streams: 2})
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Index: 1, Wait: time.Minute, Many: true}
	q.Asked = c.Ahead(t.Context(), "/v1/x", q)
	defer q.Asked.End()
	write(t, file, "second")
	if _, err := c.Get(t.Context(), "/v1/x", q, readAll(new(string))); err != nil || g.asked.Load() != 2 {
		t.Errorf("%v, after %d requests, want 2", err, g.asked.Load())
	}
}

func TestAPanicInWhatIsDoneAsideIsItsError(t *testing.T) {
	if err := Aside(func() error { panic("odd") }); !errors.Is(err, ErrPanic) {
		t.Errorf("%v, want that it raised a panic", err)
	}
}
