//go:build integration

package integration_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/integration/broker"
)

// rabbitNode is a private RabbitMQ that lives until its test ends.
type rabbitNode struct {
	*broker.Node
	output lockedBuffer
}

// startRabbitMQ runs a node of its own. RabbitMQ comes from the distribution's
// package rabbitmq-server; without it the test fails, it does not skip.
func startRabbitMQ(t testing.TB) *rabbitNode {
	t.Helper()
	n := newRabbitMQ(t)
	n.start(t)
	return n
}

// newRabbitMQ prepares a node that does not run yet.
func newRabbitMQ(t testing.TB) *rabbitNode {
	t.Helper()
	n := new(rabbitNode)
	var err error
	n.Node, err = broker.New(t.TempDir(), &n.output)
	must(t, err)
	t.Cleanup(func() {
		n.Close()
		if t.Failed() {
			t.Logf("rabbitmq said:\n%s", n.output.String())
		}
	})
	return n
}

// start runs the node and waits until it takes connections.
func (n *rabbitNode) start(t testing.TB) {
	t.Helper()
	must(t, n.Start(t.Context()))
}

// ctl runs rabbitmqctl on the node and returns what it printed.
func (n *rabbitNode) ctl(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := n.Ctl(ctx, args...)
	must(t, err)
	return out
}

// lines returns how many lines of out are not blank.
func lines(out string) int {
	return len(strings.FieldsFunc(out, func(r rune) bool { return r == '\n' }))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// busWorker answers the messages of one queue until its test ends; it comes
// back by itself after the broker was away.
type busWorker struct {
	url, exchange, queue, key string
	handle                    func(d amqp.Delivery) *amqp.Publishing // nil = no answer
}

// startWorker runs a worker and waits until its queue is bound. The queue goes
// with the worker.
func startWorker(t testing.TB, w busWorker) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = w.serve(ctx, func() { once.Do(func() { close(ready) }) })
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	select {
	case <-ready:
	case <-time.After(time.Minute):
		t.Fatalf("the worker of exchange %q does not get ready", w.exchange)
	}
}

func (w busWorker) serve(ctx context.Context, ready func()) error {
	conn, err := amqp.DialConfig(w.url, amqp.Config{Heartbeat: 10 * time.Second})
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) })()
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(w.exchange, "topic", false, false, false, false, nil); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(w.queue, false, true, false, false, nil); err != nil {
		return err
	}
	if err := ch.QueueBind(w.queue, w.key, w.exchange, false, nil); err != nil {
		return err
	}
	deliveries, err := ch.Consume(w.queue, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	ready()
	for d := range deliveries {
		if reply := w.handle(d); reply != nil {
			reply.CorrelationId = d.CorrelationId
			if err := ch.Publish("", d.ReplyTo, false, false, *reply); err != nil {
				return err
			}
		}
	}
	return nil
}

// echo answers with the body it got.
func echo(d amqp.Delivery) *amqp.Publishing { return &amqp.Publishing{Body: d.Body} }

// freezer is a TCP relay that can stop moving bytes without closing anything,
// as a firewall that forgot the connection would.
type freezer struct {
	Addr string
	mu   sync.Mutex
	ice  chan struct{} // closed = thawed
}

func startFreezer(t testing.TB, target string) *freezer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f := &freezer{Addr: l.Addr().String(), ice: make(chan struct{})}
	close(f.ice)
	var wg sync.WaitGroup
	var conns sync.Map
	relay := func(to, from net.Conn) {
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 16<<10)
		for {
			k, err := from.Read(buf)
			<-f.state()
			if k > 0 {
				if _, err := to.Write(buf[:k]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			conns.Store(in, true)
			conns.Store(out, true)
			wg.Go(func() { relay(out, in) })
			wg.Go(func() { relay(in, out) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.thaw()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return f
}

func (f *freezer) state() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ice
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ice = make(chan struct{})
}

func (f *freezer) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.ice:
	default:
		close(f.ice)
	}
}
