//go:build integration

package integration_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Policy is decided as for http: A17, C5, C18, C19.
func gatewayBusPolicy(t *testing.T, l *busLictor) {
	startWorker(t, busWorker{l.node.URL, "closed", "closed.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		return &amqp.Publishing{Body: fmt.Append(nil, d.Headers["X-Consumer-Username"], d.Headers["Apikey"])}
	}})
	sum := sha256.Sum256([]byte("k1"))
	l.rule(t, "consumers", "thefosk", `{"name": "thefosk"}`)
	l.rule(t, "credentials", fmt.Sprintf("%x", sum), `{"consumer": "thefosk"}`)
	l.rule(t, "plugins", "auth", `{"id": "auth", "name": "key-auth", "config": {"hide_credentials": true}}`)
	l.rule(t, "plugin-mappings", "auth", `{"id": "auth", "api": "closed", "plugins": ["auth"]}`)
	l.rule(t, "acls", "a", `{"id": "a", "api": "closed", "consumers": ["thefosk"]}`)
	l.rule(t, "plugins", "limit", `{"id": "limit", "name": "rate-limiting", "config": {"hour": 2}}`)
	l.rule(t, "plugin-mappings", "limit", `{"id": "limit", "api": "closed", "plugins": ["limit"]}`)
	l.rule(t, "blacklist", "ops", `["/closed/admin"]`)
	eventually(t, soon, "the policy is in force", func() error {
		if status, why, _ := ask(t, "GET", "http://"+l.Gateway+"/closed/admin"); status != 403 || why != "blacklist" {
			return fmt.Errorf("%d %s", status, why)
		}
		return nil
	})
	l.want(t, 403, "blacklist", "GET", "/closed/x/..%2fadmin", "", "apikey: k1")
	l.want(t, 401, "no_credentials", "GET", "/closed/x", "")
	l.want(t, 401, "bad_credentials", "GET", "/closed/x", "", "apikey: other")
	for range 2 {
		resp, text, err := l.call("GET", "/closed/x", "", "apikey: k1", "X-Consumer-Username: root")
		if err != nil || resp.StatusCode != 200 || text != "thefosk<nil>" || resp.Header.Get("X-RateLimit-Limit-Hour") != "2" {
			t.Errorf("got %q %v", text, err)
		}
	}
	l.want(t, 429, "rate_limit", "GET", "/closed/x", "", "apikey: k1")
}

func gatewayBusStatus(t *testing.T, l *busLictor) {
	_, body := fetch(t, "http://"+l.Admin+"/status")
	var st struct {
		Dispatchers []struct {
			Kind, Address string
			Services      []string
			Ready         bool
		}
	}
	must(t, json.Unmarshal([]byte(body), &st))
	if d := st.Dispatchers; len(d) != 2 || d[1].Kind != "rabbitmq" || d[1].Address != l.node.Addr || !d[1].Ready || fmt.Sprint(d[1].Services) != "[*]" {
		t.Errorf("got %+v", d)
	}
	if status, out, _ := runLictor(t, "status", "-admin", "http://"+l.Admin); status != 0 || !strings.Contains(out, "rabbitmq    *           "+l.node.Addr) {
		t.Errorf("got %d\n%s", status, out)
	}
	for _, series := range []string{`lictor_bus_requests_total{outcome="replied"}`, `lictor_bus_requests_total{outcome="refused"}`, `lictor_bus_requests_total{outcome="timeout"}`,
		"lictor_bus_connects_total", `lictor_requests_total{code="2xx",listener="gateway",service="orders"}`} {
		if metric(t, l.lictorProcess, series) == 0 {
			t.Errorf("%s is 0", series)
		}
	}
	if status, out, _ := runLictor(t, "explain", "-admin", "http://"+l.Admin, "/orders/x"); status != 0 || !strings.Contains(out, "rabbitmq") {
		t.Errorf("got %d\n%s", status, out)
	}
}

// X16: a lictor of its own, which is stopped.
func gatewayBusStop(t *testing.T, l *busLictor) {
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	startWorker(t, busWorker{l.node.URL, "drain", "drain.worker", "#", func(d amqp.Delivery) *amqp.Publishing {
		arrived <- struct{}{}
		<-release
		return echo(d)
	}})
	before := lines(l.node.ctl(t, "list_queues", "--no-table-headers", "name"))
	other := startBusLictor(t, l.node, "", "")
	other.up(t)
	answer := make(chan string, 1)
	go func() {
		_, text, err := other.call("POST", "/drain/x", "hello")
		answer <- fmt.Sprint(text, err)
	}()
	<-arrived
	other.Signal(t, syscall.SIGTERM)
	eventually(t, soon, "it stops", func() error { return logged(other.lictorProcess, "stopping") })
	close(release)
	if got := <-answer; got != "hello<nil>" {
		t.Errorf("got %s", got)
	}
	if status := other.Wait(t, 20*time.Second); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if now := lines(l.node.ctl(t, "list_queues", "--no-table-headers", "name")); now != before {
		t.Errorf("%d queues, %d before", now, before)
	}
}
