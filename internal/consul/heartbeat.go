package consul

import (
	"context"
	"errors"
	"time"

	"lictor/internal/pace"
)

// Heartbeat looks at short intervals whether what the watches say is right. A
// watch is silent while nothing changes, and as silent when something in the
// middle has forgotten its connection and still acknowledges what the kernel
// sends, or when the servers lost their history. So Beat asks, on a connection
// that is made for it (see [Query.Fresh]), how far Consul is.
type Heartbeat struct {
	Every   time.Duration                   // between beats, less up to a quarter; required
	First   time.Duration                   // before the first one, likewise; 0 = at once
	Contact *Contact                        // a beat comes at once when Consul is heard again; nil = it does not
	Beat    func(ctx context.Context) error // required; a panic ends this beat alone
}

// Run beats until ctx ends, and returns its error, or until a beat fails, and
// returns that.
func (h *Heartbeat) Run(ctx context.Context) error {
	var back <-chan struct{}
	if h.Contact != nil {
		back = h.Contact.Back()
	}
	bucket := Bucket{Burst: 3, Every: h.Every} // where Consul comes and goes all the time
	for next := h.First; ; next = h.Every {
		if err := pace.Doze(ctx, pace.Jitter(next), back); err != nil {
			return err
		}
		if err := pace.Sleep(ctx, bucket.Take(time.Now())-h.Every); err != nil {
			return err
		}
		if err := Contain(func() error { return h.Beat(ctx) }); err != nil && !errors.Is(err, ErrPanic) {
			return err
		}
	}
}
