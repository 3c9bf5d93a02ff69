package tokens

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/crash"
	"lictor/internal/pace"
)

const (
	// askEvery is how often a token that names an unknown key may have a set
	// fetched, whoever sends how many.
	askEvery = 30 * time.Second
	// retryFirst is the pause after the first failure; it doubles, up to askEvery.
	retryFirst = time.Second
)

// source keeps the set of one URL.
type source struct {
	verifier *Verifier
	url      string
	keys     atomic.Pointer[keys] // nil: none was read yet
	refresh  atomic.Int64         // a time.Duration
	asked    chan struct{}        // a token names a key that is not in the set

	mu     sync.Mutex // guards what follows
	status Status
}

// Status is how the set of a URL stands.
type Status struct {
	URL     string
	Keys    int
	LeftOut int       // keys in the answer that are of no use here
	Fetched time.Time // last good answer; zero = none was ever read
	Kept    bool      // it comes from data_dir, the URL has not answered since the start
	Problem string    // what went wrong last, "" while all is well
}

func newSource(v *Verifier, url string) *source {
	return &source{verifier: v, url: url, asked: make(chan struct{}, 1), status: Status{URL: url}}
}

func (s *source) setRefresh(d time.Duration) { s.refresh.Store(int64(d)) }

// ask has the set fetched soon: at once if that was not done for askEvery, else when
// it is over. It does not wait.
func (s *source) ask() {
	select {
	case s.asked <- struct{}{}:
	default: // is due already
	}
}

// run fetches the set again and again, until ctx ends.
func (s *source) run(ctx context.Context) {
	s.load()
	retry := pace.Backoff{First: retryFirst, Most: askEvery}
	for {
		began := time.Now()
		err := s.contained(ctx)
		if ctx.Err() != nil {
			return
		}
		s.tell(err)
		if err == nil || errors.Is(err, errNotKept) {
			retry.Reset()
			if !s.pause(ctx, began) {
				return
			}
			continue
		}
		if pace.Sleep(ctx, retry.Next()) != nil {
			return
		}
	}
}

// pause waits until the set is to be fetched again: when it is old, or somebody asks
// for it. It reports whether ctx goes on.
func (s *source) pause(ctx context.Context, began time.Time) bool {
	select { // who asked while it was fetched may have its key by now
	case <-s.asked:
	default:
	}
	refresh := time.Duration(s.refresh.Load())
	refresh -= rand.N(refresh/10 + 1) // gateways that started together should not ask together
	old := time.NewTimer(time.Until(began.Add(refresh)))
	defer old.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-old.C:
		return true
	case <-s.asked:
	}
	return pace.Sleep(ctx, time.Until(began.Add(askEvery))) == nil
}

// contained is fetch in which a panic is an error of this answer only.
func (s *source) contained(ctx context.Context) (err error) {
	err = errPanic
	defer crash.Contain("jwks answer", nil)
	return s.fetch(ctx)
}

// fetch asks the URL once, and puts a good answer in force.
func (s *source) fetch(ctx context.Context) error {
	answer, err := s.verifier.fetcher.fetch(ctx, s.url)
	if err != nil {
		return err
	}
	read, err := readSet(answer)
	if err != nil {
		return fmt.Errorf("its answer %w", err)
	}
	set, useful, err := usable(read)
	if err != nil {
		return err
	}
	now := time.Now()
	s.publish(set)
	s.mu.Lock()
	s.status = Status{URL: s.url, Keys: len(set.all), LeftOut: len(read) - len(useful), Fetched: now, Problem: s.status.Problem}
	s.mu.Unlock()
	return s.save(useful, now)
}

// publish puts a set in force, unless it is the same as before.
func (s *source) publish(set *keys) {
	if s.keys.Load().same(set) {
		return
	}
	s.keys.Store(set)
	for _, f := range s.verifier.watchers {
		f()
	}
}

// tell notes how it went, and logs what is new about it.
func (s *source) tell(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	s.verifier.counts.fetched(err == nil || errors.Is(err, errNotKept))
	s.mu.Lock()
	before := s.status
	s.status.Problem = problem
	now := s.status
	s.mu.Unlock()
	log := s.verifier.cfg.Log
	switch {
	case problem != "" && problem != before.Problem:
		log.Warn("cannot fetch the keys for tokens, keeping the last good ones", "url", s.url, "error", problem, "keys", now.Keys)
	case problem == "" && (before.Problem != "" || before.Keys != now.Keys):
		log.Info("keys for tokens fetched", "url", s.url, "keys", now.Keys, "left_out", now.LeftOut)
	}
}

// Status tells of every URL, in no order.
func (v *Verifier) Status() []Status {
	var all []Status
	for _, s := range *v.sources.Load() {
		s.mu.Lock()
		all = append(all, s.status)
		s.mu.Unlock()
	}
	return all
}
