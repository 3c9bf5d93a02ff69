package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// maxConnections bounds the connections that the listener holds. Further ones
// wait in the kernel, where they use up no descriptor of the process.
const maxConnections = 64

// firstRequest is how long a new connection is left in peace: the head of its
// first request is on its way.
const firstRequest = 250 * time.Millisecond

// connections is a listener that holds a bounded number of connections. When
// they are at their limit, the one that has been without a request for longest
// gives way to a new one: whoever opens connections and is silent keeps nobody
// out.
type connections struct {
	net.Listener
	log hclog.Logger

	mu    sync.Mutex // guards what follows
	freed sync.Cond  // a connection ended or is idle
	open  map[net.Conn]*connection
	full  bool // it was told that idle ones give way
}

type connection struct {
	asked bool      // a request of it is being answered
	idle  time.Time // since when there is none; of a new one a moment later
}

func bounded(ln net.Listener, log hclog.Logger) *connections {
	l := &connections{Listener: ln, log: log, open: make(map[net.Conn]*connection)}
	l.freed.L = &l.mu
	return l
}

// Accept implements [net.Listener].
func (l *connections) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) >= maxConnections && !l.giveWay() {
		again := time.AfterFunc(firstRequest/4, l.freed.Signal)
		l.freed.Wait()
		again.Stop()
	}
	l.open[c] = &connection{idle: time.Now().Add(firstRequest)}
	return c, nil
}

// giveWay ends the connection that has been idle for longest and reports
// whether there was one. The caller holds mu.
func (l *connections) giveWay() bool {
	var oldest net.Conn
	for c, state := range l.open {
		if !state.asked && (oldest == nil || state.idle.Before(l.open[oldest].idle)) {
			oldest = c
		}
	}
	if oldest == nil || l.open[oldest].idle.After(time.Now()) {
		return false
	}
	if !l.full {
		l.full = true
		l.log.Warn("the admin listener has all the connections that it may have, idle ones give way", "client", oldest.RemoteAddr())
	}
	delete(l.open, oldest)
	go oldest.Close() // by TLS it says goodbye, which may take a while
	return true
}

// changed is the hook of [http.Server] for the states of a connection. It is
// idle only once the answer is sent.
func (l *connections) changed(c net.Conn, state http.ConnState) {
	l.mu.Lock()
	switch state {
	case http.StateIdle:
		if known := l.open[c]; known != nil {
			known.asked, known.idle = false, time.Now()
		}
	case http.StateClosed, http.StateHijacked:
		delete(l.open, c)
		l.full = l.full && len(l.open) > maxConnections/2
	}
	l.mu.Unlock()
	l.freed.Signal()
}

type connectionKey struct{}

// context lets the requests of a connection find it.
func (l *connections) context(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// counted marks the connection of a request as in use.
func (l *connections) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connectionKey{}).(net.Conn)
		l.mu.Lock()
		if known := l.open[c]; known != nil {
			known.asked = true
		}
		l.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}
