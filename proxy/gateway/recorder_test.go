package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/answer"
)

// seen is a request as a backend read it.
type seen struct {
	id, method, uri, body string
	broken                bool // its body did not end as it should
}

func (s seen) String() string {
	if s.broken {
		return fmt.Sprintf("%s %s broken", s.method, s.uri)
	}
	return strings.TrimSuffix(fmt.Sprintf("%s %s %s", s.method, s.uri, s.body), " ")
}

// recorder is a backend that remembers what it read, and says it in its answer.
type recorder struct {
	mu  sync.Mutex // guards all
	all []seen
}

// recorder serves svc with a recording net/http server.
func (r *rig) recorder() *recorder {
	rec := new(recorder)
	r.backend(rec.ServeHTTP)
	return rec
}

func (rec *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	s := seen{req.Header.Get("X-Request-Id"), req.Method, req.RequestURI, string(body), err != nil}
	rec.mu.Lock()
	rec.all = append(rec.all, s)
	rec.mu.Unlock()
	io.WriteString(w, s.String())
}

// take returns what was read since the last take.
func (rec *recorder) take() []seen {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	all := rec.all
	rec.all = nil
	return all
}

// takeText is take as text, one request after the other.
func (rec *recorder) takeText() string {
	var s []string
	for _, one := range rec.take() {
		s = append(s, one.String())
	}
	return strings.Join(s, " | ")
}

// logBook keeps the access log in memory.
type logBook struct {
	mu  sync.Mutex // guards buf
	log *answer.AccessLog
	buf bytes.Buffer
}

func newLogBook(t testing.TB, format string) *logBook {
	t.Helper()
	b := new(logBook)
	var err error
	if b.log, err = answer.NewAccessLogTo(b, format); err != nil {
		t.Fatal(err)
	}
	return b
}

// Write implements io.Writer.
func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take returns the lines since the last take.
func (b *logBook) take() []string {
	_ = b.log.Flush(time.Second)
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := strings.Split(b.buf.String(), "\n")
	b.buf.Reset()
	return lines[:len(lines)-1]
}

// until waits for n lines.
func (b *logBook) until(t testing.TB, n int) []string {
	t.Helper()
	var lines []string
	eventually.True(t, fmt.Sprintf("%d log lines", n), func() bool {
		lines = append(lines, b.take()...)
		return len(lines) >= n
	})
	return lines
}
