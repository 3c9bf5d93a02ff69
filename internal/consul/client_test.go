package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// serve starts a server and returns a client for it.
func serve(t *testing.T, most int64, answer http.HandlerFunc) (*Client, *httptest.Server) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c, err := New(Config{API: &api.Config{Address: s.URL, Token: "tok-en", Datacenter: "dc9"}, MaxAnswer: most})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func readAll(got *string) func(io.Reader) error {
	return func(body io.Reader) error {
		text, err := io.ReadAll(body)
		*got = string(text)
		return err
	}
}

func TestARequestCarriesWhoAsksAndWhat(t *testing.T) {
	c, _ := serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		fmt.Fprint(w, r.Header.Get("X-Consul-Token"), " ", r.URL)
	})
	var got string
	m, err := c.Get(t.Context(), "/v1/catalog/services", Query{Index: 5, Wait: time.Second, Consistent: true}, readAll(&got))
	if want := "tok-en /v1/catalog/services?consistent=&dc=dc9&index=5&wait=1000ms"; err != nil || got != want || m != (Meta{Index: 7, Filtered: true}) {
		t.Errorf("got %q, %+v, %v, want %q", got, m, err, want)
	}
}

func TestAUnixSocketIsReached(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consul.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "1")
		fmt.Fprint(w, `"127.0.0.1:8300"`)
	})}
	go s.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { s.Close() })
	c, err := New(Config{API: &api.Config{Address: "unix://" + path}})
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if _, err := c.Get(t.Context(), "/v1/x", Query{Fresh: true}, readAll(&got)); err != nil || got == "" {
		t.Errorf("by our own query: %q, %v", got, err)
	}
}

func TestARedirectIsNotFollowedAndTheTokenGoesNowhereElse(t *testing.T) {
	var strangers atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c, _ := serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, status)
		})
		_, err := c.Get(t.Context(), "/v1/x", Query{}, readAll(new(string)))
		if e, ok := errors.AsType[*StatusError](err); !ok || e.Code != status {
			t.Errorf("%d: our own query ends in %v", status, err)
		}
		if _, err := c.Get(t.Context(), "/v1/x", Query{Fresh: true}, readAll(new(string))); err == nil {
			t.Errorf("%d: a fresh query is answered", status)
		}
		if err := c.Send(t.Context(), http.MethodPut, "/v1/x", nil, nil, nil); err == nil {
			t.Errorf("%d: a write is answered", status)
		}
	}
	if n := strangers.Load(); n != 0 {
		t.Errorf("%d requests went to another host", n)
	}
}

func TestAnAnswerHasABound(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}
	exactly := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "1")
			w.(http.Flusher).Flush() // no Content-Length
			fmt.Fprint(w, strings.Repeat("x", n))
		}
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		ok     bool
	}{
		{"just as much as is allowed", exactly(10_000), true},
		{"one byte more", exactly(10_001), false},
		{"endless", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Consul-Index", "1"); endless(w, r) }, false},
		{"a length that says so", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "1")
			w.Header().Set("Content-Length", "1000000000")
		}, false},
		{"an endless error", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); endless(w, r) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, 10_000, tt.answer)
			var got string
			_, err := c.Get(t.Context(), "/v1/x", Query{}, readAll(&got))
			if (err == nil) != tt.ok || len(got) > 10_000 {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			if len(fmt.Sprint(err)) > 2*maxText {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			resp, err := c.Do(t.Context(), http.MethodGet, "/v1/x", nil, nil)
			if err == nil {
				n, _ := io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if n > MaxError {
					t.Errorf("by Do %d bytes come", n)
				}
			}
		})
	}
}

func TestAnAnswerWithoutAnIndexIsNone(t *testing.T) {
	for _, index := range []string{"", "-1", "x", "99999999999999999999999"} {
		c, _ := serve(t, 0, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Consul-Index", index) })
		if m, err := c.Get(t.Context(), "/v1/x", Query{}, readAll(new(string))); err == nil {
			t.Errorf("index %q is taken as %d", index, m.Index)
		}
	}
}

func TestAFreshQueryUsesAConnectionOfItsOwn(t *testing.T) {
	var made atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Consul-Index", "1") }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c, err := New(Config{API: &api.Config{Address: s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(fresh bool) int32 {
		before := made.Load()
		if _, err := c.Get(t.Context(), "/v1/x", Query{Fresh: fresh}, readAll(new(string))); err != nil {
			t.Fatal(err)
		}
		return made.Load() - before
	}
	ask(false)
	if ask(false) != 0 || ask(true) != 1 || ask(true) != 1 || ask(false) != 0 {
		t.Error("a query is on the wrong connection")
	}
}

func TestWhoeverHearsConsulFirstWakesTheOthers(t *testing.T) {
	var up atomic.Bool
	c, _ := serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !up.Load():
			w.WriteHeader(500)
		case r.URL.Path == "/v1/status/leader":
			fmt.Fprint(w, `"127.0.0.1:8300"`)
		default:
			w.Header().Set("X-Consul-Index", "1")
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go c.Contact.Probe(ctx, c) //nolint:errcheck // ends with the test
	if _, err := c.Get(ctx, "/v1/x", Query{}, readAll(new(string))); err == nil {
		t.Fatal("a 500 is an answer")
	}
	const clients = 8
	back := make(chan error, clients)
	for range clients {
		go func() {
			long := failed(time.Hour) // by itself it would come back in minutes
			back <- long.Wait(ctx, c.Contact)
		}()
	}
	up.Store(true)
	for range clients {
		if err := <-back; err != nil {
			t.Fatalf("nobody woke it: %v", err)
		}
	}
}

// TestConnectionsAreBounded: of many requests as many are on their way as there
// may be connections, the others wait, and all are answered.
func TestConnectionsAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fresh bool
		conns int
		most  int64
	}{
		{"of those that are kept", false, 5, 5},
		{"of those for one request each", true, 24, freshConns},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var open, peak atomic.Int64
			arrived, answer := make(chan struct{}, 100), make(chan struct{})
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				arrived <- struct{}{}
				<-answer
				w.Header().Set("X-Consul-Index", "1")
			}))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					peak.Store(max(peak.Load(), open.Add(1))) // one goroutine accepts
				case http.StateClosed:
					open.Add(-1)
				}
			}
			s.Start()
			t.Cleanup(s.Close)
			c, err := New(Config{API: &api.Config{Address: s.URL}, Conns: tt.conns})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					if _, err := c.Get(t.Context(), "/v1/x", Query{Fresh: tt.fresh}, readAll(new(string))); err != nil {
						t.Error(err)
					}
				})
			}
			for range tt.most {
				<-arrived
			}
			close(answer)
			wg.Wait()
			// A connection that ends may be counted a moment after the next began.
			if got := peak.Load(); !tt.fresh && got != tt.most || got > 2*tt.most {
				t.Errorf("%d connections at once, want %d", got, tt.most)
			}
		})
	}
}
