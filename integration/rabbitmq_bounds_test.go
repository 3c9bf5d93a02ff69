//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/proxy/rabbitmq"
)

// TestRabbitMQBounds holds what one client can do to others over a real broker.
func TestRabbitMQBounds(t *testing.T) {
	together(t)
	node := startRabbitMQ(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *rabbitNode)
	}{
		{"however many wait for one worker, the link and the others stay", busFullTable},
		{"a message that is too large costs nobody else", busTooLarge},
		{"a routing key that is not allowed costs nobody else", busTopicRefused},
		{"an internal exchange, and one the user may not write to", busNotWritable},
		{"channel_max: services take turns", busFewChannels},
		{"max-channels of the user: one end of the connection, not again and again", busUserChannels},
		{"a reply past max_reply", busReplyTooLarge},
		{"another URL: nothing in flight is lost", busOtherURL},
		{"a refused reply queue is told once", busReplyQueueRefused},
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
	eventually(t, soon, "the table is full", func() error {
		if s := b.Stats(); s.InFlight != 100 {
			return fmt.Errorf("stats are %+v", s)
		}
		return nil
	})
	_, err := b.Call(t.Context(), post("works", "/x", ""))
	wantFailure(t, err, 503, "overloaded", true)
	holds(t, 3*time.Second, "a full table does not cost the link its probes", func() error {
		if s := b.Stats(); !s.Connected || s.Connects != 1 || s.InFlight != 100 || s.Lost != 0 {
			return fmt.Errorf("stats are %+v", s)
		}
		return nil
	})
	cancel()
	wg.Wait()
	ctx2, cancel2 := context.WithCancel(t.Context())
	defer cancel2()
	for range 120 {
		wg.Go(func() { _, _ = b.Call(ctx2, post("stuck", "/x", "")) })
	}
	eventually(t, soon, "one service has its half", func() error {
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

// bystanders calls an exchange all the time until stop, which returns how many
// were served, and fails the test if one was not.
func bystanders(t *testing.T, b *rabbitmq.Bus, requests ...*rabbitmq.Request) (stop func() int64) {
	t.Helper()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var good, bad atomic.Int64
	for _, r := range requests {
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-quit:
						return
					default:
					}
					if _, err := b.Call(t.Context(), r); err != nil {
						if bad.Add(1) <= 5 {
							t.Errorf("a bystander on %s%s: %v", r.Exchange, r.Path, err)
						}
					} else {
						good.Add(1)
					}
				}
			})
		}
	}
	return func() int64 {
		eventually(t, 30*time.Second, "bystanders were there all along", func() error {
			if n := good.Load(); n < 200 && bad.Load() == 0 {
				return fmt.Errorf("%d were served", n)
			}
			return nil
		})
		close(quit)
		wg.Wait()
		if bad.Load() > 0 {
			t.Errorf("of %d requests %d were lost", good.Load()+bad.Load(), bad.Load())
		}
		return good.Load()
	}
}

func busTooLarge(t *testing.T, node *rabbitNode) {
	node.ctl(t, "eval", "application:set_env(rabbit, max_message_size, 100000).")
	defer node.ctl(t, "eval", "application:set_env(rabbit, max_message_size, 134217728).")
	startWorker(t, busWorker{node.URL, "sized", "sized.worker", "#", echo})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	stop := bystanders(t, b, post("sized", "/a", "small"), post("sized", "/b", strings.Repeat("x", 50_000)))
	large, larger := strings.Repeat("x", 100_001), strings.Repeat("x", 3<<20)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range 50 {
				_, err := b.Call(t.Context(), post("sized", "/big", []string{large, larger}[(i+k)%2]))
				wantFailure(t, err, 413, "body_too_large", false)
			}
		})
	}
	wg.Wait()
	if n := stop(); n < 100 {
		t.Errorf("%d bystanders: the test did not test", n)
	}
	if s := b.Stats(); s.Connects != 1 || s.Closed == 0 || s.Closed > 10 {
		t.Errorf("got stats %+v, want few closed channels", s)
	}
}

func busTopicRefused(t *testing.T, node *rabbitNode) {
	startWorker(t, busWorker{node.URL, "topics", "topics.worker", "#", echo})
	node.ctl(t, "set_topic_permissions", "guest", "topics", "^[a-c].*", ".*")
	defer node.ctl(t, "clear_topic_permissions", "guest")
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	stop := bystanders(t, b, post("topics", "/a", "x"), post("topics", "/b/c", "y"))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range 50 { // one key again and again, keys that were never seen, and odd ones
				for _, path := range []string{"/zzz", fmt.Sprintf("/x%d-%d", i, k), "/%FF%27%00", "/" + strings.Repeat("y", 250)} {
					_, err := b.Call(t.Context(), post("topics", path, ""))
					wantFailure(t, err, 503, "unreachable", false)
				}
				// A key that was never seen and is allowed goes the same way.
				if _, err := b.Call(t.Context(), post("topics", fmt.Sprintf("/c%d-%d", i, k), "")); err != nil {
					t.Errorf("a new key: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := stop(); n < 100 {
		t.Errorf("%d bystanders: the test did not test", n)
	}
	if s := b.Stats(); s.Connects != 1 {
		t.Errorf("got stats %+v", s)
	}
}

func busNotWritable(t *testing.T, node *rabbitNode) {
	conn, err := amqp.Dial(node.URL)
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	const durable, autoDelete, internal, noWait = false, false, true, false
	must(t, ch.ExchangeDeclare("inside", "topic", durable, autoDelete, internal, noWait, nil))
	startWorker(t, busWorker{node.URL, "besides", "besides.worker", "#", echo})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	stop := bystanders(t, b, post("besides", "/a", "x"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				_, err := b.Call(t.Context(), post("inside", "/x", ""))
				wantFailure(t, err, 503, "unreachable", false)
				if e, ok := errors.AsType[*rabbitmq.Error](err); ok && e.Message == "" {
					t.Errorf("the client is told nothing of it: %+v", e)
				}
			}
		})
	}
	wg.Wait()
	stop()
	if s := b.Stats(); s.Closed > 5 {
		t.Errorf("got stats %+v, want few closed channels", s)
	}
}

func busFewChannels(t *testing.T, node *rabbitNode) {
	var requests []*rabbitmq.Request
	for i := range 8 {
		name := fmt.Sprint("turn", i)
		startWorker(t, busWorker{node.URL, name, name + ".worker", "#", echo})
		requests = append(requests, post(name, "/x", name))
	}
	b := startBus(t, rabbitmq.Config{URL: node.URL + "?channel_max=5"})
	for range 3 {
		for _, r := range requests {
			if reply, err := b.Call(t.Context(), r); err != nil || string(reply.Body) != string(r.Body) {
				t.Errorf("%s: %v", r.Exchange, err)
			}
		}
	}
	stop := bystanders(t, b, requests...)
	for range 20 {
		_, err := b.Call(t.Context(), post("never-there", "/x", ""))
		wantFailure(t, err, 503, "unknown_service", true)
	}
	if n := stop(); n < 100 {
		t.Errorf("%d were served: the test did not test", n)
	}
	if s := b.Stats(); s.Connects != 1 || !s.Scarce {
		t.Errorf("got stats %+v, want the lack of channels told", s)
	}
}

func busUserChannels(t *testing.T, node *rabbitNode) {
	node.ctl(t, "add_user", "few", "secret")
	node.ctl(t, "set_permissions", "few", ".*", ".*", ".*")
	node.ctl(t, "set_user_limits", "few", `{"max-channels": 6}`)
	var requests []*rabbitmq.Request
	for i := range 8 {
		name := fmt.Sprint("limited", i)
		startWorker(t, busWorker{node.URL, name, name + ".worker", "#", echo})
		requests = append(requests, post(name, "/x", name))
	}
	b := startBus(t, rabbitmq.Config{URL: strings.Replace(node.URL, "guest:guest", "few:secret", 1)})
	eventually(t, 30*time.Second, "the limit is learned, and all are served", func() error {
		for _, r := range requests {
			if _, err := b.Call(t.Context(), r); err != nil {
				return err
			}
		}
		return nil
	})
	connects := b.Stats().Connects
	stop := bystanders(t, b, requests[:4]...) // two at a time have a channel: none waits for long
	for range 20 {
		_, _ = b.Call(t.Context(), post("never-there", "/x", ""))
	}
	if n := stop(); n < 100 {
		t.Errorf("%d were served: the test did not test", n)
	}
	if s := b.Stats(); s.Connects != connects || connects > 3 || !s.Scarce {
		t.Errorf("got stats %+v, %d connections before", s, connects)
	}
}

// reconfigure gives a bus another configuration, as a reload does.
func reconfigure(t *testing.T, b *rabbitmq.Bus, cfg rabbitmq.Config) {
	t.Helper()
	put, err := b.Prepare(cfg)
	must(t, err)
	put()
}

func busReplyTooLarge(t *testing.T, node *rabbitNode) {
	startWorker(t, busWorker{node.URL, "verbose", "verbose.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		n, _ := strconv.Atoi(string(d.Body))
		return &amqp.Publishing{Body: make([]byte, n)}
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL, MaxReply: 1000})
	_, err := b.Call(t.Context(), post("verbose", "/x", "1001"))
	wantFailure(t, err, 502, "bad_gateway", false)
	reply, err := b.Call(t.Context(), post("verbose", "/x", "1000"))
	if err != nil || len(reply.Body) != 1000 {
		t.Errorf("just the limit: %v", err)
	}
}

func busOtherURL(t *testing.T, node *rabbitNode) {
	node.ctl(t, "add_user", "rotated", "first")
	node.ctl(t, "set_permissions", "rotated", ".*", ".*", ".*")
	as := func(user string) rabbitmq.Config {
		// The broker's tools may take long to start.
		return rabbitmq.Config{URL: strings.Replace(node.URL, "guest:guest", user, 1), Timeout: 5 * time.Minute}
	}
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	defer let()
	arrived := make(chan struct{}, 1)
	startWorker(t, busWorker{node.URL, "sleeps", "sleeps.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		arrived <- struct{}{}
		<-release
		return echo(d)
	}})
	startWorker(t, busWorker{node.URL, "awake", "awake.worker", "#", echo})
	b := startBus(t, as("rotated:first"))
	answer := make(chan error, 1)
	go func() {
		_, err := b.Call(t.Context(), post("sleeps", "/x", ""))
		answer <- err
	}()
	<-arrived
	stop := bystanders(t, b, post("awake", "/x", ""))
	reconfigure(t, b, as("rotated:wrong")) // cannot connect: the old one goes on
	node.ctl(t, "change_password", "rotated", "second")
	reconfigure(t, b, as("rotated:second"))
	eventually(t, soon, "the new connection is used", func() error {
		if b.Stats().Connects < 2 {
			return fmt.Errorf("stats are %+v", b.Stats())
		}
		return nil
	})
	holds(t, 2500*time.Millisecond, "the old one waits for its answer", func() error { // it looks each second
		if len(answer) > 0 {
			return errors.New("there is one")
		}
		return nil
	})
	let()
	if err := <-answer; err != nil {
		t.Errorf("a request in flight was lost: %v", err)
	}
	stop()
	eventually(t, soon, "the old connection is closed", func() error {
		if out := node.ctl(t, "list_connections", "--no-table-headers", "user"); strings.Count(out, "rotated") != 1 {
			return errors.New(out)
		}
		return nil
	})
}

func busReplyQueueRefused(t *testing.T, node *rabbitNode) {
	node.ctl(t, "add_user", "noqueue", "secret")
	node.ctl(t, "set_permissions", "noqueue", "^nothing$", ".*", ".*")
	var output lockedBuffer
	b, err := rabbitmq.New(rabbitmq.Config{
		URL: strings.Replace(node.URL, "guest:guest", "noqueue:secret", 1),
		Log: hclog.New(&hclog.LoggerOptions{Output: &output, Level: hclog.Debug}),
	})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.Run(ctx) })
	eventually(t, soon, "it was tried several times", func() error {
		if n := strings.Count(output.String(), "still no connection to the bus"); n < 2 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	cancel()
	wg.Wait()
	if n := strings.Count(output.String(), "[WARN]"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, output.String())
	}
}
