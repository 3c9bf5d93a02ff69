// Package supervisor starts the long-running parts of the process in order,
// stops them in reverse and owns their goroutines.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Service is one long-running part of the process.
type Service struct {
	Name string

	// Run works until its context ends, and returns once everything it
	// started has ended. Returning earlier ends the process.
	Run func(ctx context.Context) error

	// Grace is how long Run may take to return once its context ended.
	Grace time.Duration
}

// running is a service that was started.
type running struct {
	Service
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned
	err    error         // of Run; to be read after done
	early  bool          // it ended before it was asked to, and that is reported
}

// Run starts the services in order, each needing only those before it, and
// waits until ctx ends or one of them returns. Then it stops them in reverse,
// the next one only after the last has returned or has used up its grace.
//
// It returns nil if all of them ran until ctx ended and stopped in time. A
// service that overstays its grace is left behind, which is an error: the
// process is about to end anyway.
func Run(ctx context.Context, log hclog.Logger, services ...Service) error {
	early := make(chan *running, len(services))
	var started []*running
	for _, s := range services {
		started = append(started, start(ctx, s, early))
		log.Debug("started", "service", s.Name)
	}
	var errs []error
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case r := <-early:
		// A service that sees the end of ctx in its own way may return before
		// anybody asked it to.
		if ctx.Err() == nil {
			r.early = true
			errs = append(errs, fmt.Errorf("%s ended: %w", r.Name, orNoReason(r.err)))
			log.Error("a service ended, stopping the others", "service", r.Name, "error", r.err)
		}
	}
	for i := len(started) - 1; i >= 0; i-- {
		if err := started[i].stop(); err != nil {
			log.Error("service did not stop well", "service", started[i].Name, "error", err)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// start runs s on a context of its own: that of Run ends for all services at
// once, theirs end one after the other.
func start(ctx context.Context, s Service, early chan<- *running) *running {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{Service: s, cancel: cancel, done: make(chan struct{})}
	go func() {
		r.err = s.Run(ctx)
		if ctx.Err() != nil && errors.Is(r.err, ctx.Err()) {
			r.err = nil // it says that it was stopped
		}
		early <- r
		close(r.done)
	}()
	return r
}

// stop ends the context of r and waits for it.
func (r *running) stop() error {
	if r.early {
		return nil
	}
	r.cancel()
	grace := time.NewTimer(r.Grace)
	defer grace.Stop()
	select {
	case <-r.done:
		if r.err != nil {
			return fmt.Errorf("%s: %w", r.Name, r.err)
		}
		return nil
	case <-grace.C:
		return fmt.Errorf("%s did not end within %s", r.Name, r.Grace)
	}
}

func orNoReason(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}
