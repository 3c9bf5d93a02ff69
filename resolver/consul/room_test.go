package consul

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"lictor/app/listener/certtest"
	client "lictor/internal/consul"
)

// overTLS answers as the fake does, to a client that speaks to it by TLS; which
// protocols are spoken may change.
type overTLS struct {
	*httptest.Server
	spoken atomic.Pointer[[]string]
	ca     string
}

func serveOverTLS(t *testing.T, fake *fakeConsul, protocols ...string) *overTLS {
	t.Helper()
	ca, dir := certtest.NewCA(t), t.TempDir()
	s := &overTLS{ca: ca.WriteCA(t, dir)}
	s.spoken.Store(&protocols)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		resp, err := fake.RoundTrip(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		for key, values := range resp.Header {
			w.Header()[key] = values
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body) // the client may have gone
	}))
	own := ca.Issue(t, "127.0.0.1")
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, NextProtos: *s.spoken.Load()}, nil
	}
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// startOver runs a Resolver of so many connections, two of them for streams, against s.
func startOver(t *testing.T, s *overTLS) *Resolver {
	t.Helper()
	c, err := client.New(client.Config{API: &api.Config{Address: s.URL, TLSConfig: api.TLSConfig{CAFile: s.ca}}, Conns: 16, Streams: 2})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Client: c, PassingOnly: true, EmptyHold: 30 * time.Second, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// TestEveryServiceHasAWatchWhileConsulSpeaksHTTP2: what stands before the agent
// changes, and services move between their own watches and the sweep, none of them lost.
func TestEveryServiceHasAWatchWhileConsulSpeaksHTTP2(t *testing.T) {
	const services = 60
	fake := newFake()
	fake.changed = make(chan struct{})
	for i := range services {
		fake.set(fmt.Sprint("s", i), instance("a", i+1, httpOK))
	}
	s := serveOverTLS(t, fake, "http/1.1")
	r := startOver(t, s)
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not in time: %s; %+v", what, r.Status())
			}
		}
	}
	own := func() (watched, swept int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.watched - r.leaving, len(r.sweeper.members)
	}
	seen := func(when string) {
		t.Helper()
		for i := 0; i < services; i += 17 {
			name := fmt.Sprint("s", i)
			fake.check(name, httpBad)
			eventually("a check that fails of "+name+", "+when, func() bool {
				s := r.Catalog().Lookup(name)
				return s.Loaded && !s.Usable()
			})
			fake.check(name, httpOK)
		}
	}
	speak := func(protocols ...string) { // after an outage
		fake.edit(func() { fake.away = true })
		s.CloseClientConnections()
		eventually("it is away", func() bool { return r.Status().Error != "" })
		s.spoken.Store(&protocols)
		fake.edit(func() { fake.away = false })
	}
	eventually("the names are known", func() bool { return r.Catalog().Len() == services })
	for i := range services {
		<-r.Want(fmt.Sprint("s", i))
	}
	if watched, swept := own(); watched != r.cfg.Watches || swept != services-watched {
		t.Fatalf("%d are watched and %d swept by HTTP/1.1", watched, swept)
	}
	seen("by HTTP/1.1")

	speak("h2", "http/1.1")
	eventually("each has a watch", func() bool { watched, swept := own(); return watched == services && swept == 0 })
	seen("by HTTP/2")

	speak("http/1.1")
	eventually("the rest is swept again", func() bool {
		watched, swept := own()
		return watched == r.cfg.Watches && swept == services-watched
	})
	seen("by HTTP/1.1 again")
}

// TestVeryManyWatchesWaitLonger: all together come back as often as a thousand do.
func TestVeryManyWatchesWaitLonger(t *testing.T) {
	tests := []struct {
		watched int
		want    time.Duration
	}{
		{1, time.Minute}, {77, time.Minute}, {1000, time.Minute}, {5000, 5 * time.Minute}, {maxWatches, 10 * time.Minute},
	}
	for _, tt := range tests {
		r := &Resolver{watched: tt.watched}
		if got := r.patienceLocked(); got != tt.want {
			t.Errorf("one of %d waits for %v, want %v", tt.watched, got, tt.want)
		}
	}
}
