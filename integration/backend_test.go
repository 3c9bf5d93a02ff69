//go:build integration

package integration_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
)

// backend is an instance that answers every request with its name, and its
// check with a status that the test may set.
type backend struct {
	Addr string // host:port
	URL  string

	srv    *http.Server
	mu     sync.Mutex // guards status
	status int
}

// Close ends the backend at once: whoever connects is refused.
func (b *backend) Close() { b.srv.Close() }

// startBackend serves until the test ends.
func startBackend(t *testing.T, name string) *backend {
	t.Helper()
	b := &backend{status: http.StatusOK}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		w.WriteHeader(b.status)
		fmt.Fprintln(w, name)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	b.srv = srv
	go srv.Serve(l) //nolint:errcheck // always ErrServerClosed
	t.Cleanup(func() { srv.Close() })
	b.Addr = l.Addr().String()
	b.URL = "http://" + b.Addr
	return b
}

// SetHealth sets the status that the check sees from now on.
func (b *backend) SetHealth(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = status
}

// lockedBuffer collects an agent's output while it runs.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
