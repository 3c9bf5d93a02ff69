package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/rabbitmq"
)

// A body that is held in memory has to come at a pace.
func TestBodyOnTheBusFallsBehind(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, func(s *Settings) { s.Header = 100 * time.Millisecond }, nil)
	c := r.dial()
	c.send("POST /orders/a HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + strings.Repeat("z", 499))
	if resp, _ := c.answer("POST"); resp.StatusCode != 408 {
		t.Errorf("got %d, want 408", resp.StatusCode)
	}
	eventually.True(t, "its room is given back", func() bool {
		bodies, _ := r.gw.upstream.Bus().Held()
		return len(bus.take()) == 0 && bodies == 0
	})
}

// Replies that clients do not read are bounded together.
func TestRepliesNobodyReads(t *testing.T) {
	const size = 1 << 20
	bus := &fakeBus{answer: func(context.Context, *rabbitmq.Request) (*rabbitmq.Reply, error) {
		return &rabbitmq.Reply{Status: 200, Body: make([]byte, size)}, nil
	}}
	r := newBusRig(t, bus, nil, func(c *Config) { c.Bus.Memory = size })
	for range 2 { // the room of the first one is free again
		if resp, body := r.get("/orders/x"); resp.StatusCode != 200 || len(body) != size {
			t.Errorf("one that fits: %d, %d bytes", resp.StatusCode, len(body))
		}
	}
	r = newBusRig(t, bus, nil, func(c *Config) { c.Bus.Memory = size - 1 })
	resp, body := r.get("/orders/x")
	if resp.StatusCode != 502 || !strings.Contains(body, `"reason": "reply_lost"`) || resp.Header.Get("Retry-After") != "" {
		t.Errorf("one that does not fit: %d %s", resp.StatusCode, body)
	}
}

// Which services are on the bus can change while it serves.
func TestBusRouteUpdate(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, nil, nil)
	r.gw.upstream.Bus().Update([]string{"other"}, time.Second, 10)
	for target, want := range map[string]int{"/orders/x": 503, "/other/x": 200} {
		if resp, body := r.get(target); resp.StatusCode != want {
			t.Errorf("%s: %d %s", target, resp.StatusCode, body)
		}
	}
	c := r.dial()
	c.send("POST /other/a HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world")
	if resp, _ := c.answer("POST"); resp.StatusCode != 413 {
		t.Errorf("past the new max_body: %d", resp.StatusCode)
	}
}
