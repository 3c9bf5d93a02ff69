package egress

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// origin is an HTTP server that says what it got, at every loopback address.
type origin struct {
	port uint16
	mu   sync.Mutex // guards what follows
	got  []*http.Request
	to   []string // addresses it was reached at
}

// startTarget serves on every address, all of 127.0.0.0/8 included, so that a
// test has as many hosts as it wants.
func startTarget(t *testing.T) *origin {
	t.Helper()
	s := &origin{}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = netip.MustParseAddrPort(l.Addr().String()).Port()
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return s
}

func (s *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.got = append(s.got, r)
	s.to = append(s.to, r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	s.mu.Unlock()
	w.Header().Set("Proxy-Authenticate", "Basic")
	w.Header().Set("Connection", "X-Hop")
	w.Header().Set("X-Hop", "1")
	w.Header().Add("X-Two", "a")
	w.Header().Add("X-Two", "b")
	if r.URL.Path == "/slow" {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	fmt.Fprintf(w, "%s %s host=%s body=%s", r.Method, r.RequestURI, r.Host, body)
}

// last is the last request that came.
func (s *origin) last(t *testing.T) *http.Request {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) == 0 {
		t.Fatal("the target got no request")
	}
	return s.got[len(s.got)-1]
}

func (s *origin) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}
