package consul

import (
	"context"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
	"lictor/internal/crash"
	"lictor/internal/eventually"
	"lictor/resolver/consul/consultest"
)

// TestNoLieDoesHarm: whatever Consul answers, nothing that it does not say is
// dialled, memory and the number of queries stay within bounds, nothing panics,
// and when it tells the truth again that is believed.
func TestNoLieDoesHarm(t *testing.T) {
	const most = 256 << 20 // bytes of heap in use; an answer of up to 64 MiB is held whole
	before := crash.Counts()["consul answer"]
	var parts sync.WaitGroup
	var large []consultest.Lie // told one after the other, for the sake of the measure
	for _, lie := range consultest.Lies() {
		if strings.Contains(lie.Name, "endless") {
			large = append(large, lie)
		} else {
			parts.Go(func() { hear(t, lie) })
		}
	}
	for _, lie := range large {
		hear(t, lie)
		var memory runtime.MemStats
		if runtime.ReadMemStats(&memory); memory.HeapInuse > most {
			t.Errorf("%s: %d MiB of heap are in use", lie.Name, memory.HeapInuse>>20)
		}
	}
	parts.Wait()
	if n := crash.Counts()["consul answer"] - before; n != 0 {
		t.Errorf("%d answers raised a panic", n)
	}
}

// hear has a resolver hear the truth, a lie, and the truth again.
func hear(t *testing.T, lie consultest.Lie) {
	liar := consultest.New()
	server := httptest.NewServer(liar)
	defer server.Close()
	r, stop := runAgainst(t, server.URL)
	defer stop()
	reach := func(what string, ok func() bool) {
		t.Helper()
		eventually.True(t, lie.Name+": "+what, ok)
	}
	serves := func() bool {
		r.Want(consultest.Service)
		s := r.Catalog().Lookup(consultest.Service)
		return s != nil && s.Loaded && s.Usable()
	}
	reach("the service is known", serves)
	began := time.Now()
	liar.Tell(lie.Answer)
	reach("the lie is told", func() bool { return liar.Told() >= 2 })
	for s := range r.Catalog().All() {
		for _, i := range s.Instances {
			if i.Address != consultest.Address {
				t.Errorf("%s: %s is said to be at %s", lie.Name, s.Name, i.Address)
			}
		}
	}
	if told, rate := liar.Told(), 100*(time.Since(began).Seconds()+1); float64(told) > rate {
		t.Errorf("%s: %d queries in %v", lie.Name, told, time.Since(began))
	}
	liar.Tell(nil)
	reach("the truth is believed", serves)
	if testing.Verbose() {
		t.Logf("%6.1f s: %s", time.Since(began).Seconds(), lie.Name)
	}
}

// runAgainst runs a resolver for the Consul at url until stop is called.
func runAgainst(t *testing.T, url string) (r *Resolver, stop func()) {
	c, err := client.New(client.Config{API: &api.Config{Address: url}})
	if err == nil {
		r, err = New(Config{Client: c, Log: hclog.NewNullLogger(), PassingOnly: true, EmptyHold: 30 * time.Second})
	}
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- r.Run(ctx) }()
	go func() { _ = c.Contact.Probe(ctx, c); done <- nil }()
	return r, func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
}
