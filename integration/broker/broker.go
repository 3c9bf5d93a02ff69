// Package broker runs a private RabbitMQ for tests, the demo and the bench:
// with its own name, ports, cookie and data, beside whatever else runs.
package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/integration/port"
)

// Node is a RabbitMQ. Its ports and its data stay the same over Stop and Start.
type Node struct {
	Addr string // host:port of AMQP
	URL  string // amqp:// with the default user

	output io.Writer
	env    []string
	epmd   *exec.Cmd
	cmd    *exec.Cmd     // nil while it does not run
	exited chan struct{} // closed when cmd is over
}

// New prepares a node whose files are in dir, an existing directory of its own.
// What it says goes to output. Close it.
func New(dir string, output io.Writer) (*Node, error) {
	ports, err := port.Free(3)
	if err != nil {
		return nil, err
	}
	port, dist, epmd := ports[0], ports[1], ports[2]
	for name, text := range map[string]string{"plugins": "[].\n", "rabbitmq.conf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	n := &Node{
		Addr:   fmt.Sprintf("127.0.0.1:%d", port),
		URL:    fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", port),
		output: output,
	}
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
	n.epmd = exec.Command(tool("epmd"), "-port", fmt.Sprint(epmd), "-address", "127.0.0.1")
	n.epmd.Env = n.env
	if err := n.epmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: is the package rabbitmq-server installed?", err)
	}
	return n, nil
}

// Start runs the node and waits until it takes connections.
func (n *Node) Start(ctx context.Context) error {
	cmd, exited := exec.Command(tool("rabbitmq-server")), make(chan struct{})
	cmd.Env, cmd.Stdout, cmd.Stderr = n.env, n.output, n.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the script has children
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: is the package rabbitmq-server installed?", err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in its output
		close(exited)
	}()
	n.cmd, n.exited = cmd, exited
	limit := time.After(5 * time.Minute)
	for {
		conn, err := amqp.Dial(n.URL)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-exited:
			return errors.New("rabbitmq ended by itself")
		case <-limit:
			return fmt.Errorf("rabbitmq takes no connections: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop ends the node as an operator would; one that does not obey is killed.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

// Kill ends the node as a power failure would.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

func (n *Node) end(signal syscall.Signal) {
	if n.cmd == nil {
		return
	}
	_ = syscall.Kill(-n.cmd.Process.Pid, signal) // it may be over already
	select {
	case <-n.exited:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
		<-n.exited
	}
	n.cmd = nil
}

// Exited is closed when the node that runs is over.
func (n *Node) Exited() <-chan struct{} { return n.exited }

// Ctl runs rabbitmqctl on the node and returns what it printed.
func (n *Node) Ctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool("rabbitmqctl"), append([]string{"-q"}, args...)...)
	cmd.Env = n.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("rabbitmqctl %v: %w: %s", args, err, out)
	}
	return string(out), err
}

// Close ends all that New and Start began.
func (n *Node) Close() {
	n.Stop()
	_ = n.epmd.Process.Kill()
	_ = n.epmd.Wait() // killed
}

// tool finds a program. The scripts on PATH of Debian's package change to the
// user rabbitmq and its directories, so the ones behind them are preferred.
func tool(name string) string {
	own := filepath.Join("/usr/lib/rabbitmq/bin", name)
	if _, err := os.Stat(own); err == nil {
		return own
	}
	for _, dir := range []string{"", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return name
}
