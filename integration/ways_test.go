//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// deployedEnv holds the name and the address of an instance, in the process that is it.
const deployedEnv = "LICTOR_TEST_DEPLOYED"

// noticeAfter is how much later than Consul knows it lictor learns of a change of
// the services. Consul itself hears nothing of what fails: checks are set by the test.
const noticeAfter = 2 * time.Second

// TestWaysToDeploy: K7. Whichever way a service is deployed, with what
// docs/operations.md says is to be set for it no request is lost, though Consul is
// slow to notice.
func TestWaysToDeploy(t *testing.T) {
	mostlyWaiting(t)
	hold := map[string]string{"lictor-hold": "20s"}
	for _, way := range []struct {
		name   string
		meta   map[string]string // what is to be set
		first  []string          // instances at the beginning
		deploy func(*site)
	}{
		{"rolling", nil, []string{"old-1", "old-2"}, rolling},
		{"blue-green", hold, []string{"blue-1", "blue-2"}, blueGreen},
		{"canary", nil, []string{"old-1", "old-2"}, canaries},
		{"a single instance is replaced", hold, []string{"old"}, replaced},
		{"drained by maintenance", nil, []string{"a", "b"}, drained},
		{"crash and restart", nil, []string{"a", "b"}, crashed},
		{"crash and restart of a single instance", hold, []string{"a"}, crashed},
		{"another port under the same id", hold, []string{"a"}, moved},
		{"the node is lost", nil, []string{"a"}, nodeLost},
	} {
		t.Run(way.name, func(t *testing.T) {
			beside(t)
			if way.name == "the node is lost" && !alone(t) {
				return
			}
			s := newSite(t, way.meta, way.first...)
			way.deploy(s)
			for _, l := range s.loads {
				l.stop(t)
			}
		})
	}
}

func rolling(s *site) {
	for i := range 2 {
		s.up(fmt.Sprintf("new-%d", i+1))
		s.serves("", fmt.Sprintf("new-%d", i+1)) // as an orchestrator's min_healthy_time sees to
		s.out(fmt.Sprintf("old-%d", i+1))
	}
	s.answers("", "new-1", "new-2")
}

func blueGreen(s *site) {
	s.up("green-1")
	s.up("green-2")
	s.out("blue-1") // at once: lictor has not heard of the green ones yet
	s.out("blue-2")
	s.answers("", "green-1", "green-2")
}

func canaries(s *site) {
	s.load(http.MethodGet, "/early", 4)
	canary := withMeta(map[string]string{"lictor-canary": "true"})
	s.up("canary-1", canary)
	s.answers("/early", "canary-1")
	s.answers("", "old-1", "old-2")
	s.instances["canary-1"].end(s.t, syscall.SIGKILL)
	s.answers("/early", "old-1", "old-2")
	s.deregister("canary-1")
	s.up("canary-2", canary)
	s.answers("/early", "canary-2")
	s.register("canary-2") // promoted
	s.serves("", "canary-2")
	s.out("old-1")
	s.out("old-2")
	s.answers("", "canary-2")
}

func replaced(s *site) {
	s.out("old")
	s.up("new")
	s.answers("", "new")
}

func drained(s *site) {
	s.load(http.MethodPost, "", 4)
	for _, name := range []string{"a", "b"} {
		others := []string{"a", "b"}
		others = slices.DeleteFunc(others, func(o string) bool { return o == name })
		slow := make(chan error, 4)
		for range cap(slow) { // some of them at the instance
			go func() { slow <- s.slow() }()
		}
		if err := s.c.Client.Agent().EnableServiceMaintenance("shop-"+name, "deployment"); err != nil {
			s.t.Fatal(err)
		}
		s.answers("", others...)
		i := s.instances[name]
		i.end(s.t, syscall.SIGTERM)
		for range cap(slow) {
			if err := <-slow; err != nil {
				s.t.Errorf("a request that was under way: %v", err)
			}
		}
		i.start(s.t)
		if err := s.c.Client.Agent().DisableServiceMaintenance("shop-" + name); err != nil {
			s.t.Fatal(err)
		}
		s.answers("", "a", "b")
	}
}

func crashed(s *site) {
	for range 2 {
		for _, name := range slices.Sorted(maps.Keys(s.instances)) {
			i := s.instances[name]
			i.end(s.t, syscall.SIGKILL)
			i.start(s.t)
			s.serves("", name)
			s.settle() // what broke off is sent once more, and not a third time
		}
	}
}

func moved(s *site) {
	old := s.instances["a"]
	s.instances["a"] = startInstance(s.t, "a", "127.0.0.1")
	s.register("a")
	old.end(s.t, syscall.SIGTERM)
	s.serves("", "a")
}

func nodeLost(s *site) {
	far := startConsul(s.t, joining(s.t, s.c))
	lost := startInstance(s.t, "lost", "127.0.0.3")
	register(s.t, far, "shop", "shop-lost", lost.addr, ttlCheck("passing"))
	s.answers("", "a", "lost")
	far.Kill(s.t)
	heal := blackHole(s.t, "127.0.0.3")
	defer heal()
	s.loads[0].lasts(s.t, 5*time.Second) // longer than it takes to find the connections dead
	s.up("new")
	s.answers("", "a", "new")
}

// site is a lictor, a Consul that tells it late, the instances of the service shop
// and the load on them.
type site struct {
	t         *testing.T
	c         *consulAgent
	p         *lictorProcess
	meta      map[string]string
	instances map[string]*instance
	loads     []*load
}

func newSite(t *testing.T, meta map[string]string, names ...string) *site {
	t.Helper()
	s := &site{t: t, c: startConsul(t), meta: meta, instances: make(map[string]*instance)}
	late := &consulAgent{Addr: tellLate(t, s.c.Addr)}
	for _, name := range names {
		s.up(name)
	}
	s.p = startLictor(t, lictorConfig{Rest: consulConfig(late, "") + `
middleware "early" {
  match {
    paths = ["/shop/early"]
  }
  route {
    canary = true
  }
}
`})
	s.answers("", names...)
	s.load(http.MethodGet, "", 8)
	return s
}

// tellLate is a way to the agent at addr by which everything about services comes late.
func tellLate(t *testing.T, addr string) string {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	proxy.ModifyResponse = func(r *http.Response) error {
		if !strings.HasPrefix(r.Request.URL.Path, "/v1/health/") && !strings.HasPrefix(r.Request.URL.Path, "/v1/catalog/") {
			return nil
		}
		select {
		case <-time.After(noticeAfter):
		case <-r.Request.Context().Done():
		}
		return nil
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(func() { // Close would wait for queries that block
		s.Listener.Close()
		s.CloseClientConnections()
	})
	return s.Listener.Addr().String()
}

// settle waits until all that is asked is answered, and begins anew.
func (s *site) settle() {
	s.t.Helper()
	for i, l := range s.loads {
		l.stop(s.t)
		l = startLoadOf(l.method, l.url, l.clients)
		s.loads[i] = l
		eventually(s.t, soon, "there are answers again", func() error {
			if l.answers.Load() == 0 {
				return errors.New("none")
			}
			return nil
		})
	}
}

// load asks for the path of the service until the way to deploy is over.
func (s *site) load(method, path string, clients int) {
	s.loads = append(s.loads, startLoadOf(method, "http://"+s.p.Gateway+"/shop"+path, clients))
}

// up starts an instance, and registers it.
func (s *site) up(name string, opts ...registerOption) {
	s.t.Helper()
	s.instances[name] = startInstance(s.t, name, "127.0.0.1")
	s.register(name, opts...)
}

func (s *site) register(name string, opts ...registerOption) {
	s.t.Helper()
	register(s.t, s.c, "shop", "shop-"+name, s.instances[name].addr, append([]registerOption{withMeta(s.meta), ttlCheck(api.HealthPassing)}, opts...)...)
}

func (s *site) deregister(name string) {
	s.t.Helper()
	deregister(s.t, s.c, "shop-"+name)
	delete(s.instances, name)
}

// out takes an instance out of Consul and ends it at once, as most orchestrators do.
func (s *site) out(name string) {
	s.t.Helper()
	i := s.instances[name]
	s.deregister(name)
	i.end(s.t, syscall.SIGTERM)
}

// serves waits until an instance answers, whoever else does.
func (s *site) serves(path, name string) {
	s.t.Helper()
	eventually(s.t, time.Minute, name+" answers", func() error {
		if got := s.who(path); !slices.Contains(got, name) {
			return fmt.Errorf("answers from %q", got)
		}
		return nil
	})
}

// answers waits until just these instances answer.
func (s *site) answers(path string, names ...string) {
	s.t.Helper()
	eventually(s.t, time.Minute, fmt.Sprintf("answers from %q", names), func() error {
		if got := s.who(path); !slices.Equal(got, names) {
			return fmt.Errorf("answers from %q", got)
		}
		return nil
	})
}

// who are those that answer some requests.
func (s *site) who(path string) []string {
	got := make(map[string]bool)
	for range 16 {
		_, body := fetch(s.t, "http://"+s.p.Gateway+"/shop"+path)
		got[body] = true
	}
	return slices.Sorted(maps.Keys(got))
}

// slow asks for what takes its time.
func (s *site) slow() error {
	resp, err := http.Post("http://"+s.p.Gateway+"/shop/slow", "text/plain", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
	return nil
}

// instance is an instance of the service as a process of its own.
type instance struct {
	name, addr string
	cmd        *exec.Cmd
}

// startInstance starts an instance at a free port of host.
func startInstance(t *testing.T, name, host string) *instance {
	t.Helper()
	i := &instance{name: name, addr: fmt.Sprintf("%s:%d", host, freePort(t))}
	t.Cleanup(func() { i.end(t, syscall.SIGKILL) })
	i.start(t)
	return i
}

// start begins the process, and waits until it takes connections.
func (i *instance) start(t *testing.T) {
	t.Helper()
	i.cmd = exec.Command(os.Args[0])
	i.cmd.Env = append(os.Environ(), deployedEnv+"="+i.name+" "+i.addr)
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, i.name+" takes connections", func() error {
		c, err := net.Dial("tcp", i.addr)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// end ends the process by a signal, and waits for its end.
func (i *instance) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if i.cmd == nil {
		return
	}
	if err := i.cmd.Process.Signal(signal); err != nil {
		t.Errorf("%s: %v", i.name, err)
	}
	_ = i.cmd.Wait() // by the signal
	i.cmd = nil
}

// serveInstance is the process of an instance: it answers with its name, and at
// SIGTERM it ends what it has begun.
func serveInstance(name, addr string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(2 * noticeAfter)
		io.WriteString(w, name)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
	srv := &http.Server{Addr: addr, Handler: mux}
	done := make(chan error, 1)
	go func() { done <- srv.ListenAndServe() }()
	select {
	case err := <-done:
		fmt.Fprintln(os.Stderr, name, err)
		os.Exit(1)
	case <-ctx.Done():
		_ = srv.Shutdown(context.Background()) // which has all the time it wants
	}
}
