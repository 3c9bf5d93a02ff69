package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/proxy/rabbitmq"
	"lictor/proxy/upstream"
)

// watched is longer than a worker may think before its client is watched.
const watched = 50 * time.Millisecond

// D4, X14, X16: what ends a wait for a worker.
func TestWaitingOnTheBus(t *testing.T) {
	waits := func(ctx context.Context, _ *rabbitmq.Request) (*rabbitmq.Reply, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	t.Run("the client leaves", func(t *testing.T) {
		book := newLogBook(t, "json")
		r := newBusRig(t, &fakeBus{answer: waits}, nil, func(c *Config) { c.AccessLog = book.log })
		c := r.dial()
		c.send("GET /orders/x HTTP/1.1\r\nHost: x\r\n\r\n")
		r.oneLasts()
		c.Close()
		if line := book.until(t, 1)[0]; !strings.Contains(line, `"status": 499, "reason": "client_left", "policy": "00000000", "service": "orders"`) {
			t.Errorf("got %s", line)
		}
	})
	t.Run("a policy change cuts it", func(t *testing.T) {
		book := newLogBook(t, "json")
		r := newBusRig(t, &fakeBus{answer: waits}, nil, func(c *Config) { c.AccessLog = book.log })
		c := r.dial()
		c.send("GET /orders/x HTTP/1.1\r\nHost: x\r\n\r\n")
		r.oneLasts()
		r.rules.apply(put(t, policy.KindBlacklist, "b", `["/orders"]`))
		r.gw.PolicyChanged()
		if line := book.until(t, 1)[0]; !strings.Contains(line, `"reason": "blacklist"`) {
			t.Errorf("got %s", line)
		}
		if _, err := c.in.ReadByte(); err == nil {
			t.Error("the connection goes on")
		}
	})
	t.Run("a policy change cuts an upload", func(t *testing.T) {
		bus := new(fakeBus)
		book := newLogBook(t, "json")
		r := newBusRig(t, bus, nil, func(c *Config) { c.AccessLog = book.log })
		c := r.dial()
		c.send("POST /orders/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
		r.oneLasts()
		r.rules.apply(put(t, policy.KindBlacklist, "b", `["/orders"]`))
		r.gw.PolicyChanged()
		if line := book.until(t, 1)[0]; !strings.Contains(line, `"reason": "blacklist"`) || len(bus.take()) != 0 {
			t.Errorf("got %s", line)
		}
	})
	t.Run("a stop lets it end", func(t *testing.T) {
		asked, leave := make(chan struct{}), make(chan struct{})
		bus := &fakeBus{answer: func(context.Context, *rabbitmq.Request) (*rabbitmq.Reply, error) {
			close(asked)
			<-leave
			return &rabbitmq.Reply{Status: 200, Body: []byte("late")}, nil
		}}
		r := newBusRig(t, bus, nil, nil)
		c := r.dial()
		c.send("GET /orders/x HTTP/1.1\r\nHost: x\r\n\r\n")
		<-asked
		time.AfterFunc(2*watched, func() { close(leave) })
		r.stop()
		if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "late" || !resp.Close {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	})
	t.Run("the drain time is over", func(t *testing.T) {
		r := newBusRig(t, &fakeBus{answer: waits}, func(s *Settings) { s.Drain = 200 * time.Millisecond }, nil)
		c := r.dial()
		c.send("GET /orders/x HTTP/1.1\r\nHost: x\r\n\r\n")
		r.oneLasts()
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > soon {
			t.Errorf("it took %v", took)
		}
		if _, err := http.ReadResponse(c.in, nil); err == nil {
			t.Error("an answer came")
		}
	})
}

// D17, D20: the bus serves what comes by HTTP/2 and TLS just so.
func TestBusByHTTP2AndTLS(t *testing.T) {
	left := make(chan error, 1)
	answer := func(ctx context.Context, r *rabbitmq.Request) (*rabbitmq.Reply, error) {
		if r.Path == "/wait" {
			<-ctx.Done()
			left <- context.Cause(ctx)
			return nil, context.Cause(ctx)
		}
		return &rabbitmq.Reply{Status: 201, Body: r.Body, Fields: []rabbitmq.Field{{Name: "X-A", Value: "1"}}}, nil
	}
	gone := func(t *testing.T, how string) {
		t.Helper()
		select {
		case err := <-left:
			if !errors.Is(err, http1.ErrClientGone) {
				t.Errorf("%s: it ended by %v", how, err)
			}
		case <-time.After(soon):
			t.Errorf("%s: the request goes on", how)
		}
	}
	t.Run("HTTP/2", func(t *testing.T) {
		bus := &fakeBus{answer: answer}
		r := newBusRig(t, bus, nil, nil)
		c := r.h2cClient()
		resp, err := c.Post("http://"+r.addr+"/orders/x?a=b", "text/x", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.ProtoMajor != 2 || resp.StatusCode != 201 || string(body) != "body" || resp.Header.Get("X-A") != "1" {
			t.Errorf("got %s %d %q", resp.Proto, resp.StatusCode, body)
		}
		if got := bus.take()[0]; got.Query != "a=b" || len(values(got, "Host")) != 1 || fmt.Sprint(values(got, "Content-Type")) != "[text/x]" {
			t.Errorf("on the bus: %+v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*watched, cancel)
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+r.addr+"/orders/wait", nil)
		if _, err := c.Do(req); err == nil {
			t.Error("an answer came")
		}
		gone(t, "a stream that was reset")
	})
	t.Run("TLS", func(t *testing.T) {
		r, ca := newTLSRig(t, func(c *Config) {
			c.Bus = &upstream.BusRoute{Bus: &fakeBus{answer: answer}, Services: []string{"orders"}, Timeout: 5 * time.Second, MaxBody: 1000}
		})
		c := r.dialTLS(ca)
		c.send("POST /orders/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
		if resp, body := c.answer("POST"); resp.StatusCode != 201 || body != "body" {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
		c.send("GET /orders/wait HTTP/1.1\r\nHost: x\r\n\r\n")
		r.oneLasts()
		c.Close()
		gone(t, "a connection that was closed")
	})
}
