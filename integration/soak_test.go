//go:build integration

package integration_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

var soak = flag.Duration("soak", 2*time.Minute, "how long TestNothingGrowsUnderMixedLoad goes on")

// quiet is how long a machine does nothing else, by promise of who asks for it:
// only then pauses tell of lictor.
const quiet = 10 * time.Minute

// TestNothingGrowsUnderMixedLoad sends requests of all kinds while policy and
// services change, the configuration is read again, instances die and Consul
// restarts: no request is lost, what is forbidden stays so, and memory,
// goroutines and descriptors are at the end what they were.
func TestNothingGrowsUnderMixedLoad(t *testing.T) {
	mostlyWaiting(t)
	s := newSoak(t)
	ctx, stop := context.WithTimeout(t.Context(), *soak)
	defer stop()
	var clients sync.WaitGroup
	for _, k := range s.kinds() {
		clients.Go(func() { s.load(ctx, k) })
	}
	s.disturb(ctx)
	clients.Wait()
	s.judge()
}

// soaking is a lictor under mixed load, with all around it.
type soaking struct {
	t          *testing.T
	consul     *consulAgent
	lictor     *lictorProcess
	perishable *perishable

	mu    sync.Mutex // guards what follows
	sent  map[string]int
	wrong map[string]int // by kind and what came

	watched []*series
	every   time.Duration // between two samples
	pauses  pauses        // of the collector
}

func newSoak(t *testing.T) *soaking {
	s := &soaking{t: t, consul: startConsul(t, persistent(t)), sent: make(map[string]int), wrong: make(map[string]int)}
	s.every = max(*soak/200, 500*time.Millisecond)
	for _, name := range []string{"process_resident_memory_bytes", "go_goroutines", "process_open_fds", "go_memstats_next_gc_bytes"} {
		s.watched = append(s.watched, &series{name: name})
	}
	steady := newPerishable(t)
	s.perishable = newPerishable(t)
	register(t, s.consul, "steady", "steady-1", steady.addr)
	register(t, s.consul, "mortal", "mortal-1", steady.addr)
	register(t, s.consul, "mortal", "mortal-2", s.perishable.addr)
	kvPut(t, s.consul, "lictor/policy/blacklist/closed", `["/steady/closed"]`)
	s.lictor = newLictor(t, lictorConfig{Plain: true, DataDir: t.TempDir()})
	s.configure(0)
	s.lictor.Start(t)
	s.lictor.Ready(t)
	for path, want := range map[string]int{"/steady/": 200, "/mortal/": 200, "/steady/closed": 403} {
		s.answers(path, want)
	}
	s.fill()
	return s
}

// answers waits until a path is answered so.
func (s *soaking) answers(path string, want int) {
	s.t.Helper()
	eventually(s.t, soon, path, func() error {
		if status, _ := fetch(s.t, "http://"+s.lictor.Gateway+path); status != want {
			return fmt.Errorf("%d", status)
		}
		return nil
	})
}

// fill makes more changes of the policy than the 1,000 that are kept: from then on
// each drops one, and they do not grow.
func (s *soaking) fill() {
	const keys = 512
	for _, round := range []struct {
		verb api.KVOp
		then int
	}{{api.KVSet, http.StatusForbidden}, {api.KVDelete, http.StatusOK}} {
		for first := 0; first < keys; first += 64 {
			var ops api.TxnOps
			for i := first; i < first+64; i++ {
				ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: round.verb, Key: fmt.Sprintf("lictor/policy/blacklist/first-%d", i), Value: fmt.Appendf(nil, `["/steady/first-%d"]`, i)}})
			}
			commit(s.t, s.consul, ops)
		}
		s.answers(fmt.Sprintf("/steady/first-%d", keys-1), round.then)
	}
}

// configure writes a configuration that differs from the last one.
func (s *soaking) configure(turn int) {
	s.lictor.Configure(s.t, lictorConfig{Plain: true, DataDir: s.lictor.cfg.DataDir,
		Gateway: fmt.Sprintf("timeout = \"%ds\"", 20+turn%2),
		Rest:    consulConfig(s.consul, "") + "policy {\n  store = \"consul\"\n}\n"})
}

// kind is a kind of request and what must come of it.
type kind struct {
	name   string
	want   int
	client func() *http.Client // a new one whenever it is asked
	fresh  bool                // each request has a connection of its own
	make   func() *http.Request
}

func (s *soaking) kinds() []kind {
	base := "http://" + s.lictor.Gateway
	request := func(method, path string, size int) func() *http.Request {
		return func() *http.Request {
			req, _ := http.NewRequest(method, base+path, strings.NewReader(strings.Repeat("x", size))) // of constants
			return req
		}
	}
	plain := func() *http.Client { return &http.Client{Transport: new(http.Transport), Timeout: 20 * time.Second} }
	second := func() *http.Client {
		p := new(http.Protocols)
		p.SetUnencryptedHTTP2(true)
		return &http.Client{Transport: &http.Transport{Protocols: p}, Timeout: 20 * time.Second}
	}
	return []kind{
		{name: "GET", want: 200, client: plain, make: request("GET", "/steady/x", 0)},
		{name: "GET by HTTP/2", want: 200, client: second, make: request("GET", "/steady/x", 0)},
		{name: "GET on a new connection", want: 200, client: plain, fresh: true, make: request("GET", "/steady/x", 0)},
		{name: "POST of 64 KiB", want: 200, client: plain, make: request("POST", "/steady/x", 64<<10)},
		{name: "POST of 64 KiB by HTTP/2", want: 200, client: second, make: request("POST", "/steady/x", 64<<10)},
		{name: "an answer of 256 KiB", want: 200, client: plain, make: request("GET", "/steady/large", 0)},
		{name: "an answer that the client leaves", want: 200, client: plain, make: request("GET", "/steady/endless", 0)},
		{name: "what is forbidden", want: 403, client: plain, make: request("GET", "/steady/closed", 0)},
		{name: "a service that is not there", want: 503, client: plain, make: request("GET", "/nobody/x", 0)},
		{name: "an instance that dies", want: 200, client: plain, make: request("GET", "/mortal/x", 0)},
	}
}

// load sends requests of a kind until ctx ends.
func (s *soaking) load(ctx context.Context, k kind) {
	c := k.client()
	defer func() { c.CloseIdleConnections() }()
	for pace := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-pace.C {
		got := s.ask(c, k)
		s.mu.Lock()
		s.sent[k.name]++
		if got != strconv.Itoa(k.want) {
			s.wrong[k.name+": "+got]++
		}
		s.mu.Unlock()
		if k.fresh {
			c.CloseIdleConnections()
			c = k.client()
		}
	}
}

// ask sends a request and says what came: a status, or what went wrong.
func (s *soaking) ask(c *http.Client, k kind) string {
	resp, err := c.Do(k.make())
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if strings.HasSuffix(resp.Request.URL.Path, "/endless") {
		_, err = bufio.NewReader(resp.Body).ReadString('\n')
	} else {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if err != nil {
		return err.Error()
	}
	return strconv.Itoa(resp.StatusCode)
}

// disturb changes what can be changed, a step at a time, and takes samples,
// until ctx ends.
func (s *soaking) disturb(ctx context.Context) {
	step, sample := time.NewTicker(250*time.Millisecond), time.NewTicker(s.every)
	defer step.Stop()
	defer sample.Stop()
	for turn := 1; ; {
		select {
		case <-ctx.Done():
			return
		case <-sample.C:
			s.sample()
		case <-step.C:
			s.step(turn)
			turn++
		}
	}
}

func (s *soaking) step(turn int) {
	key, id := fmt.Sprintf("lictor/policy/blacklist/turn-%d", turn%7), fmt.Sprintf("turn-%d", turn%5)
	if turn%2 == 0 {
		kvPut(s.t, s.consul, key, fmt.Sprintf(`["/steady/forbidden-%d"]`, turn))
		register(s.t, s.consul, id, id, s.perishable.addr)
	} else {
		kvDelete(s.t, s.consul, key)
		if registered, err := s.consul.Client.Agent().Services(); err == nil && registered[id] != nil {
			deregister(s.t, s.consul, id)
		}
	}
	switch {
	case turn%12 == 3:
		s.perishable.die()
	case turn%12 == 9:
		s.perishable.live(s.t)
	case turn%20 == 10:
		s.configure(turn / 20)
		s.lictor.Signal(s.t, syscall.SIGHUP)
	case turn%100 == 50:
		s.consul.Kill(s.t)
		s.consul.Start(s.t)
	}
}

// sample notes what is watched.
func (s *soaking) sample() {
	_, text := fetch(s.t, "http://"+s.lictor.Admin+"/metrics")
	values := make(map[string]float64)
	s.pauses = s.pauses[:0]
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			values[name], _ = strconv.ParseFloat(value, 64) // what is no number is not asked for
			s.pauses.add(name, values[name])
		}
	}
	for _, one := range s.watched {
		one.add(values[one.name])
	}
}

// judge says what went wrong, and what grew.
func (s *soaking) judge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.sent {
		s.t.Logf("%-36s %d requests", name, n)
		if n == 0 {
			s.t.Errorf("%s: none was sent", name)
		}
	}
	for what, n := range s.wrong {
		s.t.Errorf("%d times %s", n, what)
	}
	for _, one := range s.watched {
		rise, noise := one.trend()
		s.t.Logf("%-36s %.4g at the end, rise %.3g, noise %.3g", one.name, one.values[len(one.values)-1], rise, noise)
		if rise > noise {
			s.t.Errorf("%s grew by %.4g, which is more than its noise of %.4g: %.4g", one.name, rise, noise, one.values)
		}
	}
	p99, n := s.pauses.p99()
	s.t.Logf("of %.0f pauses of the collector 99 %% were shorter than %.2g ms", n, 1000*p99)
	if *soak >= quiet && p99 > 0.001 {
		s.t.Error("the collector stops all for too long")
	}
}

// perishable is a backend that can die and come back at its address.
type perishable struct {
	addr string
	srv  *http.Server
}

func newPerishable(t *testing.T) *perishable {
	m := &perishable{addr: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	m.live(t)
	t.Cleanup(m.die)
	return m
}

// die ends it with all its connections; one that is dead stays so.
func (m *perishable) die() { m.srv.Close() }

// live has it serve; it must not be serving.
func (m *perishable) live(t *testing.T) {
	l, err := net.Listen("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 256<<10)
	m.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // who sends it may be gone
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, large)
		case "/endless":
			for r.Context().Err() == nil {
				_, err := io.WriteString(w, large[:1000]+"\n")
				if err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
			}
		default:
			fmt.Fprint(w, "here")
		}
	})}
	go m.srv.Serve(l) //nolint:errcheck // always ErrServerClosed
}
