//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbitNode is a private RabbitMQ that lives until its test ends. Its port and
// its data stay the same over stop and start.
type rabbitNode struct {
	Addr string // host:port of AMQP
	URL  string // amqp:// with the default user

	env    []string
	epmd   *exec.Cmd
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd is over
	output lockedBuffer
}

// startRabbitMQ runs a node of its own, with its own name, ports, cookie and
// data. RabbitMQ comes from the distribution's package rabbitmq-server; without
// it the test fails, it does not skip.
func startRabbitMQ(t testing.TB) *rabbitNode {
	t.Helper()
	dir := t.TempDir()
	port, dist, epmd := freePort(t), freePort(t), freePort(t)
	n := &rabbitNode{
		Addr: fmt.Sprintf("127.0.0.1:%d", port),
		URL:  fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", port),
	}
	must(t, os.WriteFile(filepath.Join(dir, "plugins"), []byte("[].\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "rabbitmq.conf"), nil, 0o600))
	n.env = append(os.Environ(),
		"HOME="+dir, // of the cookie
		fmt.Sprintf("ERL_EPMD_PORT=%d", epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_NODENAME=lictor-%d@localhost", port),
		fmt.Sprintf("RABBITMQ_NODE_PORT=%d", port), "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", dist),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"), "RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq.conf"), "RABBITMQ_CONF_ENV_FILE="+filepath.Join(dir, "none"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1",
	)
	// Erlang would start a port mapper by itself, and leave it behind.
	n.epmd = exec.Command(rabbitTool(t, "epmd"), "-port", fmt.Sprint(epmd), "-address", "127.0.0.1")
	n.epmd.Env = n.env
	must(t, n.epmd.Start())
	t.Cleanup(func() {
		n.stop(t)
		_ = n.epmd.Process.Kill()
		_ = n.epmd.Wait()
		if t.Failed() {
			t.Logf("rabbitmq said:\n%s", n.output.String())
		}
	})
	n.start(t)
	return n
}

// start runs the node and waits until it takes connections.
func (n *rabbitNode) start(t testing.TB) {
	t.Helper()
	cmd, exited := exec.Command(rabbitTool(t, "rabbitmq-server")), make(chan struct{})
	cmd.Env, cmd.Stdout, cmd.Stderr = n.env, &n.output, &n.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the script has children
	must(t, cmd.Start())
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	n.cmd, n.exited = cmd, exited
	eventually(t, 90*time.Second, "rabbitmq takes connections", func() error {
		select {
		case <-exited:
			return errors.New("it ended: " + n.output.String())
		default:
		}
		conn, err := amqp.Dial(n.URL)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// stop ends the node as an operator would; one that does not obey is killed.
func (n *rabbitNode) stop(t testing.TB) { n.end(t, syscall.SIGTERM) }

// kill ends the node as a power failure would.
func (n *rabbitNode) kill(t testing.TB) { n.end(t, syscall.SIGKILL) }

func (n *rabbitNode) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if n.cmd == nil {
		return
	}
	_ = syscall.Kill(-n.cmd.Process.Pid, signal)
	select {
	case <-n.exited:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
		<-n.exited
	}
	n.cmd = nil
}

// ctl runs rabbitmqctl on the node and returns what it printed.
func (n *rabbitNode) ctl(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, rabbitTool(t, "rabbitmqctl"), append([]string{"-q"}, args...)...)
	cmd.Env = n.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("rabbitmqctl %v: %v: %s", args, err, out)
	}
	return string(out)
}

// lines returns how many lines of out are not blank.
func lines(out string) int {
	return len(strings.FieldsFunc(out, func(r rune) bool { return r == '\n' }))
}

// rabbitTool finds a program. The scripts on PATH of Debian's package change to
// the user rabbitmq and its directories, so the ones behind them are preferred.
func rabbitTool(t testing.TB, name string) string {
	t.Helper()
	own := filepath.Join("/usr/lib/rabbitmq/bin", name)
	if _, err := os.Stat(own); err == nil {
		return own
	}
	bin, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("no %s: install the package rabbitmq-server: %v", name, err)
	}
	return bin
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
	case <-time.After(10 * time.Second):
		t.Fatalf("the worker of exchange %q does not get ready", w.exchange)
	}
}

func (w busWorker) serve(ctx context.Context, ready func()) error {
	conn, err := amqp.DialConfig(w.url, amqp.Config{Heartbeat: 2 * time.Second})
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
