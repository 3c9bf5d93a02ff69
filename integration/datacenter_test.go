//go:build integration

package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"lictor/admin/api"
)

// mortal is an instance that ends as its host does, and comes back where it was.
type mortal struct {
	Addr string // host:port

	name   string
	server *http.Server
}

func startMortal(t *testing.T, name string) *mortal {
	t.Helper()
	m := &mortal{Addr: fmt.Sprintf("127.0.0.1:%d", freePort(t)), name: name}
	m.Start(t)
	t.Cleanup(m.Kill)
	return m
}

func (m *mortal) Start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", m.Addr)
	if err != nil {
		t.Fatal(err)
	}
	m.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, m.name) })}
	go m.server.Serve(l) //nolint:errcheck // always ErrServerClosed
}

// Kill closes its sockets, whatever it is doing.
func (m *mortal) Kill() { m.server.Close() }

// traffic asks a gateway for a path again and again, as several clients.
type traffic struct {
	quit chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex     // guards what follows
	by     map[string]int // answers, by what they say
	failed []string
	last   string // answer
}

func startTraffic(t *testing.T, gateway, path string) *traffic {
	t.Helper()
	l := &traffic{quit: make(chan struct{}), by: make(map[string]int)}
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	asker := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	for range 4 {
		l.wg.Go(func() {
			for {
				select {
				case <-l.quit:
					return
				default:
					l.note(askText(asker, "http://"+gateway+path))
				}
			}
		})
	}
	t.Cleanup(func() { l.stop(); transport.CloseIdleConnections() })
	return l
}

func askText(asker *http.Client, url string) (string, error) {
	resp, err := asker.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s", resp.Status, body)
	}
	return string(body), err
}

func (l *traffic) note(body string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, err.Error())
		return
	}
	l.by[body]++
	l.last = body
}

// answeredBy is how many answers there were of each instance, and which came last.
func (l *traffic) answeredBy(name string) (n int, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[name], l.last == name
}

func (l *traffic) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
}

// lost ends the load and wants no request to have failed.
func (l *traffic) lost(t *testing.T) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	if len(l.failed) > 0 {
		t.Errorf("%d requests failed, the first by %s; answered: %v", len(l.failed), l.failed[0], l.by)
	}
	t.Logf("answered: %v", l.by)
}

// Status is what /status tells.
func (p *lictorProcess) Status(t *testing.T) *api.Status {
	t.Helper()
	_, body := fetch(t, "http://"+p.Admin+"/status")
	st := new(api.Status)
	if err := json.Unmarshal([]byte(body), st); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return st
}

// resolverStatus is what a status tells of the resolver called kind.
func resolverStatus(t *testing.T, st *api.Status, kind string) api.ResolverStatus {
	t.Helper()
	for _, r := range st.Resolvers {
		if r.Kind == kind {
			return r
		}
	}
	t.Fatalf("there is no resolver %q: %+v", kind, st.Resolvers)
	return api.ResolverStatus{}
}

// federation is two datacenters joined by WAN, and a lictor at the agent of the
// first, whose home is the second.
type federation struct {
	near, far *consulAgent
	lictor    *lictorProcess
}

func startFederation(t *testing.T, far string) *federation {
	t.Helper()
	f := &federation{near: startConsul(t, persistent(t), inDatacenter("dc1"))}
	f.far = startConsul(t, persistent(t), inDatacenter("dc2", f.near))
	f.joined(t)
	f.lictor = newLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: fmt.Sprintf("consul {\n  address = %q\n}\n"+
		"resolver \"consul\" {\n  datacenter = \"dc2\"\n%s\n}\nresolver \"consul\" {\n}\n", f.near.Addr, far)})
	return f
}

// joined waits until the agent of the first datacenter answers for the second.
func (f *federation) joined(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "the datacenters are joined", func() error {
		resp, err := http.Get("http://" + f.near.Addr + "/v1/catalog/services?dc=dc2")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// answeredSoon waits until the latest answer is by name.
func (l *traffic) answeredSoon(t *testing.T, limit time.Duration, name string) {
	t.Helper()
	before, _ := l.answeredBy(name)
	eventually(t, limit, name+" answers", func() error {
		if n, last := l.answeredBy(name); n > before && last {
			return nil
		}
		return errors.New("it does not")
	})
}

// TestADatacenterThatDiesLosesNoRequest: K4. The servers and instances of the
// datacenter that serves a gateway end at one stroke, and come back.
func TestADatacenterThatDiesLosesNoRequest(t *testing.T) {
	together(t)
	f := startFederation(t, "")
	home, other := startMortal(t, "dc2"), startMortal(t, "dc1")
	register(t, f.far, "shop", "shop-far", home.Addr)
	register(t, f.near, "shop", "shop-near", other.Addr)
	f.lictor.Start(t)
	f.lictor.Ready(t)
	l := startTraffic(t, f.lictor.Gateway, "/shop/")
	l.answeredSoon(t, soon, "dc2")
	for round := range 2 {
		f.far.Kill(t)
		home.Kill()
		l.answeredSoon(t, soon, "dc1")
		eventually(t, 2*soon, "the status tells of the datacenter, and only of it", func() error {
			st := f.lictor.Status(t)
			far, near := resolverStatus(t, st, "consul dc2"), resolverStatus(t, st, "consul")
			if far.Error == "" || near.Error != "" || near.AgeSeconds == nil || *near.AgeSeconds > 10 || !strings.Contains(strings.Join(st.Problems, "\n"), "another resolver serves it") {
				return fmt.Errorf("far %+v, near %+v, %q", far, near, st.Problems)
			}
			return nil
		})
		home.Start(t)
		began := time.Now()
		l.answeredSoon(t, soon, "dc2")
		if took := time.Since(began); took > time.Second {
			t.Errorf("round %d: requests were home after %v, want a second at most", round, took)
		}
		f.far.Start(t)
		f.joined(t)
		register(t, f.far, fmt.Sprint("new-", round), "new", home.Addr)
		eventually(t, soon, "what the datacenter says counts again", func() error {
			if code, body := fetch(t, "http://"+f.lictor.Gateway+fmt.Sprint("/new-", round, "/")); code != http.StatusOK {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
	}
	l.lost(t)
}

// TestADatacenterBehindAPartition: its servers are not heard any more, and it is
// another's turn when what is known of it is too old; then they are heard again.
func TestADatacenterBehindAPartition(t *testing.T) {
	together(t)
	f := startFederation(t, `  max_stale = "5s"`)
	home, other, only := startMortal(t, "dc2"), startMortal(t, "dc1"), startMortal(t, "only")
	register(t, f.far, "shop", "shop-far", home.Addr)
	register(t, f.near, "shop", "shop-near", other.Addr)
	register(t, f.near, "only", "only-near", only.Addr)
	f.lictor.Start(t)
	f.lictor.Ready(t)
	l, also := startTraffic(t, f.lictor.Gateway, "/shop/"), startTraffic(t, f.lictor.Gateway, "/only/")
	l.answeredSoon(t, soon, "dc2")

	f.far.Freeze(t)
	l.answeredSoon(t, 2*soon, "dc1")
	st := f.lictor.Status(t)
	if far, near := resolverStatus(t, st, "consul dc2"), resolverStatus(t, st, "consul"); *far.AgeSeconds < 5 || near.Error != "" || *near.AgeSeconds > 5 {
		t.Errorf("each has a staleness of its own: far %v s, near %v s, %q", *far.AgeSeconds, *near.AgeSeconds, near.Error)
	}
	f.far.Thaw(t)
	f.joined(t)
	began := time.Now()
	l.answeredSoon(t, soon, "dc2")
	if took := time.Since(began); took > time.Second {
		t.Errorf("requests were home after %v, want a second at most", took)
	}
	l.lost(t)
	also.lost(t)
}

// TestTheAgentsDatacenterBehindAPartition: the agent that lictor asks is not heard,
// for all datacenters; lictor begins anew meanwhile.
func TestTheAgentsDatacenterBehindAPartition(t *testing.T) {
	mostlyWaiting(t)
	f := startFederation(t, "")
	home, other, only := startMortal(t, "dc2"), startMortal(t, "dc1"), startMortal(t, "only")
	register(t, f.far, "shop", "shop-far", home.Addr)
	register(t, f.near, "shop", "shop-near", other.Addr)
	register(t, f.near, "only", "only-near", only.Addr)
	f.lictor.Start(t)
	f.lictor.Ready(t)
	l := startTraffic(t, f.lictor.Gateway, "/shop/")
	l.answeredSoon(t, soon, "dc2")
	if code, body := fetch(t, "http://"+f.lictor.Gateway+"/only/"); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	f.near.Freeze(t)
	eventually(t, 2*soon, "both are told to be away", func() error {
		st := f.lictor.Status(t)
		if far, near := resolverStatus(t, st, "consul dc2"), resolverStatus(t, st, "consul"); *far.AgeSeconds < 6 || *near.AgeSeconds < 6 {
			return fmt.Errorf("far %v s, near %v s", *far.AgeSeconds, *near.AgeSeconds)
		}
		return nil
	})
	l.answeredSoon(t, soon, "dc2")
	home.Kill()
	l.answeredSoon(t, soon, "dc1")
	l.lost(t)

	if status := f.lictor.Stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	f.lictor.Start(t)
	f.lictor.Ready(t)
	l = startTraffic(t, f.lictor.Gateway, "/shop/") // each block has a snapshot of its own
	l.answeredSoon(t, soon, "dc1")
	if code, body := fetch(t, "http://"+f.lictor.Gateway+"/only/"); code != http.StatusOK {
		t.Errorf("after a start without Consul: %d %s", code, body)
	}
	f.near.Thaw(t)
	home.Start(t)
	l.answeredSoon(t, soon, "dc2")
	eventually(t, 2*soon, "all is well", func() error {
		st := f.lictor.Status(t)
		if far, near := resolverStatus(t, st, "consul dc2"), resolverStatus(t, st, "consul"); far.Error+near.Error != "" || far.Snapshot || near.Snapshot {
			return fmt.Errorf("far %+v, near %+v", far, near)
		}
		return nil
	})
	l.lost(t)
	for _, name := range []string{"catalog-consul.json", "catalog-consul-dc-dc2.json"} {
		if _, err := os.Stat(f.lictor.cfg.DataDir + "/" + name); err != nil {
			t.Error(err)
		}
	}
}
