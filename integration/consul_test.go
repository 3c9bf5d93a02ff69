//go:build integration

package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/app/listener/certtest"
	"lictor/integration/port"
)

// consulAgent is a real Consul agent that lives until its test ends. Its ports
// stay the same over Stop and Start, so that a client's address stays right.
type consulAgent struct {
	Addr   string      // host:port of its HTTP API
	Client *api.Client // its own, with the agent's token if it has ACLs
	Serf   string      // host:port that another agent joins
	Wan    string      // host:port that a server of another datacenter joins; "" = none can
	Token  string      // the management token of an agent with ACLs, else ""
	HTTPS  string      // URL of the same API over TLS; "" = there is none
	CA     string      // file with who vouches for that

	bin    string
	args   []string
	conns  *http.Transport // of Client
	cmd    *exec.Cmd
	exited chan struct{}
	output lockedBuffer
}

type consulOptions struct {
	dataDir string
	token   string
	join    string
	dc      string // "" = dc1, which knows no other
	wan     []string
	peering bool
	tls     string // directory with its certificate and ca.pem; "" = none
}

type consulOption func(*consulOptions)

// persistent makes a server that keeps its data over a restart. Without it the
// agent runs with -dev and forgets everything.
func persistent(t *testing.T) consulOption {
	dir := t.TempDir()
	return func(o *consulOptions) { o.dataDir = dir }
}

// withACL makes an agent that denies by default and has token as its
// management token (a UUID); Client uses it.
func withACL(token string) consulOption {
	return func(o *consulOptions) { o.token = token }
}

// joining makes a client agent behind the given server, with data of its own.
func joining(t *testing.T, server *consulAgent) consulOption {
	dir := t.TempDir()
	return func(o *consulOptions) { o.dataDir, o.join = dir, server.Serf }
}

// inDatacenter makes a server of a datacenter that others may join, and that joins
// those of others.
func inDatacenter(dc string, others ...*consulAgent) consulOption {
	return func(o *consulOptions) {
		o.dc = dc
		for _, other := range others {
			o.wan = append(o.wan, other.Wan)
		}
	}
}

// withPeering makes a server that may be peered with.
func withPeering() consulOption { return func(o *consulOptions) { o.peering = true } }

// withTLS makes an agent that answers over TLS as well.
func withTLS(t *testing.T) consulOption {
	dir, ca := t.TempDir(), certtest.NewCA(t)
	ca.WriteCA(t, dir)
	certtest.Write(t, dir, "agent", ca.Issue(t, "127.0.0.1"))
	return func(o *consulOptions) { o.tls = dir }
}

// Secured is the agent as it is reached over TLS.
func (c *consulAgent) Secured() *consulAgent {
	return &consulAgent{Addr: c.HTTPS, CA: c.CA, Token: c.Token}
}

// startConsul runs an agent until the test ends and waits until it has a
// leader. Without a binary the test fails, it does not skip.
func startConsul(t *testing.T, opts ...consulOption) *consulAgent {
	t.Helper()
	var o consulOptions
	for _, opt := range opts {
		opt(&o)
	}
	httpPort, serfPort := freePort(t), freePort(t)
	c := &consulAgent{
		Addr:  fmt.Sprintf("127.0.0.1:%d", httpPort),
		Serf:  fmt.Sprintf("127.0.0.1:%d", serfPort),
		Token: o.token,
		bin:   consulBinary(t),
	}
	c.args = []string{
		"agent", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn",
		fmt.Sprintf("-node=node-%d", httpPort), fmt.Sprintf("-http-port=%d", httpPort),
		fmt.Sprintf("-server-port=%d", freePort(t)), fmt.Sprintf("-serf-lan-port=%d", serfPort),
		"-dns-port=-1", "-grpc-port=-1", "-config-file=" + writeAgentConfig(t, &o),
	}
	if o.tls != "" {
		port := freePort(t)
		c.HTTPS, c.CA = fmt.Sprintf("https://127.0.0.1:%d", port), filepath.Join(o.tls, "ca.pem")
		c.args = append(c.args, fmt.Sprintf("-https-port=%d", port))
	}
	wanPort, peerPort := -1, -1
	if o.dc != "" {
		wanPort = freePort(t)
		c.Wan = fmt.Sprintf("127.0.0.1:%d", wanPort)
		c.args = append(c.args, "-datacenter="+o.dc, "-retry-interval-wan=1s")
		for _, other := range o.wan {
			c.args = append(c.args, "-retry-join-wan="+other)
		}
	}
	if o.peering {
		peerPort = freePort(t)
	}
	c.args = append(c.args, fmt.Sprintf("-serf-wan-port=%d", wanPort), fmt.Sprintf("-grpc-tls-port=%d", peerPort))
	switch {
	case o.join != "":
		c.args = append(c.args, "-data-dir="+o.dataDir, "-retry-join="+o.join, "-retry-interval=1s")
	case o.dataDir != "":
		c.args = append(c.args, "-data-dir="+o.dataDir, "-server", "-bootstrap-expect=1")
	default:
		c.args = append(c.args, "-dev")
	}
	c.conns = api.DefaultConfig().Transport
	client, err := api.NewClient(&api.Config{Address: c.Addr, Token: o.token, Transport: c.conns})
	if err != nil {
		t.Fatal(err)
	}
	c.Client = client
	t.Cleanup(func() {
		c.Kill(t)
		if t.Failed() {
			t.Logf("consul %s said:\n%s", c.Addr, c.output.String())
		}
	})
	c.Start(t)
	return c
}

// writeAgentConfig returns a file with what has no flag: no update check, a
// fast election, and ACLs.
func writeAgentConfig(t *testing.T, o *consulOptions) string {
	t.Helper()
	text := "disable_update_check = true\nperformance { raft_multiplier = 1 }\n"
	if o.dc != "" { // a server that is lost is noticed as soon as on a LAN
		text += "gossip_wan { gossip_interval = \"100ms\" probe_interval = \"200ms\" probe_timeout = \"200ms\" suspicion_mult = 3 }\n"
	}
	if o.peering {
		text += "connect { enabled = true }\npeering { enabled = true }\n"
	}
	if o.token != "" {
		text += fmt.Sprintf("acl { enabled = true default_policy = \"deny\" tokens { initial_management = %q agent = %q } }\n",
			o.token, o.token)
	}
	if o.tls != "" {
		text += fmt.Sprintf("tls { https { cert_file = %q key_file = %q } }\n", filepath.Join(o.tls, "agent.pem"), filepath.Join(o.tls, "agent.key"))
	}
	file := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Start runs the agent, on the same ports as before, and waits for a leader.
func (c *consulAgent) Start(t *testing.T) {
	t.Helper()
	c.cmd = exec.Command(c.bin, c.args...)
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited, cmd := make(chan struct{}), c.cmd
	c.exited = exited
	go func() {
		_ = cmd.Wait() // a killed agent exits with an error, as asked
		close(exited)
	}()
	eventually(t, 30*time.Second, "consul has a leader and its own node", func() error {
		select {
		case <-exited:
			t.Fatalf("consul exited:\n%s", c.output.String())
		default:
		}
		if c.Token == "" {
			nodes, _, err := c.Client.Catalog().Nodes(nil)
			if err == nil && len(nodes) == 0 {
				err = errors.New("no node in the catalog")
			}
			return err
		}
		_, err := c.Client.KV().Put(&api.KVPair{Key: "started"}, nil) // ACLs work once there is a leader
		return err
	})
}

// Freeze stops the agent as a host does whose network is gone: it acknowledges what
// is sent to it, and says nothing. Thaw has it go on.
func (c *consulAgent) Freeze(t *testing.T) { c.signal(t, syscall.SIGSTOP) }

// Thaw ends what Freeze began.
func (c *consulAgent) Thaw(t *testing.T) { c.signal(t, syscall.SIGCONT) }

func (c *consulAgent) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("consul %s: %v", c.Addr, err)
	}
}

// Stop ends the agent in good order: a server keeps its place, a client leaves
// the cluster and takes its services along.
func (c *consulAgent) Stop(t *testing.T) { c.end(t, syscall.SIGTERM) }

// Kill ends the agent at once, as a crash does.
func (c *consulAgent) Kill(t *testing.T) { c.end(t, syscall.SIGKILL) }

func (c *consulAgent) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(signal) // it may be gone already
	select {
	case <-c.exited:
	case <-time.After(20 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.exited
		t.Errorf("consul %s did not end by itself", c.Addr)
	}
	c.cmd = nil
}

// HTTPConns is the number of connections that the agent's HTTP port has open, by
// the kernel's word, less those of Client that nothing uses.
func (c *consulAgent) HTTPConns(t *testing.T) int {
	t.Helper()
	c.conns.CloseIdleConnections()
	n, err := established(c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// established counts the connections to a server on this machine that neither
// side has closed.
func established(server string) (n int, err error) {
	tcp, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	at, err := netip.ParseAddrPort(server)
	if err != nil {
		return 0, err
	}
	local := fmt.Appendf(nil, ":%04X", at.Port())
	for line := range bytes.Lines(tcp) {
		if fields := bytes.Fields(line); len(fields) > 3 && bytes.HasSuffix(fields[1], local) && string(fields[3]) == "01" {
			n++
		}
	}
	return n, nil
}

// registerOption changes a registration before it is sent.
type registerOption func(*api.AgentServiceRegistration)

// httpCheck makes Consul ask url; the instance passes while it answers 2xx, however
// late on a machine that is busy with other tests.
func httpCheck(url, interval string) registerOption {
	return func(r *api.AgentServiceRegistration) {
		r.Checks = append(r.Checks, &api.AgentServiceCheck{HTTP: url, Interval: interval, Timeout: "10s"})
	}
}

// ttlCheck makes a check that the test itself sets with setCheck; it begins as status.
func ttlCheck(status string) registerOption {
	return func(r *api.AgentServiceRegistration) {
		r.Checks = append(r.Checks, &api.AgentServiceCheck{CheckID: "ttl:" + r.ID, TTL: "1h", Status: status})
	}
}

func withMeta(meta map[string]string) registerOption {
	return func(r *api.AgentServiceRegistration) { r.Meta = meta }
}

func withTags(tags ...string) registerOption {
	return func(r *api.AgentServiceRegistration) { r.Tags = tags }
}

func withWeights(passing, warning int) registerOption {
	return func(r *api.AgentServiceRegistration) {
		r.Weights = &api.AgentWeights{Passing: passing, Warning: warning}
	}
}

// register registers an instance at the agent, or changes it; addr is host:port.
func register(t *testing.T, c *consulAgent, name, id, addr string, opts ...registerOption) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &api.AgentServiceRegistration{Name: name, ID: id, Address: host, Port: atoi(t, port)}
	for _, opt := range opts {
		opt(r)
	}
	if err := c.Client.Agent().ServiceRegister(r); err != nil {
		t.Fatalf("register %s: %v", id, err)
	}
}

// deregister removes an instance from the agent.
func deregister(t *testing.T, c *consulAgent, id string) {
	t.Helper()
	if err := c.Client.Agent().ServiceDeregister(id); err != nil {
		t.Fatalf("deregister %s: %v", id, err)
	}
}

// setCheck gives the ttlCheck of an instance a new status.
func setCheck(t *testing.T, c *consulAgent, id, status string) {
	t.Helper()
	if err := c.Client.Agent().UpdateTTL("ttl:"+id, "set by the test", status); err != nil {
		t.Fatalf("check of %s: %v", id, err)
	}
}

// consulBinary finds the agent's program: $CONSUL_BIN, else PATH, else what
// integration/tools built.
func consulBinary(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("CONSUL_BIN"); bin != "" {
		return bin
	}
	if bin, err := exec.LookPath("consul"); err == nil {
		return bin
	}
	bin, err := filepath.Abs("tools/bin/consul")
	if err == nil {
		_, err = os.Stat(bin)
	}
	if err != nil {
		t.Fatalf("no consul: set CONSUL_BIN, put it on PATH or build it with make: %v", err)
	}
	return bin
}

// freePort returns a port that nobody uses, and that no other call returns.
func freePort(t testing.TB) int {
	t.Helper()
	ports, err := port.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
}

// eventually waits until ok returns nil, and fails the test if it does not in time.
func eventually(t testing.TB, limit time.Duration, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// holds checks that ok goes on returning nil for a while, in which it has every
// chance not to.
func holds(t testing.TB, while time.Duration, what string, ok func() error) {
	t.Helper()
	for end := time.Now().Add(while); ; time.Sleep(20 * time.Millisecond) {
		if err := ok(); err != nil {
			t.Fatalf("not for %v: %s: %v", while, what, err)
		}
		if time.Now().After(end) {
			return
		}
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(s, "%d", &n); err != nil {
		t.Fatalf("%q is no number: %v", s, err)
	}
	return n
}
