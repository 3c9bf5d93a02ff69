//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/internal/consul"
)

// TestAServerIsNotBelievedBeforeItHasReadItsLog restarts a server with a long log
// while many ask it. As soon as it leads it answers, with what it has read so far:
// an empty KV at first. Who knows an index of before is told no less.
func TestAServerIsNotBelievedBeforeItHasReadItsLog(t *testing.T) {
	together(t)
	agent := startConsul(t, persistent(t))
	fillLog(t, agent)
	client, err := consul.New(consul.Config{API: &api.Config{Address: agent.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	look := func(ctx context.Context, known uint64) (uint64, error) {
		m, err := client.Get(ctx, "/v1/kv/lictor/policy/", consul.Query{
			Known: known, MayBeEmpty: true, Form: url.Values{"keys": {""}, "separator": {"/"}},
		}, func(body io.Reader) error { _, err := io.Copy(io.Discard, body); return err })
		return m.Index, err
	}
	known, err := look(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	agent.Kill(t)
	ctx, cancel := context.WithCancel(t.Context())
	var askers sync.WaitGroup
	var told, before, less atomic.Int64
	for i := range 80 {
		askers.Go(func() {
			mine := known
			if i%2 == 0 {
				mine = 0 // believes what it is told
			}
			for ctx.Err() == nil {
				switch index, err := look(ctx, mine); {
				case err != nil:
				case mine == 0 && index < known:
					before.Add(1)
				case mine > 0 && index < known:
					less.Add(1)
				case mine > 0:
					told.Add(1)
				}
			}
		})
	}
	agent.Start(t)
	eventually(t, time.Minute, "the server has read its log", func() error {
		if told.Load() == 0 {
			return fmt.Errorf("%d answers of before", before.Load())
		}
		return nil
	})
	cancel()
	askers.Wait()
	t.Logf("%d answers were of before index %d", before.Load(), known)
	if less.Load() > 0 {
		t.Errorf("%d answers of before index %d were believed", less.Load(), known)
	}
}

// fillLog writes what a server has to read again when it starts. Several write at
// once, so that the server keeps many writes with one wait for its disk.
func fillLog(t *testing.T, agent *consulAgent) {
	t.Helper()
	var writers sync.WaitGroup
	for w := range 25 {
		writers.Go(func() {
			for i := range 10 {
				var ops api.TxnOps
				for k := range 64 {
					ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: fmt.Sprintf("lictor/policy/blacklist/%d-%d-%d", w, i, k), Value: []byte("x")}})
				}
				if ok, _, _, err := agent.Client.Txn().Txn(ops, nil); !ok || err != nil {
					t.Errorf("txn: %v %v", ok, err)
				}
			}
		})
	}
	writers.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
