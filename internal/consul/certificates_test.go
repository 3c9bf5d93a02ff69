package consul

import (
	"os"
	"testing"
	"time"

	"lictor/internal/eventually"
)

// TestConnectionsByFormerCertificatesServeNoFurtherRequest: also those on which a query
// waited when they were replaced.
func TestConnectionsByFormerCertificatesServeNoFurtherRequest(t *testing.T) {
	for name, streams := range map[string]int{"of HTTP/1.1": 0, "of HTTP/2": 2} {
		t.Run(name, func(t *testing.T) {
			s := startSecured(t, 50, "h2", "http/1.1")
			c := s.client(t, streams)
			waits := s.wait(t, t.Context(), c, 1)
			write(t, s.ca, string(append(must(os.ReadFile(s.ca)), '\n')))
			get := func() {
				t.Helper()
				if _, err := c.Get(t.Context(), "/v1/x", Query{Many: true, Time: time.Minute}, readAll(new(string))); err != nil {
					t.Fatal(err)
				}
			}
			get()
			before := s.made.Load()
			close(s.release)
			if failed := waits(); failed > 0 {
				t.Error("the query that waited was lost")
			}
			eventually.True(t, "the former connection is closed", func() bool { get(); return s.conns.Load() == 1 })
			if got := s.made.Load() - before; before != 2 || got > 0 {
				t.Errorf("%d connections were made, and %d more, want 2", before, got)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
