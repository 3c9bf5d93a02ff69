//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/proxy/rabbitmq"
)

// startBus runs a bus to the broker at url and waits until it is connected.
func startBus(t *testing.T, cfg rabbitmq.Config) *rabbitmq.Bus {
	t.Helper()
	var output lockedBuffer
	cfg.Log = hclog.New(&hclog.LoggerOptions{Output: &output, Level: hclog.Debug})
	b, err := rabbitmq.New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Error("the bus does not end")
		}
		if t.Failed() {
			t.Logf("the bus said:\n%s", output.String())
		}
	})
	connected(t, b)
	return b
}

func connected(t testing.TB, b *rabbitmq.Bus) {
	t.Helper()
	eventually(t, 2*time.Minute, "the bus is connected", func() error {
		if s := b.Stats(); !s.Connected || s.Blocked {
			return fmt.Errorf("stats are %+v", s)
		}
		return nil
	})
}

// wantFailure checks a call's error and that it came in time.
func wantFailure(t *testing.T, err error, status int, reason string, retry bool) {
	t.Helper()
	e, ok := errors.AsType[*rabbitmq.Error](err)
	if !ok || e.Status != status || e.Reason != reason || e.RetryAfter != retry {
		t.Errorf("got %+v, want %d %s, retry %v", err, status, reason, retry)
	}
}

// wantAtOnce tells an answer that nothing was waited for from the shortest wait
// there is, of 5 s for the broker.
func wantAtOnce(t *testing.T, began time.Time) {
	t.Helper()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v, want at once", took)
	}
}

func post(exchange, path, body string) *rabbitmq.Request {
	return &rabbitmq.Request{Exchange: exchange, Method: "POST", Path: path, Body: []byte(body)}
}

// TestRabbitMQ holds the bus against a real broker (D11-D17). The tests that
// stop the broker come last.
func TestRabbitMQ(t *testing.T) {
	together(t)
	node := startRabbitMQ(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *rabbitNode)
	}{
		{"the seed's example, byte for byte", busSeedExample},
		{"POST with a body and 201 back", busPost},
		{"100 requests at once, answered in random order", busRandomOrder},
		{"missing and unroutable exchanges cost nobody an answer", busUnroutable},
		{"an exchange that is deleted costs only its own requests", busExchangeDeleted},
		{"a flood of names that do not exist", busFlood},
		{"a silent worker is 504 and the message expires", busSilentWorker},
		{"late and second answers are dropped", busLateReply},
		{"an audit queue gets copies", busAudit},
		{"a caller who leaves", busCallerLeaves},
		{"the example worker", busExampleWorker},
		{"a queue that takes no more", busNack},
		{"a user who may not use the default exchange", busRestrictedUser},
		{"the reply queue is deleted", busReplyQueueDeleted},
		{"no password in the log", busPassword},
		{"a link that is half dead", busHalfDead},
		{"memory alarm: 503 at once, heals after", busMemoryAlarm},
		{"the broker is stopped and started under load", busRestart},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, node) })
	}
}

func busSeedExample(t *testing.T, node *rabbitNode) {
	got := make(chan amqp.Delivery, 1)
	startWorker(t, busWorker{node.URL, "foo", "foo.worker", "bar.baz", func(d amqp.Delivery) *amqp.Publishing {
		got <- d
		return echo(d)
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	reply, err := b.Call(t.Context(), &rabbitmq.Request{Exchange: "foo", Method: "GET", Path: "/bar/baz", Query: "page=1&size=20"})
	must(t, err)
	if reply.Status != 200 || len(reply.Body) != 0 {
		t.Errorf("got answer %+v", reply)
	}
	d := <-got
	headers := amqp.Table{"X-WASP-METHOD": "GET", "X-WASP-QS": "page=1&size=20", "X-WASP-PATH": "/bar/baz"}
	if d.Exchange != "foo" || d.RoutingKey != "bar.baz" || len(d.Body) != 0 || !reflect.DeepEqual(d.Headers, headers) {
		t.Errorf("got exchange %q key %q headers %v body %q", d.Exchange, d.RoutingKey, d.Headers, d.Body)
	}
	left, err := strconv.Atoi(d.Expiration)
	if err != nil || left > 15_000 || left < 10_000 {
		t.Errorf("got expiration %q, want the rest of 15 s", d.Expiration)
	}
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if !uuid.MatchString(d.CorrelationId) || !strings.HasPrefix(d.ReplyTo, "amq.gen-") {
		t.Errorf("got correlation_id %q, reply_to %q", d.CorrelationId, d.ReplyTo)
	}
	if d.DeliveryMode != 1 || d.AppId != "lictor" || time.Since(d.Timestamp).Abs() > time.Minute {
		t.Errorf("got delivery_mode %d, app_id %q, timestamp %v", d.DeliveryMode, d.AppId, d.Timestamp)
	}
}

func busPost(t *testing.T, node *rabbitNode) {
	got := make(chan amqp.Delivery, 1)
	startWorker(t, busWorker{node.URL, "orders", "orders.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		got <- d
		return &amqp.Publishing{
			ContentType: "application/json", Body: []byte(`{"id":7}`),
			Headers: amqp.Table{"X-WASP-STATUS": int32(201), "Location": "/orders/7", "Connection": "close"},
		}
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	body := bytes.Repeat([]byte("order "), 100_000) // several frames
	reply, err := b.Call(t.Context(), &rabbitmq.Request{
		Exchange: "orders", Method: "POST", Path: "/new/", Body: body,
		Fields: []rabbitmq.Field{{Name: "content-type", Value: "text/plain"}, {Name: "X-WASP-METHOD", Value: "DELETE"}},
	})
	must(t, err)
	want := []rabbitmq.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "Location", Value: "/orders/7"}}
	if reply.Status != 201 || string(reply.Body) != `{"id":7}` || !reflect.DeepEqual(reply.Fields, want) {
		t.Errorf("got %d %v %q", reply.Status, reply.Fields, reply.Body)
	}
	d := <-got
	if d.RoutingKey != "new" || d.Headers["X-WASP-METHOD"] != "POST" || d.ContentType != "text/plain" || !bytes.Equal(d.Body, body) {
		t.Errorf("got key %q, headers %v, type %q, %d bytes", d.RoutingKey, d.Headers, d.ContentType, len(d.Body))
	}
	// An exchange without a path has the empty key.
	if _, err = b.Call(t.Context(), post("orders", "", "x")); err != nil {
		t.Fatal(err)
	}
	if d := <-got; d.RoutingKey != "" {
		t.Errorf("got key %q, want none", d.RoutingKey)
	}
}

func busRandomOrder(t *testing.T, node *rabbitNode) {
	const n = 100
	var held []amqp.Delivery
	startWorker(t, busWorker{node.URL, "shuffle", "shuffle.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		if held = append(held, d); len(held) == n {
			conn, err := amqp.Dial(node.URL)
			if err != nil {
				t.Error(err)
				return nil
			}
			defer conn.Close()
			ch, _ := conn.Channel()
			rand.Shuffle(n, func(i, j int) { held[i], held[j] = held[j], held[i] })
			for _, d := range held {
				_ = ch.Publish("", d.ReplyTo, false, false, amqp.Publishing{CorrelationId: d.CorrelationId, Body: d.Body})
			}
		}
		return nil
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			want := fmt.Sprint("answer ", i)
			reply, err := b.Call(t.Context(), post("shuffle", "/x", want))
			if err != nil || string(reply.Body) != want {
				t.Errorf("got %+v, %v, want %q", reply, err, want)
			}
		})
	}
	wg.Wait()
	if s := b.Stats(); s.InFlight > 1 || s.Replies != n { // a probe may be on its way
		t.Errorf("got stats %+v", s)
	}
}

func busUnroutable(t *testing.T, node *rabbitNode) {
	release := make(chan struct{})
	startWorker(t, busWorker{node.URL, "slow", "slow.worker", "work", func(d amqp.Delivery) *amqp.Publishing {
		<-release
		return echo(d)
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	answer := make(chan error, 1)
	go func() {
		_, err := b.Call(t.Context(), post("slow", "/work", "hello"))
		answer <- err
	}()
	eventually(t, soon, "the request is with the worker", func() error {
		if node.queueLength("slow.worker") != 0 || b.Stats().InFlight == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	for range 3 { // asked, then from the cache
		began := time.Now()
		_, err := b.Call(t.Context(), post("nosuch", "/x", ""))
		wantFailure(t, err, 503, "unknown_service", true)
		_, err = b.Call(t.Context(), post("slow", "/nobody", ""))
		wantFailure(t, err, 503, "no_healthy_instance", true)
		wantAtOnce(t, began)
	}
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("the request in flight lost its answer: %v", err)
	}
	// What was absent and is there now is found soon.
	startWorker(t, busWorker{node.URL, "nosuch", "nosuch.worker", "#", echo})
	eventually(t, soon, "the new exchange is found", func() error {
		_, err := b.Call(t.Context(), post("nosuch", "/x", ""))
		return err
	})
}

// queueLength asks the broker on a connection of its own; -1 = no such queue.
func (n *rabbitNode) queueLength(name string) int {
	conn, err := amqp.Dial(n.URL)
	if err != nil {
		return -1
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return -1
	}
	q, err := ch.QueueDeclarePassive(name, false, false, false, false, nil)
	if err != nil {
		return -1
	}
	return q.Messages
}

func busSilentWorker(t *testing.T, node *rabbitNode) {
	conn, err := amqp.Dial(node.URL)
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	must(t, ch.ExchangeDeclare("silent", "topic", false, true, false, false, nil))
	_, err = ch.QueueDeclare("silent.worker", false, true, false, false, nil)
	must(t, err)
	must(t, ch.QueueBind("silent.worker", "#", "silent", false, nil))
	b := startBus(t, rabbitmq.Config{URL: node.URL, Timeout: time.Second})
	began := time.Now()
	_, err = b.Call(t.Context(), post("silent", "/x", "body"))
	wantFailure(t, err, 504, "timeout", false)
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("it took %v, want about 1 s", took)
	}
	eventually(t, soon, "the message expires", func() error {
		if n := node.queueLength("silent.worker"); n != 0 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
}

func busLateReply(t *testing.T, node *rabbitNode) {
	over := make(chan struct{})
	startWorker(t, busWorker{node.URL, "late", "late.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		if string(d.Body) == "slow" {
			<-over
		}
		return echo(d)
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	r := post("late", "/x", "slow")
	r.Deadline = time.Now().Add(200 * time.Millisecond)
	_, err := b.Call(t.Context(), r)
	close(over)
	wantFailure(t, err, 504, "timeout", false)
	reply, err := b.Call(t.Context(), post("late", "/x", "quick"))
	if err != nil || string(reply.Body) != "quick" {
		t.Errorf("got %+v, %v, want the second request's own answer", reply, err)
	}
	if s := b.Stats(); s.Late != 1 {
		t.Errorf("got stats %+v, want one late answer", s)
	}
	// Two queues that both answer: the first wins, the second is dropped.
	startWorker(t, busWorker{node.URL, "late", "late.second", "#", echo})
	_, err = b.Call(t.Context(), post("late", "/x", "both"))
	must(t, err)
	eventually(t, soon, "the second answer is dropped", func() error {
		if s := b.Stats(); s.Late != 2 {
			return fmt.Errorf("stats are %+v", s)
		}
		return nil
	})
}

func busAudit(t *testing.T, node *rabbitNode) {
	copies := make(chan string, 10)
	startWorker(t, busWorker{node.URL, "shop", "shop.worker", "orders.#", echo})
	startWorker(t, busWorker{node.URL, "shop", "shop.audit", "#", func(d amqp.Delivery) *amqp.Publishing {
		copies <- d.RoutingKey + " " + string(d.Body)
		return nil
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	reply, err := b.Call(t.Context(), post("shop", "/orders/7", "buy"))
	must(t, err)
	if got := <-copies; string(reply.Body) != "buy" || got != "orders.7 buy" {
		t.Errorf("got answer %q and copy %q", reply.Body, got)
	}
}
