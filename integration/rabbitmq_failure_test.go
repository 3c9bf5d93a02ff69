//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/proxy/rabbitmq"
)

func busCallerLeaves(t *testing.T, node *rabbitNode) {
	startWorker(t, busWorker{node.URL, "mute", "mute.worker", "#", func(amqp.Delivery) *amqp.Publishing { return nil }})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	began := time.Now()
	if _, err := b.Call(ctx, post("mute", "/x", "")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	wantAtOnce(t, began)
}

func busExampleWorker(t *testing.T, node *rabbitNode) {
	bin := filepath.Join(t.TempDir(), "worker")
	if out, err := exec.Command("go", "build", "-o", bin, "./worker").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	worker := exec.Command(bin, "-url", node.URL, "-exchange", "copied")
	must(t, worker.Start())
	defer func() {
		_ = worker.Process.Signal(syscall.SIGTERM)
		_ = worker.Wait()
	}()
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	eventually(t, soon, "the worker answers", func() error {
		reply, err := b.Call(t.Context(), post("copied", "/new", "tea"))
		if err != nil {
			return err
		}
		const want = `{"body":"tea","exchange":"copied","key":"new","method":"POST","path":"/new","query":""}` + "\n"
		if reply.Status != 201 || string(reply.Body) != want {
			t.Errorf("got %d %q", reply.Status, reply.Body)
		}
		return nil
	})
	// Its queue and exchange are durable and would be in the way of the counts below.
	node.ctl(t, "delete_queue", "copied.worker")
}

func busNack(t *testing.T, node *rabbitNode) {
	conn, err := amqp.Dial(node.URL)
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	must(t, ch.ExchangeDeclare("full", "topic", false, true, false, false, nil))
	_, err = ch.QueueDeclare("full.worker", false, true, false, false, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	must(t, err)
	must(t, ch.QueueBind("full.worker", "#", "full", false, nil))
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	go func() { _, _ = b.Call(t.Context(), post("full", "/x", "")) }()
	eventually(t, soon, "the queue is full", func() error {
		if n := node.queueLength("full.worker"); n != 1 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	began := time.Now()
	_, err = b.Call(t.Context(), post("full", "/x", ""))
	wantFailure(t, err, 503, "unreachable", true)
	wantAtOnce(t, began)
}

func busRestrictedUser(t *testing.T, node *rabbitNode) {
	node.ctl(t, "add_user", "narrow", "secret")
	node.ctl(t, "set_permissions", "narrow", "^amq.gen", "^(amq.gen.*|narrow)$", ".*")
	startWorker(t, busWorker{node.URL, "narrow", "narrow.worker", "#", echo})
	startWorker(t, busWorker{node.URL, "closed", "closed.worker", "#", echo})
	b := startBus(t, rabbitmq.Config{URL: strings.Replace(node.URL, "guest:guest", "narrow:secret", 1)})
	_, err := b.Call(t.Context(), post("narrow", "/x", ""))
	must(t, err)
	_, err = b.Call(t.Context(), post("closed", "/x", ""))
	wantFailure(t, err, 503, "unreachable", true)
	_, err = b.Call(t.Context(), post("narrow", "/x", ""))
	must(t, err)
}

func busReplyQueueDeleted(t *testing.T, node *rabbitNode) {
	got := make(chan amqp.Delivery, 1)
	startWorker(t, busWorker{node.URL, "once", "once.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		got <- d
		return nil
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL, Timeout: 5 * time.Minute}) // the broker's tools may take long to start
	answer := make(chan error, 1)
	go func() {
		_, err := b.Call(t.Context(), post("once", "/x", ""))
		answer <- err
	}()
	d := <-got
	node.ctl(t, "eval", fmt.Sprintf(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)), rabbit_amqqueue:delete(Q, false, false, <<"test">>).`, d.ReplyTo))
	began := time.Now()
	wantFailure(t, <-answer, 502, "reply_lost", false)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	connected(t, b)
}

func busPassword(t *testing.T, node *rabbitNode) {
	var output lockedBuffer
	b, err := rabbitmq.New(rabbitmq.Config{
		URL: strings.Replace(node.URL, "guest:guest", "guest:geheim", 1),
		Log: hclog.New(&hclog.LoggerOptions{Output: &output, Level: hclog.Trace}),
	})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // the broker takes 3 s to say no
	defer cancel()
	_ = b.Run(ctx)
	_, err = b.Call(t.Context(), post("x", "/x", ""))
	wantFailure(t, err, 503, "unreachable", true)
	if text := output.String() + err.Error() + b.Stats().Error; strings.Contains(text, "geheim") || !strings.Contains(text, node.Addr) {
		t.Errorf("got %q", text)
	}
}

func busHalfDead(t *testing.T, node *rabbitNode) {
	startWorker(t, busWorker{node.URL, "far", "far.worker", "#", echo})
	f := startFreezer(t, node.Addr)
	b := startBus(t, rabbitmq.Config{URL: "amqp://guest:guest@" + f.Addr + "/", Timeout: time.Second})
	_, err := b.Call(t.Context(), post("far", "/x", ""))
	must(t, err)
	f.freeze()
	big := strings.Repeat("x", 4<<20) // more than the sockets hold, so that a write blocks
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			began := time.Now()
			_, err := b.Call(t.Context(), post("far", "/x", big))
			if e, ok := errors.AsType[*rabbitmq.Error](err); !ok || e.Status < 502 {
				t.Errorf("got %v, want 502, 503 or 504", err)
			}
			wantAtOnce(t, began)
		})
	}
	wg.Wait()
	eventually(t, soon, "the link is given up", func() error {
		if b.Stats().Connected {
			return errors.New("it is not")
		}
		return nil
	})
	began := time.Now()
	_, err = b.Call(t.Context(), post("far", "/x", ""))
	wantFailure(t, err, 503, "unreachable", true)
	wantAtOnce(t, began)
	f.thaw()
	connected(t, b)
	_, err = b.Call(t.Context(), post("far", "/x", ""))
	must(t, err)
}

// busMemoryAlarm: what the broker has taken when its memory runs out may be
// answered once it has room again; what comes meanwhile is refused at once.
func busMemoryAlarm(t *testing.T, node *rabbitNode) {
	arrived, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	startWorker(t, busWorker{node.URL, "alarm", "alarm.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		if string(d.Body) == "slow" {
			close(arrived)
			<-held
		}
		return echo(d)
	}})
	b := startBus(t, rabbitmq.Config{URL: node.URL, Timeout: 5 * time.Minute}) // the broker's tools may take long to start
	_, err := b.Call(t.Context(), post("alarm", "/x", ""))
	must(t, err)
	answer := make(chan error, 1)
	go func() {
		_, err := b.Call(t.Context(), post("alarm", "/x", "slow"))
		answer <- err
	}()
	<-arrived
	node.ctl(t, "set_vm_memory_high_watermark", "0.0000001")
	// The broker says so with the next message that it reads, a probe's at the
	// latest. One that comes before is taken, and answered when the alarm is over.
	eventually(t, soon, "the broker says that it is blocked", func() error {
		if !b.Stats().Blocked {
			return errors.New("not yet")
		}
		return nil
	})
	for range 5 {
		began := time.Now()
		_, err = b.Call(t.Context(), post("alarm", "/x", ""))
		wantFailure(t, err, 503, "unreachable", true)
		wantAtOnce(t, began)
	}
	release()
	// Longer than the bus waits for a broker that may answer.
	holds(t, 6*time.Second, "the link stays, and the answer is not given up", func() error {
		if s := b.Stats(); !s.Blocked || s.Connects != 1 || len(answer) > 0 {
			return fmt.Errorf("stats are %+v, %d answers", s, len(answer))
		}
		return nil
	})
	node.ctl(t, "set_vm_memory_high_watermark", "0.9")
	if err := <-answer; err != nil {
		t.Errorf("a request in flight lost its answer to the alarm: %v", err)
	}
	eventually(t, soon, "it heals", func() error {
		_, err := b.Call(t.Context(), post("alarm", "/x", ""))
		return err
	})
	if s := b.Stats(); s.Connects != 1 {
		t.Errorf("got stats %+v, want the same connection as before", s)
	}
}

// goroutinesOf returns a count of the goroutines that the test has begun, from
// now on and by whatever way, and of its own.
func goroutinesOf(t *testing.T) func() int {
	t.Helper()
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels("test", t.Name())))
	label := fmt.Sprintf("# labels: {\"test\":%q}", t.Name())
	return func() (n int) {
		var all strings.Builder
		must(t, pprof.Lookup("goroutine").WriteTo(&all, 1))
		_, records, _ := strings.Cut(all.String(), "\n") // the first line is the sum
		for record := range strings.SplitSeq(records, "\n\n") {
			if count, _, ok := strings.Cut(record, " @ "); ok && strings.Contains(record, label) {
				n += atoi(t, count[strings.LastIndexByte(count, '\n')+1:]) // the first follows a headline
			}
		}
		if n == 0 {
			t.Fatal("not even this goroutine is counted")
		}
		return n
	}
}

func busRestart(t *testing.T, node *rabbitNode) {
	goroutines := goroutinesOf(t)
	startWorker(t, busWorker{node.URL, "load", "load.worker", "#", echo})
	b := startBus(t, rabbitmq.Config{URL: node.URL, Timeout: 2 * time.Second})
	_, err := b.Call(t.Context(), post("load", "/x", ""))
	must(t, err)
	before := goroutines()

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var good, bad atomic.Int64
	for i := range 32 {
		wg.Go(func() {
			pace := time.Tick(20 * time.Millisecond) // a client that honours Retry-After, in small
			for k := 0; ctx.Err() == nil; k++ {
				began, want := time.Now(), fmt.Sprint(i, " ", k)
				reply, err := b.Call(t.Context(), post("load", "/x", want))
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("an answer took %v, the limit is 2 s", took)
				}
				switch e, _ := errors.AsType[*rabbitmq.Error](err); {
				case err == nil && string(reply.Body) == want:
					good.Add(1)
				case e != nil && e.Status >= 502 && e.Status <= 504:
					bad.Add(1)
					<-pace
				default:
					t.Errorf("got %+v, %v, want %q or 502..504", reply, err, want)
				}
			}
		})
	}
	again := func(what string) {
		t.Helper()
		before := good.Load()
		eventually(t, 2*time.Minute, what, func() error {
			if good.Load() < before+100 {
				return fmt.Errorf("%d good, %d bad", good.Load(), bad.Load())
			}
			return nil
		})
	}
	again("it serves")
	node.Stop()
	eventually(t, soon, "there are requests without a broker", func() error {
		if bad.Load() == 0 {
			return errors.New("none has failed")
		}
		return nil
	})
	node.start(t)
	again("it serves after a stop and a start")
	node.Kill()
	node.start(t)
	again("it serves after a crash")
	cancel()
	wg.Wait()
	if bad.Load() == 0 || b.Stats().Connects < 3 {
		t.Errorf("%d bad answers, %+v: the test did not test", bad.Load(), b.Stats())
	}
	eventually(t, soon, "goroutines are gone", func() error {
		if n := goroutines(); n > before+5 {
			return fmt.Errorf("%d goroutines, %d before", n, before)
		}
		return nil
	})
	// What the bus has at the broker: its reply queue, and channels to listen,
	// to probe and to publish to "load". The worker has a queue and a channel.
	if out := node.ctl(t, "list_queues", "--no-table-headers", "name"); lines(out) != 2 {
		t.Errorf("queues are left behind:\n%s", out)
	}
	if out := node.ctl(t, "list_channels", "--no-table-headers", "pid"); lines(out) > 4 {
		t.Errorf("channels are left behind:\n%s", out)
	}
}

func busExchangeDeleted(t *testing.T, node *rabbitNode) {
	release := make(chan struct{})
	slow := func(d amqp.Delivery) *amqp.Publishing { <-release; return echo(d) }
	startWorker(t, busWorker{node.URL, "stays", "stays.worker", "#", slow})
	startWorker(t, busWorker{node.URL, "goes", "goes.worker", "#", echo})
	b := startBus(t, rabbitmq.Config{URL: node.URL})
	_, err := b.Call(t.Context(), post("goes", "/x", ""))
	must(t, err)
	answer := make(chan error, 1)
	go func() {
		_, err := b.Call(t.Context(), post("stays", "/x", ""))
		answer <- err
	}()
	conn, err := amqp.Dial(node.URL)
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	must(t, ch.ExchangeDelete("goes", false, false))
	for range 3 { // believed to be there, then known to be gone
		began := time.Now()
		_, err = b.Call(t.Context(), post("goes", "/x", ""))
		wantFailure(t, err, 503, "unknown_service", true)
		wantAtOnce(t, began)
	}
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("another exchange's request lost its answer: %v", err)
	}
}

func busFlood(t *testing.T, node *rabbitNode) {
	goroutines := goroutinesOf(t)
	startWorker(t, busWorker{node.URL, "busy", "busy.worker", "#", echo})
	b := startBus(t, rabbitmq.Config{URL: node.URL, MaxExchanges: 50})
	before := goroutines()
	var wg sync.WaitGroup
	var served atomic.Int64
	for i := range 20 {
		wg.Go(func() {
			for k := range 50 {
				_, err := b.Call(t.Context(), post(fmt.Sprintf("absent-%d-%d", i, k), "/x", ""))
				if e, ok := errors.AsType[*rabbitmq.Error](err); !ok || e.Status != 503 {
					t.Errorf("got %v, want 503", err)
				}
				if i == 0 {
					if _, err := b.Call(t.Context(), post("busy", "/x", "")); err == nil {
						served.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	if served.Load() != 50 {
		t.Errorf("of 50 requests for what exists, %d were served", served.Load())
	}
	if s := b.Stats(); s.Exchanges > 50 || s.InFlight > 1 {
		t.Errorf("got stats %+v", s)
	}
	eventually(t, soon, "goroutines and channels are gone", func() error {
		if n := goroutines(); n > before+10 {
			return fmt.Errorf("%d goroutines, %d before", n, before)
		}
		return nil
	})
}
