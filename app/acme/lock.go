package acme

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"lictor/internal/consul"
	"lictor/internal/crash"
	"lictor/internal/pace"
)

// A session lives for sessionTime after it was renewed, and Consul gives its
// locks to nobody for lockDelay after it ended: whoever held one has time to see it.
const (
	sessionTime  = 15 * time.Second
	lockDelay    = 15 * time.Second
	sessionEvery = sessionTime / 3
	lockWait     = 10 * time.Second // of a query until a lock is free
	letGo        = 2 * time.Second  // for what gives up a lock; past it the session ends by itself
	lockPause    = time.Second      // where it is free and not given away yet
)

// lock is one that is held or waited for.
type lock struct {
	name, key, session string
	work               *work
	stop               context.CancelFunc // ends its renewal
}

// Lock implements [certmagic.Locker] by a session of Consul. A lock that is lost
// ends the work of ctx, see [AtWork].
func (s *KV) Lock(ctx context.Context, name string) error {
	w, ok := ctx.Value(workKey{}).(*work)
	if !ok {
		return errors.New("acme: a lock outside of any work")
	}
	l := &lock{name: name, key: s.prefix + "locks/" + name, work: w}
	if err := s.open(ctx, l); err != nil {
		return err
	}
	var index uint64
	for {
		got, err := s.acquire(ctx, l)
		if err == nil && got {
			w.add(l)
			return nil
		}
		if err == nil {
			index, err = s.await(ctx, l, index)
		}
		if err != nil {
			s.destroy(ctx, l)
			return err
		}
	}
}

// Unlock implements [certmagic.Locker]. It gives back the lock of the work of ctx: one
// that was lost may be somebody else's by now, also of this lictor.
func (s *KV) Unlock(ctx context.Context, name string) error {
	w, _ := ctx.Value(workKey{}).(*work)
	l := w.take(name)
	if l == nil {
		return errors.New("acme: a lock that is not held")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), letGo)
	defer cancel()
	// Released before its session ends: only what is lost is held back by lockDelay.
	err := s.client.Send(ctx, http.MethodPut, "/v1/kv/"+l.key, url.Values{"release": {l.session}}, nil, nil)
	s.destroy(ctx, l)
	return err
}

// open makes the session of a lock and keeps it alive.
func (s *KV) open(ctx context.Context, l *lock) error {
	body, err := json.Marshal(map[string]string{
		"Name": "lictor acme", "TTL": sessionTime.String(), "LockDelay": lockDelay.String(), "Behavior": "release",
	})
	if err != nil {
		return err
	}
	began := time.Now()
	err = s.client.Send(ctx, http.MethodPut, "/v1/session/create", nil, body, func(r io.Reader) error {
		var answer struct{ ID string }
		err := json.NewDecoder(io.LimitReader(r, 4096)).Decode(&answer)
		if l.session = answer.ID; err == nil && l.session == "" {
			err = errors.New("consul makes a session without an ID")
		}
		return err
	})
	if err != nil {
		return err
	}
	// Not the context of the work: a lock that is held while its work ends is to be
	// released in order.
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go s.keep(keep, l, began)
	return nil
}

// keep renews a session until it is stopped. One that may have ended ends the work.
func (s *KV) keep(ctx context.Context, l *lock, renewed time.Time) {
	defer crash.Contain("acme lock", func() { l.work.end(errLost) })
	tick := time.NewTicker(sessionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		asked, cancel := context.WithDeadline(ctx, renewed.Add(sessionTime))
		err := s.client.Send(asked, http.MethodPut, "/v1/session/renew/"+l.session, nil, nil, nil)
		cancel()
		status, answered := errors.AsType[*consul.StatusError](err)
		switch {
		case err == nil:
			renewed = began
		case ctx.Err() != nil:
			return
		case answered && status.Code == http.StatusNotFound, !time.Now().Before(renewed.Add(sessionTime - sessionEvery)):
			l.work.end(errLost)
			return
		}
	}
}

// destroy ends a session. If that fails it ends by itself.
func (s *KV) destroy(ctx context.Context, l *lock) {
	l.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), letGo)
	defer cancel()
	_ = s.client.Send(ctx, http.MethodPut, "/v1/session/destroy/"+l.session, nil, nil, nil)
}

func (s *KV) acquire(ctx context.Context, l *lock) (got bool, err error) {
	err = s.client.Send(ctx, http.MethodPut, "/v1/kv/"+l.key, url.Values{"acquire": {l.session}}, nil, func(r io.Reader) error {
		return json.NewDecoder(io.LimitReader(r, 64)).Decode(&got)
	})
	return got, err
}

// await waits until a lock may be free.
func (s *KV) await(ctx context.Context, l *lock, index uint64) (uint64, error) {
	var found []struct{ Session string }
	meta, err := s.client.Get(ctx, "/v1/kv/"+l.key, consul.Query{Index: index, Wait: lockWait, MayBeEmpty: true}, func(r io.Reader) error {
		return json.NewDecoder(r).Decode(&found)
	})
	if err != nil {
		return 0, err
	}
	if len(found) > 0 && found[0].Session != "" {
		return meta.Index, nil
	}
	if pace.Sleep(ctx, lockPause) != nil { // free, but not given away for lockDelay
		return 0, context.Cause(ctx)
	}
	return meta.Index, nil
}
