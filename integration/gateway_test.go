//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load asks for a path again and again, on several connections, until stop is
// called, and keeps what was answered.
type load struct {
	method, url string
	clients     int

	quit chan struct{}
	wg   sync.WaitGroup

	answers atomic.Int64
	mu      sync.Mutex // guards bad
	bad     []string   // the first few answers other than 200
}

func startLoad(url string, clients int) *load { return startLoadOf(http.MethodGet, url, clients) }

func startLoadOf(method, url string, clients int) *load {
	l := &load{method: method, url: url, clients: clients, quit: make(chan struct{})}
	for range clients {
		l.wg.Go(l.run)
	}
	return l
}

func (l *load) run() {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	pace := time.Tick(10 * time.Millisecond) // of what fails
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		if err := l.once(client); err != nil {
			l.mu.Lock()
			if len(l.bad) < 5 {
				l.bad = append(l.bad, time.Now().Format("15:04:05.000 ")+err.Error())
			}
			l.mu.Unlock()
			<-pace
		}
		l.answers.Add(1)
	}
}

func (l *load) once(client *http.Client) error {
	req, err := http.NewRequest(l.method, l.url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 {
		return fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return nil
}

// whole reports as an error if an answer was none of 200.
func (l *load) whole() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.bad) > 0 {
		return fmt.Errorf("of %d requests these failed, at least:\n%s", l.answers.Load(), strings.Join(l.bad, "\n"))
	}
	return nil
}

// lasts goes on with the load for a while.
func (l *load) lasts(t *testing.T, while time.Duration) {
	t.Helper()
	holds(t, while, "no request is lost", l.whole)
}

// stop ends the load; every answer must have been a 200.
func (l *load) stop(t *testing.T) {
	t.Helper()
	close(l.quit)
	l.wg.Wait()
	if err := l.whole(); err != nil {
		t.Error(err)
	}
	if l.answers.Load() == 0 {
		t.Error("no request was sent")
	}
}

// reason is the reason in an error body.
func reason(body string) string {
	var e struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal([]byte(body), &e) // "" says that it is none
	return e.Reason
}

// X4, D3: 503 for what is unknown, unhealthy and refusing.
func TestUnavailableServices(t *testing.T) {
	together(t)
	c := startConsul(t)
	up := startBackend(t, "up")
	register(t, c, "shop", "shop-1", up.Addr)
	register(t, c, "sick", "sick-1", up.Addr, ttlCheck("critical"))
	setCheck(t, c, "sick-1", "critical") // with an output: it has run
	register(t, c, "refusing", "refusing-1", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "")})
	p.Ready(t)
	tests := []struct {
		path   string
		status int
		reason string
	}{
		{"/shop/x", 200, ""},
		{"/nosuch/x", 503, "unknown_service"},
		{"/consul/x", 503, "unknown_service"}, // hidden by default
		{"/lictor/x", 503, "unknown_service"}, // lictor's own
		{"/sick/x", 503, "no_healthy_instance"},
		{"/refusing/x", 503, "unreachable"},
		{"/", 404, "no_service"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			eventually(t, soon, tt.path, func() error {
				status, body := fetch(t, "http://"+p.Gateway+tt.path)
				if status != tt.status || reason(body) != tt.reason {
					return fmt.Errorf("got %d %s, want %d %s", status, body, tt.status, tt.reason)
				}
				return nil
			})
		})
	}
}

// D8: a failing check takes an instance out, and back, within 2 s.
func TestCheckTakesInstanceOutAndBack(t *testing.T) {
	together(t)
	c := startConsul(t)
	one, two := startBackend(t, "one"), startBackend(t, "two")
	register(t, c, "shop", "shop-1", one.Addr, httpCheck(one.URL+"/health", "200ms"))
	register(t, c, "shop", "shop-2", two.Addr, httpCheck(two.URL+"/health", "200ms"))
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "")})
	answersFrom(t, p, soon, "one", "two")
	l := startLoad("http://"+p.Gateway+"/shop/x", 4)
	one.SetHealth(500)
	answersFrom(t, p, soon, "two")
	one.SetHealth(200)
	answersFrom(t, p, soon, "one", "two")
	l.stop(t)
}

// answersFrom waits until requests are answered by just these instances.
func answersFrom(t *testing.T, p *lictorProcess, limit time.Duration, names ...string) {
	t.Helper()
	want := fmt.Sprint(names)
	eventually(t, limit, "answers from "+want, func() error {
		got := map[string]bool{}
		for range 8 {
			status, body := fetch(t, "http://"+p.Gateway+"/shop/x")
			if status != 200 {
				return fmt.Errorf("%d %s", status, body)
			}
			got[body] = true
		}
		var list []string
		for _, n := range []string{"one", "two"} {
			if got[n] {
				list = append(list, n)
			}
		}
		if fmt.Sprint(list) != want {
			return fmt.Errorf("answers from %v", list)
		}
		return nil
	})
}

// D8: deregistering one of two instances under load loses not one request.
func TestDeregisterUnderLoad(t *testing.T) {
	together(t)
	c := startConsul(t)
	one, two := startBackend(t, "one"), startBackend(t, "two")
	register(t, c, "shop", "shop-1", one.Addr)
	register(t, c, "shop", "shop-2", two.Addr)
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "")})
	answersFrom(t, p, soon, "one", "two")
	l := startLoad("http://"+p.Gateway+"/shop/x", 8)
	for range 3 {
		deregister(t, c, "shop-1")
		answersFrom(t, p, soon, "two")
		register(t, c, "shop", "shop-1", one.Addr)
		answersFrom(t, p, soon, "one", "two")
	}
	l.stop(t)
}

// X6: ten seconds without Consul cost not one request.
func TestConsulAwayUnderLoad(t *testing.T) {
	together(t)
	c := startConsul(t, persistent(t))
	one, two := startBackend(t, "one"), startBackend(t, "two")
	register(t, c, "shop", "shop-1", one.Addr, httpCheck(one.URL+"/health", "1s"))
	register(t, c, "shop", "shop-2", two.Addr, httpCheck(two.URL+"/health", "1s"))
	p := startLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: consulConfig(c, "")})
	answersFrom(t, p, soon, "one", "two")
	l := startLoad("http://"+p.Gateway+"/shop/x", 8)
	c.Kill(t)
	l.lasts(t, 10*time.Second)
	c.Start(t)
	l.lasts(t, 8*time.Second)
	l.stop(t)
	if status, body := fetch(t, "http://"+p.Admin+"/status"); status != 200 || !strings.Contains(body, `"shop-1"`) && !strings.Contains(body, "shop-1") {
		t.Errorf("status: %d %s", status, body)
	}
}

// D8: a Consul that comes back empty, with the services registered again 8 s
// later, costs not one request.
func TestEmptyConsulUnderLoad(t *testing.T) {
	together(t)
	c := startConsul(t)
	one, two := startBackend(t, "one"), startBackend(t, "two")
	enrol := func() {
		register(t, c, "shop", "shop-1", one.Addr, httpCheck(one.URL+"/health", "1s"))
		register(t, c, "shop", "shop-2", two.Addr, httpCheck(two.URL+"/health", "1s"))
	}
	enrol()
	p := startLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: consulConfig(c, "")})
	answersFrom(t, p, soon, "one", "two")
	l := startLoad("http://"+p.Gateway+"/shop/x", 8)
	c.Kill(t)
	c.Start(t)
	l.lasts(t, 8*time.Second)
	enrol()
	l.lasts(t, 10*time.Second)
	l.stop(t)
}

// X6: lictor starts before Consul and catches up when it comes.
func TestStartBeforeConsul(t *testing.T) {
	together(t)
	c := startConsul(t, persistent(t))
	one := startBackend(t, "one")
	register(t, c, "shop", "shop-1", one.Addr)
	c.Kill(t)
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "")})
	if status, body := fetch(t, "http://"+p.Admin+"/readyz"); status != 503 {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, body := fetch(t, "http://"+p.Gateway+"/shop/x"); status != 503 || reason(body) != "policy_unavailable" {
		t.Errorf("before Consul: %d %s", status, body)
	}
	c.Start(t)
	answersFrom(t, p, 45*time.Second, "one")
}

// X6: restarted while Consul is away, lictor serves within a second from what
// it kept, and says so.
func TestColdStartWithoutConsul(t *testing.T) {
	together(t)
	c := startConsul(t)
	one := startBackend(t, "one")
	register(t, c, "shop", "shop-1", one.Addr)
	dir := t.TempDir()
	p := startLictor(t, lictorConfig{DataDir: dir, Rest: consulConfig(c, "")})
	answersFrom(t, p, soon, "one")
	eventually(t, soon, "the service is kept", func() error {
		text, err := os.ReadFile(filepath.Join(dir, "catalog-consul.json"))
		if err == nil && !strings.Contains(string(text), "shop-1") {
			err = fmt.Errorf("not in %s", text)
		}
		return err
	})
	p.Stop(t)
	c.Kill(t)
	p.Start(t)
	answersFrom(t, p, time.Second, "one")
	_, body := fetch(t, "http://"+p.Admin+"/status")
	var st struct {
		Resolvers []struct {
			Snapshot   bool     `json:"snapshot"`
			AgeSeconds *float64 `json:"age_seconds"`
		} `json:"resolvers"`
		Policy struct {
			LastGood bool `json:"last_good"`
		} `json:"policy"`
	}
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatal(err)
	}
	if !st.Resolvers[0].Snapshot || st.Resolvers[0].AgeSeconds == nil || !st.Policy.LastGood {
		t.Errorf("status does not say that a snapshot is in use: %s", body)
	}
}

// D8: an agent that was just restarted, and one that comes back behind a live
// server to a node marked dead, cost no request.
func TestAgentRestartUnderLoad(t *testing.T) {
	together(t)
	server := startConsul(t, persistent(t))
	c := startConsul(t, joining(t, server))
	one := startBackend(t, "one")
	register(t, c, "shop", "shop-1", one.Addr, httpCheck(one.URL+"/health", "3s"))
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "")})
	answersFrom(t, p, soon, "one")
	l := startLoad("http://"+p.Gateway+"/shop/x", 4)
	c.Kill(t)
	l.lasts(t, 12*time.Second) // long enough for serfHealth to be critical
	c.Start(t)
	l.lasts(t, 8*time.Second)
	c.Kill(t) // at once: its checks have not run when it answers again
	c.Start(t)
	l.lasts(t, 6*time.Second)
	l.stop(t)
}
