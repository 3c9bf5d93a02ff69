//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/proxy/rabbitmq"
)

// TestRabbitMQBounds holds what one client can do to others over a real broker.
func TestRabbitMQBounds(t *testing.T) {
	node := startRabbitMQ(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *rabbitNode)
	}{
		{"however many wait for one worker, the link and the others stay", busFullTable},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, node) })
	}
}

// silentQueue declares an exchange whose messages nobody reads.
func silentQueue(t *testing.T, node *rabbitNode, exchange string) {
	t.Helper()
	startWorker(t, busWorker{node.URL, exchange, exchange + ".worker", "#", func(amqp.Delivery) *amqp.Publishing { return nil }})
}

func busFullTable(t *testing.T, node *rabbitNode) {
	silentQueue(t, node, "stuck")
	startWorker(t, busWorker{node.URL, "works", "works.worker", "#", echo})
	b := startBus(t, rabbitmq.Config{URL: node.URL, MaxInFlight: 100})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	silentQueue(t, node, "stuck2") // each takes half of the places
	for i := range 240 {
		wg.Go(func() {
			_, _ = b.Call(ctx, post([]string{"stuck", "stuck2"}[i%2], "/x", ""))
		})
	}
	eventually(t, 10*time.Second, "the table is full", func() error {
		if s := b.Stats(); s.InFlight != 100 {
			return fmt.Errorf("stats are %+v", s)
		}
		return nil
	})
	_, err := b.Call(t.Context(), post("works", "/x", ""))
	wantFailure(t, err, 503, "overloaded", true)
	time.Sleep(3 * time.Second) // several probes
	if s := b.Stats(); !s.Connected || s.Connects != 1 || s.InFlight != 100 || s.Lost != 0 {
		t.Errorf("a full table cost the link: %+v", s)
	}
	cancel()
	wg.Wait()
	ctx2, cancel2 := context.WithCancel(t.Context())
	defer cancel2()
	for range 120 {
		wg.Go(func() { _, _ = b.Call(ctx2, post("stuck", "/x", "")) })
	}
	eventually(t, 10*time.Second, "one service has its half", func() error {
		if s := b.Stats(); s.InFlight != 50 {
			return errors.New("not yet")
		}
		return nil
	})
	for range 20 {
		if _, err := b.Call(t.Context(), post("works", "/x", "")); err != nil {
			t.Errorf("another service: %v", err)
		}
	}
	cancel2()
}
