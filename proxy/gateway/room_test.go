package gateway

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/proxy/http1"
	"lictor/proxy/rabbitmq"
)

// What one client may take of the room for bodies and replies, and who gives way.
func TestRoom(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	t.Run("a client may take half of an empty room, and then its part", func(t *testing.T) {
		r := room{size: 1600}
		big := r.hold(a, nil)
		if !big.take(800) {
			t.Error("half of an empty room")
		}
		if r.hold(a, nil).take(1) {
			t.Error("past half, more than its part")
		}
		if other := r.hold(b, nil); !other.take(100) || r.hold(b, nil).take(1) {
			t.Error("another client has its part, and not more")
		}
		big.giveBack()
		if !r.hold(a, nil).take(100) || r.taken != 200 {
			t.Errorf("what is given back is free: %d are taken", r.taken)
		}
	})
	t.Run("one that is larger than a part is taken alone", func(t *testing.T) {
		r := room{size: 1600}
		if !r.hold(b, nil).take(800) || !r.hold(a, nil).take(700) {
			t.Error("it is refused")
		}
		if r.hold(netip.MustParseAddr("192.0.2.3"), nil).take(101) {
			t.Error("a full room takes more")
		}
	})
	t.Run("a machine's addresses of IPv6 are one client", func(t *testing.T) {
		r := room{size: 1600}
		r.hold(netip.MustParseAddr("2001:db8::1"), nil).take(800)
		if r.hold(netip.MustParseAddr("2001:db8::ffff"), nil).take(1) {
			t.Error("they are two")
		}
	})
}

// The newest request that waits for its client gives way to one whose bytes are
// there; one that does not wait never does.
func TestNewestThatWaitsGivesWay(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, nil, nil)
	route := r.gw.Bus()
	route.bodies.resize(1600)
	stuck := func() *client {
		c := r.dial()
		c.send("POST /orders/a HTTP/1.1\r\nHost: x\r\nContent-Length: 800\r\n\r\n" + strings.Repeat("z", 790))
		return c
	}
	taken := func(want int64) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; {
			got := route.bodies.held()
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes are taken, want %d", got, want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	first := stuck()
	taken(790)
	second := r.dial()
	second.send("POST /orders/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("q", 9))
	taken(799)
	past := func() { // as if they had waited for long
		route.bodies.mu.Lock()
		defer route.bodies.mu.Unlock()
		for h := range route.bodies.waiting {
			h.since = h.since.Add(-roomPatience)
		}
	}
	past()
	c := r.dial()
	c.send("POST /orders/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
	if resp, body := c.answer("POST"); resp.StatusCode != 200 {
		t.Errorf("who has its bytes: %d %s", resp.StatusCode, body)
	}
	if _, err := second.in.ReadByte(); err == nil {
		t.Error("the newest that waits does not give way")
	}
	first.send(strings.Repeat("z", 10))
	if resp, _ := first.answer("POST"); resp.StatusCode != 200 {
		t.Errorf("who came first: %d", resp.StatusCode)
	}
}

// A body that is held in memory has to come at a pace.
func TestBodyOnTheBusFallsBehind(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, func(s *Settings) { s.Header = 100 * time.Millisecond }, nil)
	c := r.dial()
	c.send("POST /orders/a HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + strings.Repeat("z", 499))
	if resp, _ := c.answer("POST"); resp.StatusCode != 408 {
		t.Errorf("got %d, want 408", resp.StatusCode)
	}
	eventually(t, "its room is given back", func() bool {
		room := &r.gw.Bus().bodies
		room.mu.Lock()
		defer room.mu.Unlock()
		return len(bus.take()) == 0 && room.taken == 0
	})
}

// Replies that clients do not read are bounded together, and by client.
func TestRepliesNobodyReads(t *testing.T) {
	const size = 1 << 20
	bus := &fakeBus{answer: func(context.Context, *rabbitmq.Request) (*rabbitmq.Reply, error) {
		return &rabbitmq.Reply{Status: 200, Body: make([]byte, size)}, nil
	}}
	r := newBusRig(t, bus, nil, nil)
	r.gw.Bus().replies.resize(3 * size)
	resp, body := r.get("/orders/x")
	if resp.StatusCode != 200 || len(body) != size {
		t.Errorf("one that fits: %d, %d bytes", resp.StatusCode, len(body))
	}
	other := r.gw.Bus().replies.hold(netip.MustParseAddr("192.0.2.1"), new(http1.Conn))
	if !other.take(5 * size / 2) {
		t.Fatal("there is room")
	}
	resp, body = r.get("/orders/x")
	if resp.StatusCode != 502 || !strings.Contains(body, `"reason": "reply_lost"`) || resp.Header.Get("Retry-After") != "" {
		t.Errorf("one that does not fit: %d %s", resp.StatusCode, body)
	}
	other.giveBack()
	if resp, _ := r.get("/orders/x"); resp.StatusCode != 200 {
		t.Errorf("room again: %d", resp.StatusCode)
	}
}

// Which services are on the bus can change while it serves.
func TestBusRouteUpdate(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, nil, nil)
	r.gw.Bus().Update([]string{"other"}, time.Second, 10)
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

func (r *room) resize(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = size
}

func (r *room) held() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}
