//go:build integration

package integration_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/app/telemetry/otlptest"
)

// busLictor is a lictor with every service on the bus of a broker.
type busLictor struct {
	*lictorProcess
	node  *rabbitNode
	rules string // directory of the policy
}

func startBusLictor(t *testing.T, node *rabbitNode, options, rest string) *busLictor {
	t.Helper()
	rules := t.TempDir()
	p := startLictor(t, lictorConfig{Rest: fmt.Sprintf(`
dispatch "rabbitmq" {
  url      = %q
  services = ["*"]
  %s
}
policy {
  store = "file"
  dir   = %q
}
%s`, node.URL, options, rules, rest)})
	return &busLictor{p, node, rules}
}

// up waits until the bus takes requests.
func (l *busLictor) up(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, "the bus is connected", func() error {
		if v := metric(t, l.lictorProcess, "lictor_bus_connected"); v != 1 {
			return errors.New("it is not")
		}
		return nil
	})
}

// rule writes a policy object; call asks until it is in force.
func (l *busLictor) rule(t *testing.T, kind, name, text string) {
	t.Helper()
	dir := filepath.Join(l.rules, kind)
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// call sends a request; a nil answer is none.
func (l *busLictor) call(method, path, body string, fields ...string) (*http.Response, string, error) {
	req, err := http.NewRequest(method, "http://"+l.Gateway+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// want sends a request and checks the status and the reason of its answer.
func (l *busLictor) want(t *testing.T, status int, why, method, path, body string, fields ...string) *http.Response {
	t.Helper()
	resp, text, err := l.call(method, path, body, fields...)
	must(t, err)
	if resp.StatusCode != status || reason(text) != why {
		t.Errorf("%s %s: got %d %s, want %d %s", method, path, resp.StatusCode, text, status, why)
	}
	return resp
}

// metric is the value of a series, without labels or with all of them; 0 if
// there is none.
func metric(t *testing.T, p *lictorProcess, series string) float64 {
	t.Helper()
	_, text := fetch(t, "http://"+p.Admin+"/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			must(t, err)
			return v
		}
	}
	return 0
}

// TestBusThroughTheGateway holds the bus against a real broker, from HTTP to
// worker and back (D11-D17). The tests that disturb the broker come last.
func TestBusThroughTheGateway(t *testing.T) {
	together(t)
	node := newRabbitMQ(t)
	r := otlptest.New(t)
	l := startBusLictor(t, node, `timeout = "2s"`, fmt.Sprintf("telemetry {\n  otlp_endpoint = %q\n  sample = 1\n}\n", r.URL))
	began := time.Now()
	if resp := l.want(t, 503, "unreachable", "GET", "/orders/x", ""); resp.Header.Get("Retry-After") != "1" {
		t.Error("before the broker: no Retry-After")
	}
	wantAtOnce(t, began)
	node.start(t)
	l.up(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *busLictor)
	}{
		{"the seed's example, byte for byte", gatewaySeedExample},
		{"POST with a body and 201 back", gatewayPost},
		{"what is published is a span", func(t *testing.T, l *busLictor) { gatewayTraced(t, l, r) }},
		{"100 requests at once, answered in random order", gatewayRandomOrder},
		{"missing and unroutable exchanges cost nobody an answer", gatewayUnroutable},
		{"a silent worker is 504 and the message expires", gatewaySilentWorker},
		{"late answers reach nobody", gatewayLateReply},
		{"an audit queue gets copies", gatewayAudit},
		{"what the bus does not take", gatewayRefused},
		{"the policy holds", gatewayBusPolicy},
		{"status and metrics", gatewayBusStatus},
		{"a stop lets requests end and leaves no queue", gatewayBusStop},
		{"memory alarm: 503 at once, heals after", gatewayMemoryAlarm},
		{"the broker is stopped and started under load", gatewayBusRestart},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, l) })
	}
}

func gatewaySeedExample(t *testing.T, l *busLictor) {
	got := make(chan amqp.Delivery, 1)
	startWorker(t, busWorker{l.node.URL, "foo", "foo.worker", "bar.baz", func(d amqp.Delivery) *amqp.Publishing {
		got <- d
		return &amqp.Publishing{ContentType: "text/plain", Body: []byte("hello\n")}
	}})
	c, err := net.Dial("tcp", l.Gateway)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, "GET /foo/bar/baz?page=1&size=20 HTTP/1.1\r\nHost: example.org\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if h := resp.Header; resp.StatusCode != 200 || string(body) != "hello\n" || h.Get("Content-Type") != "text/plain" || resp.ContentLength != 6 || len(h) != 3 {
		t.Errorf("got %d %v %q", resp.StatusCode, h, body)
	}
	d := <-got
	if d.Exchange != "foo" || d.RoutingKey != "bar.baz" || len(d.Body) != 0 {
		t.Errorf("got exchange %q, key %q, body %q", d.Exchange, d.RoutingKey, d.Body)
	}
	for _, name := range []string{"X-Request-Id", "Traceparent", "Via"} {
		if v, _ := d.Headers[name].(string); v == "" {
			t.Errorf("no %s", name)
		}
		delete(d.Headers, name)
	}
	_, port, _ := net.SplitHostPort(l.Gateway)
	want := amqp.Table{
		"X-WASP-METHOD": "GET", "X-WASP-QS": "page=1&size=20", "X-WASP-PATH": "/bar/baz", "Host": "example.org",
		"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "example.org",
		"X-Forwarded-Port": port, "X-Forwarded-Prefix": "/foo", "Forwarded": `for=127.0.0.1;proto=http;host="example.org"`,
	}
	if !reflect.DeepEqual(d.Headers, want) {
		t.Errorf("got headers\n %v\nwant\n %v", d.Headers, want)
	}
}

func gatewayPost(t *testing.T, l *busLictor) {
	got := make(chan amqp.Delivery, 1)
	startWorker(t, busWorker{l.node.URL, "orders", "orders.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		got <- d
		return &amqp.Publishing{ContentType: "application/json", Body: []byte(`{"id":7}`),
			Headers: amqp.Table{"X-WASP-STATUS": "201", "Location": "/orders/7", "Set-Cookie": []any{"a=1", "b=2"}}}
	}})
	body := strings.Repeat("order ", 100_000) // several frames
	resp, text, err := l.call("POST", "/orders/new/?dry=", body, "Content-Type: text/plain", "X-WASP-METHOD: DELETE", "X-Two: a", "X-Two: b")
	must(t, err)
	if h := resp.Header; resp.StatusCode != 201 || text != `{"id":7}` || h.Get("Location") != "/orders/7" || h.Get("Content-Type") != "application/json" || len(h["Set-Cookie"]) != 2 {
		t.Errorf("got %d %v %q", resp.StatusCode, h, text)
	}
	d := <-got
	if h := d.Headers; d.RoutingKey != "new" || h["X-WASP-METHOD"] != "POST" || h["X-WASP-QS"] != "dry=" || h["X-Two"] != "a, b" || d.ContentType != "text/plain" || string(d.Body) != body {
		t.Errorf("got key %q, headers %v, type %q, %d bytes", d.RoutingKey, h, d.ContentType, len(d.Body))
	}
}

func gatewayRandomOrder(t *testing.T, l *busLictor) {
	const n = 100
	var held []amqp.Delivery
	startWorker(t, busWorker{l.node.URL, "shuffle", "shuffle.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		if held = append(held, d); len(held) < n {
			return nil
		}
		conn, err := amqp.Dial(l.node.URL)
		if err != nil {
			return nil
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			return nil
		}
		for _, i := range rand.Perm(n) {
			_ = ch.Publish("", held[i].ReplyTo, false, false, amqp.Publishing{CorrelationId: held[i].CorrelationId, Body: held[i].Body})
		}
		return nil
	}})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			want := fmt.Sprint("answer ", i)
			if resp, text, err := l.call("PUT", "/shuffle/x", want); err != nil || resp.StatusCode != 200 || text != want {
				t.Errorf("got %q, %v, want %q", text, err, want)
			}
		})
	}
	wg.Wait()
}

func gatewayUnroutable(t *testing.T, l *busLictor) {
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	startWorker(t, busWorker{l.node.URL, "slow", "slow.worker", "work", func(d amqp.Delivery) *amqp.Publishing {
		arrived <- struct{}{}
		<-release
		return echo(d)
	}})
	answer := make(chan string, 1)
	go func() {
		_, text, err := l.call("POST", "/slow/work", "hello")
		answer <- fmt.Sprint(text, err)
	}()
	<-arrived
	began := time.Now()
	for range 3 {
		for path, why := range map[string]string{"/nosuch/x": "unknown_service", "/slow/nobody": "no_healthy_instance"} {
			if resp := l.want(t, 503, why, "GET", path, ""); resp.Header.Get("Retry-After") != "1" {
				t.Errorf("%s: no Retry-After", path)
			}
		}
	}
	l.want(t, 404, "no_service", "GET", "/amq.topic/x", "")
	wantAtOnce(t, began)
	close(release)
	if got := <-answer; got != "hello<nil>" {
		t.Errorf("the request in flight got %s", got)
	}
}

func gatewaySilentWorker(t *testing.T, l *busLictor) {
	conn, err := amqp.Dial(l.node.URL)
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	must(t, ch.ExchangeDeclare("silent", "topic", false, true, false, false, nil))
	_, err = ch.QueueDeclare("silent.worker", false, true, false, false, nil)
	must(t, err)
	must(t, ch.QueueBind("silent.worker", "#", "silent", false, nil))
	began := time.Now()
	if resp := l.want(t, 504, "timeout", "GET", "/silent/x", ""); resp.Header.Get("Retry-After") != "" {
		t.Error("it says that the request may be repeated")
	}
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("it took %v, want the 2 s of timeout", took)
	}
	eventually(t, soon, "the message expires", func() error {
		if n := l.node.queueLength("silent.worker"); n != 0 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
}

func gatewayLateReply(t *testing.T, l *busLictor) {
	over := make(chan struct{})
	startWorker(t, busWorker{l.node.URL, "late", "late.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		if string(d.Body) == "slow" {
			<-over
		}
		return echo(d)
	}})
	before := metric(t, l.lictorProcess, "lictor_bus_late_replies_total")
	l.want(t, 504, "timeout", "POST", "/late/x", "slow")
	close(over)
	if resp, text, err := l.call("POST", "/late/x", "quick"); err != nil || resp.StatusCode != 200 || text != "quick" {
		t.Errorf("got %q, %v, want the second request's own answer", text, err)
	}
	if late := metric(t, l.lictorProcess, "lictor_bus_late_replies_total") - before; late != 1 {
		t.Errorf("%v late answers were counted, want 1", late)
	}
}

func gatewayAudit(t *testing.T, l *busLictor) {
	copies := make(chan string, 1)
	startWorker(t, busWorker{l.node.URL, "shop", "shop.worker", "orders.#", echo})
	startWorker(t, busWorker{l.node.URL, "shop", "shop.audit", "#", func(d amqp.Delivery) *amqp.Publishing {
		copies <- d.RoutingKey + " " + string(d.Body)
		return nil
	}})
	_, text, err := l.call("POST", "/shop/orders/7", "buy")
	must(t, err)
	if got := <-copies; text != "buy" || got != "orders.7 buy" {
		t.Errorf("got answer %q and copy %q", text, got)
	}
}

func gatewayRefused(t *testing.T, l *busLictor) {
	startWorker(t, busWorker{l.node.URL, "strict", "strict.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		return &amqp.Publishing{Headers: amqp.Table{"X-WASP-STATUS": d.Headers["X-Answer"]}, Body: []byte("x")}
	}})
	l.want(t, 413, "body_too_large", "POST", "/strict/x", strings.Repeat("x", 8<<20+1))
	l.want(t, 414, "routing_key_too_long", "GET", "/strict/"+strings.Repeat("a/", 129), "")
	l.want(t, 501, "upgrade_not_supported", "GET", "/strict/ws", "", "Connection: Upgrade", "Upgrade: websocket")
	for _, bad := range []string{"199", "101", "600", "abc"} {
		l.want(t, 502, "bad_gateway", "GET", "/strict/x", "", "X-Answer: "+bad)
	}
	l.want(t, 599, "", "GET", "/strict/x", "", "X-Answer: 599")
	l.want(t, 204, "", "GET", "/strict/x", "", "X-Answer: 204")
	if resp, text, err := l.call("HEAD", "/strict/x", "", "X-Answer: 200"); err != nil || text != "" || resp.ContentLength != 1 {
		t.Errorf("HEAD: got %+v %q %v", resp, text, err)
	}
	body := bytes.Repeat([]byte("x"), 8<<20)
	eventually(t, time.Minute, "8 MiB go over the bus within the 2 s of timeout", func() error {
		resp, _, err := l.call("POST", "/strict/x", string(body), "X-Answer: 200")
		if err == nil && resp.StatusCode != 200 {
			err = errors.New(resp.Status)
		}
		return err
	})
}
