//go:build integration

package integration_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lictor/app/listener/certtest"
)

// The tests of this file run once more in a network namespace of their own, as
// a program that finds these in its environment.
const (
	inNamespace   = "LICTOR_TEST_NAMESPACE"
	builtBinary   = "LICTOR_TEST_BINARY"
	instanceAtEnv = "LICTOR_TEST_INSTANCE"
)

// alone reports whether the test is in a namespace of its own; where it is not
// it runs there and is over here.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		command(t, "ip", "link", "set", "lo", "up")
		return true
	}
	bin, err := lictorBinary()
	if err != nil {
		t.Fatal(err)
	}
	only := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command("unshare", "-n", "--", os.Args[0], "-test.run", only, "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1", builtBinary+"="+bin)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("in a namespace: %v\n%s", err, out)
	}
	return false
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// blackHole drops all packets to and from addr, until the result is called.
func blackHole(t *testing.T, addr string) (end func()) {
	t.Helper()
	command(t, "nft", "add table inet hole; add chain inet hole in { type filter hook input priority 0; }; "+
		"add rule inet hole in ip daddr "+addr+" drop; add rule inet hole in ip saddr "+addr+" drop")
	return func() { command(t, "nft", "delete table inet hole") }
}

// arrivals counts requests by their path.
type arrivals struct {
	mu    sync.Mutex
	times map[string]int
	all   atomic.Int64
}

func (a *arrivals) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		c, rw, _ := http.NewResponseController(w).Hijack()
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(c, rw)
		return
	}
	io.Copy(io.Discard, r.Body)
	a.all.Add(1)
	a.mu.Lock()
	a.times[r.Method+" "+r.URL.Path]++
	a.mu.Unlock()
	io.WriteString(w, "ok")
}

// outcome is what a request came to.
type outcome struct {
	method string
	status int
	took   time.Duration
}

// askUntil sends GET and POST requests, each to a path of its own, until ctx ends.
func askUntil(ctx context.Context, base, contentType string, clients int) []outcome {
	var mu sync.Mutex
	var all []outcome
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			pace := time.Tick(2 * time.Millisecond)
			for k := 0; ctx.Err() == nil; k++ {
				method, body := "GET", ""
				if k%3 == 2 {
					method, body = "POST", "some words"
				}
				req, _ := http.NewRequest(method, fmt.Sprintf("%s/%d-%d", base, i, k), strings.NewReader(body))
				req.Header.Set("Content-Type", contentType)
				o := outcome{method: method}
				began := time.Now()
				if resp, err := client.Do(req); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					o.status = resp.StatusCode
				}
				o.took = time.Since(began)
				mu.Lock()
				all = append(all, o)
				mu.Unlock()
				<-pace
			}
		})
	}
	wg.Wait()
	return all
}

// startBesideTwo starts a lictor with two instances, each at an address of its own, and
// returns their addresses as well.
func startBesideTwo(t *testing.T, ca *certtest.CA, scheme string, serve func(i int, w http.ResponseWriter, r *http.Request)) (p *lictorProcess, addrs []string) {
	t.Helper()
	cert := ca.Issue(t, "backend.test")
	var urls []string
	for i, ip := range []string{"127.0.0.2", "127.0.0.3"} {
		l, err := net.Listen("tcp", ip+":0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Protocols: new(http.Protocols), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(i, w, r) })}
		s.Protocols.SetHTTP1(true)
		s.Protocols.SetUnencryptedHTTP2(true)
		if scheme == "https" {
			go s.ServeTLS(l, "", "")
		} else {
			go s.Serve(l)
		}
		t.Cleanup(func() { s.Close() })
		addrs = append(addrs, l.Addr().String())
		urls = append(urls, scheme+"://"+l.Addr().String())
	}
	p = startLictor(t, lictorConfig{Rest: "policy {\n  store = \"memory\"\n}\n" + staticConfig("svc", urls...) +
		"dispatch \"http\" {\n  upstream_tls {\n    ca_file = \"" + ca.WriteCA(t, t.TempDir()) + "\"\n    server_name = \"backend.test\"\n  }\n}\n"})
	p.Ready(t)
	return p, addrs
}

// waysToVanish are the ways that a request goes to an instance; the type of its content chooses HTTP/2.
var waysToVanish = []struct{ name, scheme, contentType string }{
	{"over HTTP 1.1", "http", "text/plain"},
	{"over HTTP 2", "http", "application/grpc"},
	{"over TLS", "https", "text/plain"},
}

// TestInstanceThatVanishes has one of two instances disappear without a word
// while requests run: no safe one fails, as one that waits for it would, and none
// that acts is sent twice.
func TestInstanceThatVanishes(t *testing.T) {
	together(t)
	ca := certtest.NewCA(t)
	for _, tt := range waysToVanish {
		t.Run(tt.name, func(t *testing.T) {
			beside(t)
			if !alone(t) {
				return
			}
			counts := &arrivals{times: make(map[string]int)}
			var per [2]atomic.Int64
			p, _ := startBesideTwo(t, ca, tt.scheme, func(i int, w http.ResponseWriter, r *http.Request) { per[i].Add(1); counts.serve(w, r) })
			var tunnels []net.Conn
			if tt.scheme == "http" {
				for range 2 { // one to each
					c, err := net.Dial("tcp", p.Gateway)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					io.WriteString(c, "GET /svc/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
					if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 101 {
						t.Fatalf("no tunnel: %v", err)
					}
					tunnels = append(tunnels, c)
				}
			}
			ctx, stop := context.WithTimeout(t.Context(), 8*time.Second)
			defer stop()
			var heal func()
			time.AfterFunc(time.Second, func() { heal = blackHole(t, "127.0.0.2") })
			all := askUntil(ctx, "http://"+p.Gateway+"/svc", tt.contentType, 8)
			failed, slowest := 0, time.Duration(0)
			for _, o := range all {
				slowest = max(slowest, o.took)
				switch {
				case o.method == "GET" && o.status != 200:
					t.Errorf("a GET got %d after %s", o.status, o.took)
				case o.status != 200:
					failed++
				}
			}
			t.Logf("%d requests, the slowest took %s", len(all), slowest) // 2 s of connect_timeout and a bit
			if len(all) < 500 || failed > 8 {
				t.Errorf("of %d requests %d POSTs failed", len(all), failed)
			}
			for what, n := range counts.times {
				if n > 1 && strings.HasPrefix(what, "POST") {
					t.Errorf("%s came %d times", what, n)
				}
			}
			if !strings.Contains(p.Log(), "instance is ejected") {
				t.Error("the log does not tell of the ejection")
			}
			heal()
			for _, c := range tunnels { // both were quiet all along
				c.SetDeadline(time.Now().Add(10 * time.Second))
				io.WriteString(c, "still there")
				if got, err := io.ReadAll(io.LimitReader(c, 11)); string(got) != "still there" {
					t.Errorf("a quiet tunnel: %q %v", got, err)
				}
			}
			was := per[0].Load()
			eventually(t, 60*time.Second, "it is back", func() error {
				resp, err := http.Get("http://" + p.Gateway + "/svc/")
				if err != nil {
					return err
				}
				resp.Body.Close()
				if per[0].Load() == was {
					return fmt.Errorf("it got no request")
				}
				return nil
			})
		})
	}
}

// TestInstanceThatVanishesWithARequest has an instance disappear that acknowledged a
// request and did not answer it: nothing is on its way that would not be acknowledged, but
// the request does not wait out its time, and another instance answers it.
func TestInstanceThatVanishesWithARequest(t *testing.T) {
	together(t)
	ca := certtest.NewCA(t)
	for _, tt := range waysToVanish {
		t.Run(tt.name, func(t *testing.T) {
			beside(t)
			if !alone(t) {
				return
			}
			came, end := make(chan int, 1), make(chan struct{})
			defer close(end)
			var held atomic.Bool // the first request
			p, addrs := startBesideTwo(t, ca, tt.scheme, func(i int, w http.ResponseWriter, _ *http.Request) {
				if held.CompareAndSwap(false, true) {
					came <- i
					<-end
				}
				io.WriteString(w, "ok")
			})
			heal := make(chan func(), 1)
			go func() {
				i := <-came
				for !acknowledged(addrs[i]) {
					time.Sleep(5 * time.Millisecond)
				}
				host, _, _ := net.SplitHostPort(addrs[i])
				heal <- blackHole(t, host)
			}()
			req, _ := http.NewRequest("GET", "http://"+p.Gateway+"/svc/", nil)
			req.Header.Set("Content-Type", tt.contentType)
			began := time.Now()
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if took := time.Since(began); string(body) != "ok" || took > 10*time.Second {
				t.Errorf("got %d %q after %s, want what the other instance says, before its time is over", resp.StatusCode, body, took)
			}
			(<-heal)()
		})
	}
}

// acknowledged reports whether all that was sent to addr, of IPv4, by whatever process of
// the namespace, was acknowledged.
func acknowledged(addr string) bool {
	at := netip.MustParseAddrPort(addr)
	ip := at.Addr().As4()
	to := fmt.Sprintf(" %02X%02X%02X%02X:%04X 01 ", ip[3], ip[2], ip[1], ip[0], at.Port()) // established
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(table)) {
		if _, rest, ok := strings.Cut(line, to); ok && !strings.HasPrefix(rest, "00000000:") {
			return false
		}
	}
	return true
}

// TestInstanceThatIsStopped stops the process of one of two instances, whose
// kernel goes on acknowledging: it looks slow, costs what the time limit says
// to those that it has, and is set aside then.
func TestInstanceThatIsStopped(t *testing.T) {
	together(t)
	if at := os.Getenv(instanceAtEnv); at != "" {
		counts := &arrivals{times: make(map[string]int)}
		http.ListenAndServe(at, http.HandlerFunc(counts.serve))
		return
	}
	var urls []string
	var first *exec.Cmd
	for range 2 {
		at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		cmd := exec.Command(os.Args[0], "-test.run", "^TestInstanceThatIsStopped$")
		cmd.Env = append(os.Environ(), instanceAtEnv+"="+at)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		eventually(t, soon, "the instance answers", func() error {
			c, err := net.Dial("tcp", at)
			if err == nil {
				c.Close()
			}
			return err
		})
		urls = append(urls, "http://"+at)
		if first == nil {
			first = cmd
		}
	}
	p := startLictor(t, lictorConfig{Gateway: `timeout = "2s"`, Rest: "policy {\n  store = \"memory\"\n}\n" + staticConfig("svc", urls...) +
		"dispatch \"http\" {\n  connect_timeout = \"1s\"\n}\n"})
	p.Ready(t)
	phase := func(d time.Duration) []outcome {
		ctx, stop := context.WithTimeout(t.Context(), d)
		defer stop()
		return askUntil(ctx, "http://"+p.Gateway+"/svc", "text/plain", 4)
	}
	for _, o := range phase(time.Second) {
		if o.status != 200 {
			t.Errorf("before, a %s got %d", o.method, o.status)
		}
	}
	first.Process.Signal(syscall.SIGSTOP)
	eventually(t, soon, "it is set aside", func() error {
		phase(time.Second) // those that it has wait out their time
		return logged(p, "it answers nothing")
	})
	for _, o := range phase(4 * time.Second) {
		if o.status != 200 {
			t.Errorf("with it set aside, a %s got %d after %s", o.method, o.status, o.took)
		}
	}
	first.Process.Signal(syscall.SIGCONT)
	eventually(t, 60*time.Second, "it is back", func() error {
		if !strings.Contains(p.Log(), "instance is back") {
			return fmt.Errorf("the log does not say so")
		}
		return nil
	})
}
