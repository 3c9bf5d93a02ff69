// Package crash keeps a panic in one piece of work from ending the process: the
// connection, stream, document, catalogue answer or message that was being
// worked on ends, and nothing else does.
//
// It recovers panics only. What no recover catches (a stack overflow, memory
// that is used up, concurrent map writes) is to be made impossible by bounds.
package crash

import (
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// A Report is told of each panic: the place it was contained at, the value it
// was raised with and the stack of its goroutine. It must not panic itself.
type Report func(where string, value any, stack []byte)

var (
	report atomic.Pointer[Report]

	mu     sync.Mutex
	counts = none()
)

// SetReport replaces the function that is told of panics. Before the first
// call they are written to standard error. It may be called at any time.
func SetReport(r Report) { report.Store(&r) }

// Contain ends a panic of the calling goroutine, counts it for where, reports
// it and then calls end, which may be nil. It does nothing where there is no
// panic. It must be deferred itself, not be called by a deferred function:
//
//	defer crash.Contain("gateway connection", conn.abort)
//
// where is one of the fixed texts in places, for it becomes the label of a metric. end
// must leave nothing half-sent that looks whole: a connection is to be cut, not
// closed in order. A panic in end is contained as well.
func Contain(where string, end func()) {
	value := recover()
	if value == nil {
		return
	}
	Tell(where, value)
	if end == nil {
		return
	}
	defer func() {
		if value := recover(); value != nil {
			Tell(where, value)
		}
	}()
	end()
}

// Tell counts and reports a panic that the caller has recovered itself. It must
// be called by the deferred function that recovered, so that the stack is that
// of the panic.
func Tell(where string, value any) {
	mu.Lock()
	counts[where]++
	mu.Unlock()
	stack := debug.Stack()
	if r := report.Load(); r != nil {
		(*r)(where, value, stack)
		return
	}
	fmt.Fprintf(os.Stderr, "panic in %s: %v\n%s\n", where, value, stack)
}

// Go starts work on a goroutine of its own whose panics are contained. end is
// as for [Contain].
func Go(where string, work, end func()) {
	go func() {
		defer Contain(where, end)
		work()
	}()
}

// Counts returns how many panics were contained so far, by place, 0 where none was.
func Counts() map[string]uint64 {
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(counts)
}
