//go:build integration

package integration_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/app/telemetry/otlptest"
	"lictor/internal/trace"
)

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	clientSpan  = "b7ad6b7169203331"
)

// told is an instance that remembers the traceparent of each request, by its path.
type told struct {
	addr string
	mu   sync.Mutex
	all  map[string]string
}

func startTold(t *testing.T) *told {
	i := &told{all: make(map[string]string)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.all[r.URL.Path] = r.Header.Get("Traceparent")
		i.mu.Unlock()
		switch r.URL.Path {
		case "/fails":
			w.WriteHeader(http.StatusInternalServerError)
		case "/thinks":
			<-time.After(3100 * time.Millisecond)
		}
	}))
	t.Cleanup(s.Close)
	i.addr = s.Listener.Addr().String()
	return i
}

// of is what the instance was told of the request for a path.
func (i *told) of(t *testing.T, path string) trace.Context {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	c, ok := trace.Parse(i.all[path])
	if !ok {
		t.Errorf("for %s the instance was told %q", path, i.all[path])
	}
	return c
}

// TestTracesReachACollector has requests of a Consul's service refused, failed,
// retried and slow, and looks at a collector for their spans; then, after a SIGHUP,
// for those of ordinary ones.
func TestTracesReachACollector(t *testing.T) {
	together(t)
	c, r, here := startConsul(t), otlptest.New(t), startTold(t)
	register(t, c, "shop", "shop-1", here.addr)
	key := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(key, []byte("key-of-old\n"), 0o600))
	cfg := func(sample string) lictorConfig {
		return lictorConfig{Rest: consulConfig(c, "") + fmt.Sprintf(`
log_level = "debug"
telemetry {
  otlp_endpoint = %q
  headers       = { "X-Key" = file(%q) }
  sample        = %s
  slow          = "3s"
  service_name  = "edge"
}
resolver "static" {
  services = {
    collector = [%q]
  }
}
`, r.URL, key, sample, r.URL)}
	}
	p := startLictor(t, cfg("0"))
	p.Ready(t)
	url := "http://" + p.Gateway
	eventually(t, soon, "the service is known", func() error {
		if status, _ := fetch(t, url+"/shop/known", "traceparent", "00-"+clientTrace+"-"+clientSpan+"-01"); status != 200 {
			return fmt.Errorf("%d", status)
		}
		return nil
	})
	if c := here.of(t, "/known"); c.Sampled || c.Trace.String() != clientTrace || fmt.Sprintf("%x", c.Parent) == clientSpan {
		t.Errorf("a stranger's word counts: %+v", c)
	}
	// spans waits for those of one path and returns the request's and the attempts'.
	spans := func(what, path string, n int) (all []otlptest.Span) {
		t.Helper()
		eventually(t, soon, "the spans of "+what, func() error {
			all = nil
			for _, s := range r.Spans() {
				if s.Kind == "SERVER" && s.Attributes["url.path"] == path {
					all = append([]otlptest.Span{s}, all...)
					for _, a := range r.Of(s.Trace) {
						if a.Parent == s.ID {
							all = append(all, a)
						}
					}
					break
				}
			}
			if len(all) != n {
				return fmt.Errorf("there are %d: %+v", len(all), all)
			}
			return nil
		})
		return all
	}
	has := func(s otlptest.Span, name, kind string, wrong bool, attributes ...string) {
		t.Helper()
		if s.Name != name || s.Kind != kind || s.Error != wrong || s.Resource["service.name"] != "edge" {
			t.Errorf("got %+v, want %s %s", s, kind, name)
		}
		for i := 0; i < len(attributes); i += 2 {
			if s.Attributes[attributes[i]] != attributes[i+1] {
				t.Errorf("%s is %q, want %q", attributes[i], s.Attributes[attributes[i]], attributes[i+1])
			}
		}
	}

	fetch(t, url+"/made-up/x?key=secret")
	has(spans("a refusal", "/made-up/x", 1)[0], "GET", "SERVER", true, "error.type", "unknown_service", "http.response.status_code", "503", "lictor.kept", "refused")

	fetch(t, url+"/shop/fails?key=secret", "traceparent", "00-"+clientTrace+"-"+clientSpan+"-00", "tracestate", "a=1")
	all := spans("a failure", "/shop/fails", 2)
	has(all[0], "GET /shop", "SERVER", true, "error.type", "500", "http.route", "/shop", "server.address", "127.0.0.1", "lictor.service", "shop", "lictor.kept", "failed")
	has(all[1], "GET", "CLIENT", true, "error.type", "500", "url.full", "http://"+here.addr+"/fails", "http.request.resend_count", "")
	if c := here.of(t, "/fails"); all[0].Trace != clientTrace || all[0].Parent != clientSpan || fmt.Sprintf("%x", c.Parent) != all[1].ID || c.Sampled {
		t.Errorf("the instance was told %+v, the spans are %+v", c, all)
	}

	fetch(t, url+"/shop/thinks")
	has(spans("a slow one", "/shop/thinks", 2)[0], "GET /shop", "SERVER", false, "lictor.kept", "slow")

	register(t, c, "shop", "shop-2", "127.0.0.1:1")
	eventually(t, soon, "one is retried", func() error {
		fetch(t, url+"/shop/retried")
		if metric(t, p, `lictor_retries_total{service="shop"}`) == 0 {
			return fmt.Errorf("none was")
		}
		return nil
	})
	all = spans("one that was retried", "/shop/retried", 3)
	has(all[1], "GET", "CLIENT", true, "error.type", "unreachable", "server.address", "127.0.0.1")
	has(all[2], "GET", "CLIENT", false, "http.request.resend_count", "1", "http.response.status_code", "200")

	if n := len(r.Of(clientTrace)); n != 2 {
		t.Errorf("an ordinary request was kept: %d spans", n)
	}
	if status, body := fetch(t, url+"/collector/v1/traces"); status != http.StatusServiceUnavailable {
		t.Errorf("the collector is reached through the gateway: %d %s", status, body)
	}

	must(t, os.WriteFile(key, []byte("key-of-new\n"), 0o600))
	p.Configure(t, cfg("1"))
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the configuration is reloaded", func() error { return logged(p, "configuration reloaded: generation=2") })
	fetch(t, url+"/shop/ordinary")
	all = spans("an ordinary one", "/shop/ordinary", 2)
	has(all[0], "GET /shop", "SERVER", false, "lictor.kept", "sampled")
	if c := here.of(t, "/ordinary"); !c.Sampled || c.Trace.String() != all[0].Trace || fmt.Sprintf("%x", c.Parent) != all[1].ID || all[0].Parent != "" {
		t.Errorf("the instance was told %+v, the spans are %+v", c, all)
	}
	headers := r.Headers()
	if first, last := headers[0].Get("X-Key"), headers[len(headers)-1].Get("X-Key"); first != "key-of-old" || last != "key-of-new" {
		t.Errorf("it was sent with %s and %s", first, last)
	}

	fetch(t, url+"/shop/last")
	if code := p.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	spans("the last one before the end", "/shop/last", 2)
	for _, s := range r.Spans() {
		if text := fmt.Sprint(s); strings.Contains(text, "secret") || strings.Contains(text, "key-of") {
			t.Errorf("a span tells a secret: %s", text)
		}
	}
	if strings.Contains(p.Log(), "key-of") {
		t.Errorf("the log tells the key:\n%s", p.Log())
	}
}

// TestACollectorThatHangsCostsNothing keeps every request while nobody takes spans:
// requests go on, what waits is bounded, the status says so, and so does the end
// that it waits for no longer than it may.
func TestACollectorThatHangsCostsNothing(t *testing.T) {
	together(t)
	back := startBackend(t, "shop")
	hang := make(chan struct{})
	var held sync.WaitGroup
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	held.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			held.Go(func() { <-hang; c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); close(hang); held.Wait() })
	p := startLictor(t, lictorConfig{Rest: fmt.Sprintf("telemetry {\n  otlp_endpoint = \"http://%s\"\n  sample = 1\n}\n", l.Addr()) + staticConfig("shop", back.URL)})
	p.Ready(t)
	load := startLoad("http://"+p.Gateway+"/shop/x", 8)
	eventually(t, 5*time.Minute, "as much waits as may", func() error {
		if n := metric(t, p, `lictor_traces_dropped_total{reason="queue_full"}`); n < 2000 {
			return fmt.Errorf("%v are dropped", n)
		}
		return nil
	})
	load.stop(t)
	if n, bytes := metric(t, p, "lictor_traces_waiting"), metric(t, p, "lictor_traces_waiting_bytes"); n > 2048 || bytes > 8<<20 || n < 256 {
		t.Errorf("%v requests wait, in %v bytes", n, bytes)
	}
	eventually(t, time.Minute, "the status says so", func() error {
		for _, problem := range p.Status(t).Problems {
			if strings.HasPrefix(problem, "telemetry: since ") {
				return nil
			}
		}
		return fmt.Errorf("it does not: %q", p.Status(t).Problems)
	})
	began := time.Now()
	if code := p.Stop(t); code != 0 || time.Since(began) > 9*time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
	must(t, logged(p, "the spans of the last requests were not sent in time"))
}

// gatewayTraced has a request over the bus make a span of the request and one of
// what was published, which the worker is told.
func gatewayTraced(t *testing.T, l *busLictor, r *otlptest.Receiver) {
	told := make(chan string, 1)
	startWorker(t, busWorker{l.node.URL, "traced", "traced.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		parent, _ := d.Headers["Traceparent"].(string)
		told <- parent
		return &amqp.Publishing{}
	}})
	resp, _, err := l.call("GET", "/traced/x", "")
	must(t, err)
	if resp.StatusCode != 200 {
		t.Fatal(resp.StatusCode)
	}
	parent, ok := trace.Parse(<-told)
	if !ok || !parent.Sampled {
		t.Fatalf("the worker was told %+v", parent)
	}
	var producer, server otlptest.Span
	eventually(t, soon, "the spans arrive", func() error {
		all := r.Of(parent.Trace.String())
		for _, s := range all {
			switch s.Kind {
			case "PRODUCER":
				producer = s
			case "SERVER":
				server = s
			}
		}
		if len(all) != 2 {
			return fmt.Errorf("there are %+v", all)
		}
		return nil
	})
	if producer.Name != "publish traced" || producer.ID != fmt.Sprintf("%x", parent.Parent) || producer.Parent != server.ID || server.Parent != "" ||
		producer.Attributes["messaging.destination.name"] != "traced" || producer.Error {
		t.Errorf("got %+v below %+v", producer, server)
	}
}
