// Command demo shows lictor in front of a real Consul: it starts a Consul,
// registers two instances of a service with real checks and a service whose
// check fails, starts lictor, and runs a few requests, in through the gateway, to
// a service in Consul's mesh and out through the egress. Then it stays, for
// requests of your own, until Ctrl-C; without a terminal, or with CI or
// DEMO_ONCE set, it ends.
//
// With -bus it shows lictor in front of a real RabbitMQ and the example worker
// instead.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/mattn/go-isatty"

	"lictor/app/echo"
	"lictor/integration/port"
)

func main() {
	lictor := flag.String("lictor", "bin/lictor", "`path` of the program")
	bus := flag.Bool("bus", false, "show the service bus")
	worker := flag.String("worker", "bin/worker", "`path` of the example worker, for -bus")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	run := demo
	if *bus {
		run = func(ctx context.Context, lictor string) error { return demoBus(ctx, lictor, *worker) }
	}
	err := run(ctx, *lictor)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// stays reports whether somebody is there to go on after the first requests.
func stays() bool {
	return os.Getenv("CI") == "" && os.Getenv("DEMO_ONCE") == "" && isatty.IsTerminal(os.Stdin.Fd())
}

func demo(ctx context.Context, program string) error {
	dir, err := os.MkdirTemp("", "lictor-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	agent, err := startConsul(ctx, dir)
	if err != nil {
		return err
	}
	defer agent.stop()
	if err := registerServices(agent.client); err != nil {
		return err
	}
	if err := agent.until(ctx, "the check of broken ran", agent.checked); err != nil {
		return err
	}
	gateway, egress, admin, err := startLictor(ctx, program, dir, agent.address)
	if err != nil {
		return err
	}
	defer gateway.stop()

	if err := show(ctx, program, gateway.address, admin); err != nil {
		return err
	}
	stop, err := showMesh(ctx, gateway.address, dir, agent)
	if err != nil {
		return err
	}
	defer stop()
	if err := showEgress(ctx, egress, agent); err != nil {
		return err
	}
	if !stays() {
		fmt.Println("There is no terminal: the demo ends here.")
		return nil
	}
	fmt.Printf("Everything stays up until Ctrl-C. Consul: http://%s/ui  lictor: http://%s\n", agent.address, gateway.address)
	fmt.Printf("In another terminal:\n  export PATH=\"$PATH:%s\" CONSUL_HTTP_ADDR=%s LICTOR=%s ADMIN=%s\n",
		folders(agent.cmd.Path, program), agent.address, gateway.address, admin)
	select {
	case <-ctx.Done():
		fmt.Println()
		return nil
	case <-gateway.ended:
		return errors.New("lictor ended by itself, see above")
	case <-agent.ended:
		return errors.New("consul ended by itself")
	}
}

// folders are where programs lie, as PATH wants them.
func folders(programs ...string) string {
	var all []string
	for _, p := range programs {
		if path, err := exec.LookPath(p); err == nil {
			if path, err = filepath.Abs(path); err == nil {
				all = append(all, filepath.Dir(path))
			}
		}
	}
	return strings.Join(all, ":")
}

// child is a program that was started, with its address.
type child struct {
	address string // host:port
	client  *api.Client
	cmd     *exec.Cmd
	ended   chan struct{} // closed when it has
}

// start runs a program in a process group of its own, so that Ctrl-C ends the
// demo and the demo ends its children, in order.
func start(cmd *exec.Cmd) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, ended: make(chan struct{})}
	go func() {
		cmd.Wait() // how it ended is in its own output
		close(c.ended)
	}()
	return c, nil
}

func (c *child) stop() {
	c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		c.cmd.Process.Kill()
		<-c.ended
	}
}

// until waits until ok returns nil, at most half a minute.
func (c *child) until(ctx context.Context, what string, ok func() error) error {
	limit := time.After(30 * time.Second)
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ended:
			return fmt.Errorf("%s: the program ended", what)
		case <-limit:
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func startConsul(ctx context.Context, dir string) (*child, error) {
	program, err := exec.LookPath(cmp.Or(os.Getenv("CONSUL_BIN"), "consul"))
	if err != nil {
		return nil, fmt.Errorf("%w; make demo builds it", err)
	}
	ports, err := port.Free(3)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "consul.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn",
		fmt.Sprintf("-http-port=%d", ports[0]), fmt.Sprintf("-server-port=%d", ports[1]),
		fmt.Sprintf("-serf-lan-port=%d", ports[2]), "-serf-wan-port=-1", "-dns-port=-1",
		"-grpc-port=-1", "-grpc-tls-port=-1")
	cmd.Stdout, cmd.Stderr = log, log
	agent, err := start(cmd)
	if err != nil {
		return nil, err
	}
	agent.address = fmt.Sprintf("127.0.0.1:%d", ports[0])
	if agent.client, err = api.NewClient(&api.Config{Address: agent.address}); err != nil {
		return nil, err
	}
	fmt.Printf("Consul starts on %s.\n", agent.address)
	err = agent.until(ctx, "consul has a leader", func() error {
		nodes, _, err := agent.client.Catalog().Nodes(nil)
		if err == nil && len(nodes) == 0 {
			err = errors.New("no node yet")
		}
		return err
	})
	if err != nil {
		agent.stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return agent, nil
}

// registerServices serves two instances of "hello" and one of "broken", which
// end with the process, and registers them with the HTTP check that Consul runs.
func registerServices(consul *api.Client) error {
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "disk full", http.StatusInternalServerError)
	})
	for _, s := range []struct {
		name, id string
		handler  http.Handler
	}{
		{"hello", "hello-1", echo.Handler("hello-1")},
		{"hello", "hello-2", echo.Handler("hello-2")},
		{"broken", "broken-1", broken},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go http.Serve(l, s.handler)
		port := l.Addr().(*net.TCPAddr).Port
		err = consul.Agent().ServiceRegister(&api.AgentServiceRegistration{
			Name: s.name, ID: s.id, Address: "127.0.0.1", Port: port,
			Check: &api.AgentServiceCheck{HTTP: fmt.Sprintf("http://127.0.0.1:%d/health", port), Interval: "1s", Timeout: "1s",
				Status: api.HealthPassing}, // else a check that fails from the start is told of only minutes later
		})
		if err != nil {
			return err
		}
		fmt.Printf("Registered %s on port %d, with a check of its own.\n", s.id, port)
	}
	return nil
}

// checked reports as an error that the check of broken has not run yet.
func (c *child) checked() error {
	checks, _, err := c.client.Health().Checks("broken", nil)
	if err == nil && (len(checks) == 0 || checks[0].Output == "") {
		err = errors.New("no output yet")
	}
	return err
}

func startLictor(ctx context.Context, program, dir, consul string) (c *child, egress, admin string, err error) {
	ports, err := port.Free(3)
	if err != nil {
		return nil, "", "", err
	}
	gateway, admin := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	egress = fmt.Sprintf("127.0.0.1:%d", ports[2])
	text := fmt.Sprintf(`log_level = "warn"
data_dir  = %q
gateway {
  address = %q
}
egress {
  address       = %q
  allow_private = ["127.0.0.0/8", "::1/128"]
}
admin {
  address = %q
}
consul {
  address = %q
}
resolver "consul" {
  connect = "prefer"
}
`, filepath.Join(dir, "data"), gateway, egress, admin, consul)
	if c, err = launch(program, dir, gateway, text); err != nil {
		return nil, "", "", err
	}
	err = c.until(ctx, "lictor finds both instances and is ready", func() error { return errors.Join(both(gateway), ready(admin)) })
	if err != nil {
		c.stop()
		return nil, "", "", err
	}
	return c, egress, admin, nil
}

// launch starts lictor with a configuration, and shows it.
func launch(program, dir, gateway, text string) (*child, error) {
	file := filepath.Join(dir, "config.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	fmt.Printf("lictor starts with this configuration:\n\n%s\n", text)
	cmd := exec.Command(program, "run", "-config", file)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	c, err := start(cmd)
	if err == nil {
		c.address = gateway
	}
	return c, err
}
