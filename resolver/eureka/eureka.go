// Package eureka follows a Eureka registry: Netflix's own, Spring Cloud's,
// Polaris or Amalgam8 (E1-E12).
//
// A [Resolver] reads the whole registry again and again, or its changes, from
// the first server that answers. Names are compared without case. What it
// published stays while no server answers, and a loss that looks like that of
// a server's memory is believed only when it has been repeated for a while.
//
// Every service of the catalog is loaded, so Want has nothing to do.
package eureka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/crash"
	"lictor/internal/pace"
	"lictor/resolver"
)

// Config is what a Resolver needs. URLs and Log are required.
type Config struct {
	URLs           []string      // the base of each server, asked in this order; with user and password if they want
	Refresh        time.Duration // 0 = 30 s
	PreferHostname bool          // dial hostName instead of ipAddr
	Delta          bool          // read changes only, when the server gives them
	EmptyHold      time.Duration // how long a loss that looks wrong is disbelieved; 0 = not at all
	SnapshotFile   string        // last good catalog, for a cold start; "" = none is kept
	Log            hclog.Logger
}

// Resolver is a [resolver.Source]. Run fills it.
type Resolver struct {
	cfg       Config
	log       hclog.Logger
	servers   []server
	client    *http.Client
	maxAnswer int64
	catalog   atomic.Pointer[resolver.Catalog]
	bell      resolver.Bell

	// Only used by Run.
	registry registry  // of the last answer
	source   string    // the server it came from
	bad      int       // parts of it that made no sense
	belief   belief    //
	failing  string    // the last failure that was logged
	saved    time.Time // the contact that the snapshot tells of

	mu     sync.Mutex // guards status
	status resolver.Status
}

var _ resolver.Source = (*Resolver)(nil)

// New checks cfg and returns a Resolver that knows nothing yet.
func New(cfg Config) (*Resolver, error) {
	if cfg.Log == nil || len(cfg.URLs) == 0 {
		return nil, errors.New("eureka: URLs and Log are required")
	}
	if cfg.Refresh < 0 || cfg.EmptyHold < 0 {
		return nil, errors.New("eureka: Refresh and EmptyHold must not be negative")
	}
	cfg.Refresh = cmp.Or(cfg.Refresh, 30*time.Second)
	r := &Resolver{cfg: cfg, log: cfg.Log, client: newClient(), maxAnswer: maxAnswer, belief: belief{hold: cfg.EmptyHold}}
	for i, text := range cfg.URLs {
		s, err := newServer(text)
		if err != nil {
			return nil, fmt.Errorf("eureka: URL %d: %w", i+1, err)
		}
		r.servers = append(r.servers, s)
	}
	r.catalog.Store(resolver.NewFoldedCatalog())
	return r, nil
}

// Kind returns "eureka".
func (r *Resolver) Kind() string { return "eureka" }

// Catalog returns the current catalog, never nil.
func (r *Resolver) Catalog() *resolver.Catalog { return r.catalog.Load() }

// OnChange implements [resolver.Notifier].
func (r *Resolver) OnChange(f func()) { r.bell.OnChange(f) }

// Want returns a closed channel: all services are followed.
func (r *Resolver) Want(string) <-chan struct{} { return resolver.NoWait() }

// Status describes the source for people.
func (r *Resolver) Status() resolver.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Run follows the registry until ctx ends, and returns ctx's error.
func (r *Resolver) Run(ctx context.Context) error {
	defer r.client.CloseIdleConnections()
	r.load()
	backoff := pace.Backoff{First: 500 * time.Millisecond, Most: r.cfg.Refresh}
	for {
		err := r.contained(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := r.cfg.Refresh - rand.N(r.cfg.Refresh/10+1) // gateways that started together should not ask together
		if err == nil {
			backoff.Reset()
		} else {
			wait = backoff.Next()
			r.fail(err, wait)
		}
		if err := pace.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

var errPanic = errors.New("the answer raised a panic")

// contained is refresh in which a panic is an error of this answer only.
func (r *Resolver) contained(ctx context.Context) (err error) {
	err = errPanic
	defer crash.Contain("eureka answer", nil)
	return r.refresh(ctx)
}

// refresh reads the registry once and publishes what is believed of it.
func (r *Resolver) refresh(ctx context.Context) error {
	got, err := r.fetch(ctx, false)
	if err != nil {
		return err
	}
	known := r.catalog.Load()
	told := got.services(known)
	if emptied(known, told) {
		// An empty service is believed only if a second look agrees.
		if got, err = r.fetch(ctx, true); err != nil {
			return err
		}
		told = got.services(known)
	}
	r.registry = got
	now := time.Now()
	services, held := r.belief.judge(known, told, now)
	changed := r.publish(known, services)
	r.succeed(now, held)
	r.save(now, changed)
	return nil
}

// publish makes services the catalog, unless nothing changed.
func (r *Resolver) publish(known *resolver.Catalog, services map[string]*resolver.Service) bool {
	all := make([]*resolver.Service, 0, len(services))
	changed := len(services) != known.Len()
	for name, s := range services {
		if old := known.Lookup(name); same(old, s) {
			s = old
		} else {
			changed = true
		}
		all = append(all, s)
	}
	if changed {
		r.catalog.Store(resolver.NewFoldedCatalog(all...))
		r.bell.Ring()
	}
	return changed
}

// succeed notes a good answer.
func (r *Resolver) succeed(now time.Time, held string) {
	r.mu.Lock()
	before := r.status
	r.status = resolver.Status{Ready: true, Contact: now, Since: now, Held: held, ErrorTime: before.ErrorTime}
	r.mu.Unlock()
	switch {
	case before.Contact.IsZero() || r.failing != "":
		r.log.Info("eureka answers", "url", r.source, "services", r.catalog.Load().Len(), "left_out", r.bad)
	case held != "" && before.Held == "":
		r.log.Warn("keeping services that eureka does not list any more", "url", r.source, "note", held)
	case held == "" && before.Held != "":
		r.log.Info("eureka is believed again", "url", r.source, "services", r.catalog.Load().Len())
	}
	r.failing = ""
}

// fail notes that no server gave an answer. The log is told once.
func (r *Resolver) fail(err error, wait time.Duration) {
	now := time.Now()
	r.belief.broken(now)
	r.mu.Lock()
	r.status.Error, r.status.ErrorTime = err.Error(), now
	r.mu.Unlock()
	if r.failing == err.Error() {
		return
	}
	r.failing = err.Error()
	const text = "cannot read eureka, keeping the last known services"
	args := []any{"services", r.catalog.Load().Len(), "retry_in_ms", wait.Milliseconds(), "error", err}
	if refused(err) {
		r.log.Error(text, args...) // waiting will not help
	} else {
		r.log.Warn(text, args...)
	}
}

// refused reports whether err is a server that does not let us in.
func refused(err error) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden}, e.status)
}
