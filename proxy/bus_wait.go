package proxy

import (
	"context"
	"sync"
	"time"
)

// watchAfter is how long a worker may think before the client is watched for
// leaving, and the policy for a change: most answer sooner.
const watchAfter = 50 * time.Millisecond

// busWait is the wait of one exchange for a worker. It is used again unless the
// worker thought for long: until then nobody else has seen its context.
type busWait struct {
	ctx    context.Context // ends when the client leaves or the exchange is cut (X14)
	cancel context.CancelCauseFunc
	timer  *time.Timer
	x      *exchange

	mu      sync.Mutex // guards what follows
	over    bool
	unwatch func() // nil while the client is not watched
}

var busWaits = sync.Pool{New: func() any {
	w := new(busWait)
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
	w.timer = time.AfterFunc(time.Hour, w.watch)
	w.timer.Stop()
	return w
}}

func (w *busWait) start(x *exchange) {
	w.x = x
	w.timer.Reset(watchAfter)
}

// watch begins to watch the client and the policy.
func (w *busWait) watch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.x.gw.Lasting(w.x.c)
		w.unwatch = w.x.c.OnGone(w.cancel)
	}
}

// stop ends the wait, and reports whether the client left or was cut. w must
// not be used after it.
func (w *busWait) stop() (left bool) {
	if w.timer.Stop() {
		w.x = nil
		busWaits.Put(w)
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.unwatch != nil {
		w.unwatch()
	}
	left = w.ctx.Err() != nil
	w.cancel(nil)
	return left
}
