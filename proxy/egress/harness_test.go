package egress

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns"
	"lictor/proxy/egress/dns/dnstest"
	"lictor/proxy/own"
)

// bench is an egress under test with a DNS server and a target of its own.
type bench struct {
	*testing.T
	*rig
}

// rig is what subtests share.
type rig struct {
	proxy  *Proxy
	addr   string // of the egress
	dns    *dnstest.Server
	origin *origin
	set    atomic.Pointer[policy.Set]
	build  *policy.Builder
	log    *lockedBuffer
	gather prometheus.Gatherer

	registry fakeRegistry
	prepare  func(*Proxy) // before it runs

	mu      sync.Mutex // guards what follows
	dialed  []netip.AddrPort
	refused []string // addresses that nobody answers at
}

// lists are the objects of a test's policy.
type lists map[policy.Key]policy.Object

func black(entries ...string) *policy.List { return &policy.List{Entries: entries} }
func white(entries ...string) *policy.List {
	return &policy.List{Allow: true, Direction: policy.Egress, Entries: entries}
}

var blackKey = policy.Key{Kind: policy.KindBlacklist, Name: "ops"}
var whiteKey = policy.Key{Kind: policy.KindWhitelist, Name: "ops"}

// quick are the settings of a bench: loopback may be reached, which is where
// its targets are, and any port by CONNECT.
func quick() Settings {
	return Settings{
		AllowPrivate: prefixes("127.0.0.0/8", "::1/128"),
		Timeout:      2 * time.Second, Idle: 5 * time.Second, Header: 2 * time.Second, Stream: 5 * time.Second,
		MaxHeader: 32 << 10, Drain: 100 * time.Millisecond, ConnectTimeout: time.Second,
	}
}

// start runs an egress until the test ends. Its policy is empty.
func start(t *testing.T, settings Settings) *bench {
	t.Helper()
	b := newBench(t)
	b.run(settings)
	return b
}

// newBench returns a bench whose egress does not run yet.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, rig: &rig{dns: dnstest.Start(t), log: &lockedBuffer{}, build: policy.NewBuilder(policy.Options{Prefix: "lictor/"})}}
	b.origin = startTarget(t)
	b.policy(lists{})
	return b
}

// run lets the egress of a bench run until the test ends.
func (b *bench) run(settings Settings, change ...func(*Config)) {
	t := b.T
	t.Helper()
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	here := netip.MustParseAddrPort(l.Addr().String())
	registry := prometheus.NewRegistry()
	b.gather = registry
	cfg := Config{
		Settings: settings, Policy: b.set.Load, Metrics: registry, Registry: &b.registry,
		Own:      func() []own.Endpoint { return []own.Endpoint{{Host: "127.0.0.1", Port: here.Port()}} },
		Resolver: dns.New(dns.Config{Servers: []netip.AddrPort{b.dns.Addr}, Hosts: hosts, Timeout: 500 * time.Millisecond}),
		Log:      hclog.New(&hclog.LoggerOptions{Output: b.log, Level: hclog.Debug}),
	}
	for _, c := range change {
		c(&cfg)
	}
	if b.proxy, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	dial := b.proxy.dial
	b.proxy.dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		b.mu.Lock()
		b.dialed = append(b.dialed, to)
		refused := slices.Contains(b.refused, to.Addr().String())
		b.mu.Unlock()
		if refused {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return dial(ctx, to)
	}
	if b.prepare != nil {
		b.prepare(b.proxy)
	}
	b.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.proxy.Run(ctx, l); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	eventually.True(t, "Explain has something to go by", func() bool { return b.proxy.own.Set() != nil })
	t.Cleanup(func() {
		stop()
		<-done
		if t.Failed() {
			t.Logf("the egress said:\n%s", b.log)
		}
	})
}

// policy puts lists in force in place of what was.
func (b *bench) policy(l lists) {
	b.Helper()
	var changes []policy.Change
	for _, k := range b.build.Keys() {
		if l[k] == nil {
			changes = append(changes, policy.Change{Key: k})
		}
	}
	for k, list := range l {
		changes = append(changes, policy.Change{Key: k, Index: 1, Object: list})
	}
	set, rejected := b.build.Apply(1, changes)
	if len(rejected) > 0 {
		b.Fatalf("the policy is wrong: %v", rejected[0].Problems)
	}
	b.set.Store(set)
}

// refuse makes connections to some addresses fail.
func (b *bench) refuse(addrs ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = addrs
}

// dials returns what was dialled since the last call.
func (b *bench) dials() []netip.AddrPort {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.dialed
	b.dialed = nil
	return d
}

// answerBody is the body of an answer of the egress (X5, A6).
type answerBody struct {
	Message   string
	Reason    answer.Reason
	Entry     string
	RequestID string `json:"request_id"`
}

// reply is what a client got.
type reply struct {
	*http.Response
	body   string
	refuse answerBody // if it is an answer of the egress
}

// client is a connection to the egress.
type client struct {
	*testing.T
	net.Conn
	r *bufio.Reader
}

func (b *bench) client() *client {
	b.Helper()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return &client{b.T, c, bufio.NewReader(c)}
}

// do sends a request, whose lines are given without their ends, and reads the answer.
func (c *client) do(lines ...string) *reply {
	c.Helper()
	method, _, _ := strings.Cut(lines[0], " ")
	c.send(strings.Join(lines, "\r\n") + "\r\n\r\n")
	return c.read(method)
}

func (c *client) send(s string) {
	c.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.Fatalf("sending: %v", err)
	}
}

func (c *client) read(method string) *reply {
	c.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.Fatalf("no answer: %v", err)
	}
	a := &reply{Response: resp}
	if method == "CONNECT" && resp.StatusCode == 200 {
		return a
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatalf("answer: %v", err)
	}
	a.body = string(body)
	json.Unmarshal(body, &a.refuse) // what is not ours is no JSON
	return a
}

// get asks for a URL on a connection of its own.
func (b *bench) get(url string, fields ...string) *reply {
	b.Helper()
	return b.client().do(append([]string{"GET " + url + " HTTP/1.1", "Host: anything.example"}, fields...)...)
}

// connect asks for a tunnel on a connection of its own.
func (b *bench) connect(authority string) (*client, *reply) {
	b.Helper()
	c := b.client()
	return c, c.do("CONNECT "+authority+" HTTP/1.1", "Host: "+authority)
}

// expect checks the status and reason of an answer.
func (b *bench) expect(a *reply, status int, reason answer.Reason) {
	b.Helper()
	if a.StatusCode != status || a.refuse.Reason != reason {
		b.Errorf("got %d %q (%s), want %d %q", a.StatusCode, a.refuse.Reason, strings.TrimSpace(a.body), status, reason)
	}
	denied := ""
	if status == 403 || status == 407 {
		denied = string(reason)
	}
	if got := a.Header.Get("X-Proxy-Denied"); got != denied {
		b.Errorf("X-Proxy-Denied is %q, want %q", got, denied)
	}
}

// url is a URL of the target under some host.
func (b *bench) url(host, path string) string {
	return fmt.Sprintf("http://%s:%d%s", host, b.origin.port, path)
}

func (b *bench) at(host string) string { return fmt.Sprintf("%s:%d", host, b.origin.port) }

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// fakeRegistry knows services by address and by name, both with port.
type fakeRegistry struct {
	known atomic.Pointer[map[string][]string]
}

func (r *fakeRegistry) set(known map[string][]string) { r.known.Store(&known) }

func (r *fakeRegistry) at(key string) []string {
	if known := r.known.Load(); known != nil {
		return (*known)[key]
	}
	return nil
}

func (r *fakeRegistry) ServicesAt(at netip.AddrPort) []string { return r.at(at.String()) }
func (r *fakeRegistry) ServicesNamed(host string, port uint16) []string {
	return r.at(fmt.Sprintf("%s:%d", host, port))
}
func (r *fakeRegistry) AnyCase(string) bool { return false }
func (r *fakeRegistry) Missing() string     { return "" }

// in is b for a subtest.
func (b *bench) in(t *testing.T) *bench { return &bench{T: t, rig: b.rig} }

// metric is the sum of the series of a metric with that label.
func (b *bench) metric(name, label, value string) (sum float64) {
	b.Helper()
	all, err := b.gather.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}
