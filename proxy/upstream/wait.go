package upstream

import (
	"context"
	"errors"
	"sync"
	"time"

	"lictor/internal/crash"
)

// watchAfter is how long a request may wait before its client is watched for
// leaving, and the policy for a change: most waits are over sooner.
const watchAfter = 50 * time.Millisecond

// errCrashed is what a request ends with whose watch panicked.
var errCrashed = errors.New("proxy: a panic ended the request")

// wait is the wait of a request for what others do. It serves another one after it,
// unless it took long: until then nobody has had its cancel.
type wait struct {
	ctx    context.Context // ends when the client leaves or the exchange is cut (X14)
	cancel context.CancelCauseFunc
	timer  *time.Timer // calls watch
	q      *Request

	mu      sync.Mutex // guards what follows
	over    bool
	unwatch func() // nil while the client is not watched
}

var waits = sync.Pool{New: func() any {
	w := new(wait)
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
	w.timer = time.AfterFunc(time.Hour, w.watch)
	w.timer.Stop()
	return w
}}

// wait begins a wait. Its end must be called, and nothing may keep its ctx beyond.
func (q *Request) wait() *wait {
	w := waits.Get().(*wait)
	w.q = q
	w.timer.Reset(watchAfter)
	return w
}

// watch begins to watch the client and the policy.
func (w *wait) watch() {
	defer crash.Contain("watch of a client", func() { w.cancel(errCrashed) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.q.Exchange.Lasts()
		w.unwatch = w.q.Conn.OnGone(w.cancel)
	}
}

// end ends the wait, and reports whether the client left or the exchange was cut.
func (w *wait) end() (gone bool) {
	if w.timer.Stop() {
		w.q = nil
		waits.Put(w)
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.unwatch != nil {
		w.unwatch()
	}
	gone = w.ctx.Err() != nil
	w.cancel(nil)
	return gone
}
