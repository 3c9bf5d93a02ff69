//go:build integration

package integration_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/proxy/rabbitmq"
)

// BenchmarkBus compares round trips over the bus with those of a bare client of
// the same library that does the same: a reply queue, correlation ids, confirms,
// mandatory, expiration. cpu-us/op is the processor time of this process, the
// worker's included, which is the same in both.
func BenchmarkBus(b *testing.B) {
	node := startRabbitMQ(b)
	startWorker(b, busWorker{node.URL, "bench", "bench.worker", "#", echo})
	bus, err := rabbitmq.New(rabbitmq.Config{URL: node.URL, Log: hclog.NewNullLogger()})
	must(b, err)
	go func() { _ = bus.Run(b.Context()) }()
	connected(b, bus)
	bare := newBareClient(b, node.URL)

	request := rabbitmq.Request{
		Exchange: "bench", Method: "POST", Path: "/orders/new", Query: "page=1", Body: make([]byte, 1024),
		Fields: []rabbitmq.Field{{Name: "Host", Value: "shop.example.org"}, {Name: "Accept", Value: "*/*"}, {Name: "Content-Type", Value: "text/plain"}, {Name: "X-Request-Id", Value: "0123456789"}},
	}
	b.Run("bare", func(b *testing.B) { roundTrips(b, func() error { return bare.call(&request) }) })
	b.Run("lictor", func(b *testing.B) {
		roundTrips(b, func() error {
			_, err := bus.Call(b.Context(), &request)
			return err
		})
	})
}

// roundTrips runs call from 64 goroutines.
func roundTrips(b *testing.B, call func() error) {
	b.ReportAllocs()
	before := cpuTime()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "trips/s")
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// bareClient is the plainest RPC client that does what D15 asks.
type bareClient struct {
	ch      *amqp.Channel
	replies string
	id      atomic.Int64
	mu      sync.Mutex
	waiting map[string]chan amqp.Delivery
}

func newBareClient(b *testing.B, url string) *bareClient {
	conn, err := amqp.Dial(url)
	must(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	in, err := conn.Channel()
	must(b, err)
	queue, err := in.QueueDeclare("", false, true, true, false, nil)
	must(b, err)
	deliveries, err := in.Consume(queue.Name, "", true, true, false, false, nil)
	must(b, err)
	c := &bareClient{replies: queue.Name, waiting: make(map[string]chan amqp.Delivery)}
	c.ch, err = conn.Channel()
	must(b, err)
	must(b, c.ch.Confirm(false))
	go func() {
		for d := range deliveries {
			c.mu.Lock()
			reply := c.waiting[d.CorrelationId]
			delete(c.waiting, d.CorrelationId)
			c.mu.Unlock()
			if reply != nil {
				reply <- d
			}
		}
	}()
	return c
}

func (c *bareClient) call(r *rabbitmq.Request) error {
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", c.id.Add(1))
	headers := amqp.Table{"X-WASP-METHOD": r.Method, "X-WASP-PATH": r.Path, "X-WASP-QS": r.Query}
	for _, f := range r.Fields {
		headers[f.Name] = f.Value
	}
	reply := make(chan amqp.Delivery, 1)
	c.mu.Lock()
	c.waiting[id] = reply
	c.mu.Unlock()
	confirm, err := c.ch.PublishWithDeferredConfirm(r.Exchange, "orders.new", true, false, amqp.Publishing{
		Headers: headers, ContentType: "text/plain", DeliveryMode: 1, CorrelationId: id, ReplyTo: c.replies,
		Expiration: "15000", Timestamp: time.Now(), AppId: "bare", Body: r.Body,
	})
	if err != nil {
		return err
	}
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	select {
	case <-reply:
	case <-limit.C:
		return fmt.Errorf("no answer, confirmed %v", confirm.Acked())
	}
	return nil
}
