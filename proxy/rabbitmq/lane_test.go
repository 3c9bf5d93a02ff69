package rabbitmq

import (
	"fmt"
	"testing"
	"time"
)

func TestLanePending(t *testing.T) {
	calls := []*call{{id: "1"}, {id: "2"}, {id: "3"}, {id: "4"}}
	n := newLane("x")
	for _, c := range calls[:3] {
		n.users.Add(1)
		n.push(c)
	}
	if n.pop(1) != calls[0] || n.pop(1) != nil {
		t.Error("a tag is popped once")
	}
	n.unpush(calls[2]) // the library did not publish it, so its tag is used again
	n.users.Add(-1)
	n.users.Add(1)
	n.push(calls[3])
	if n.pop(3) != calls[3] {
		t.Error("the tag of a message that was not published is the next one's")
	}
	if n.pop(2) != nil || n.users.Load() != 0 {
		t.Errorf("a confirm that was missed is made up for: %d users", n.users.Load())
	}
	n.push(calls[1])
	if got := n.drain(); len(got) != 1 || got[0] != calls[1] || len(n.drain()) != 0 {
		t.Errorf("drained %v", got)
	}
}

func TestLaneStale(t *testing.T) {
	now := time.Now()
	laneOf := func(checked bool, until time.Duration, users int32) *lane {
		n := newLane("x")
		if checked {
			close(n.ready)
		}
		n.until.Store(now.Add(until).UnixNano())
		n.users.Store(users)
		return n
	}
	tests := []struct {
		name string
		lane *lane
		want bool
	}{
		{"believed", laneOf(true, time.Second, 0), false},
		{"not believed any more", laneOf(true, -time.Second, 0), true},
		{"but in use", laneOf(true, -time.Second, 1), false},
		{"still asked about", laneOf(false, -time.Second, 0), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.lane.stale(now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	tab := newTable(2)
	a, b := &call{id: "a"}, &call{id: "b"}
	if tab.add(a) != nil || tab.add(b) != nil {
		t.Fatal("there is room for two")
	}
	if err := tab.add(&call{id: "c"}); err == nil || err.Status != 503 || !err.RetryAfter {
		t.Errorf("a full table: got %v, want 503", err)
	}
	b.stage.Store(published)
	if got := tab.takeStage(published); len(got) != 1 || got[0] != b {
		t.Errorf("got %v", got)
	}
	if tab.take("a") != a || tab.take("a") != nil || tab.len() != 0 {
		t.Error("a call is taken once")
	}
	tab.close()
	if err := tab.add(a); err == nil || tab.take("a") != nil {
		t.Error("a closed table takes nothing")
	}
}

// A table that is full of one service's requests refuses that service only,
// and never the link's own probe.
func TestPlacesInTheTable(t *testing.T) {
	tab := newTable(20)
	enter := func(exchange string, i int) *Error {
		return tab.add(&call{id: fmt.Sprint(exchange, i), exchange: exchange})
	}
	for i := range 10 {
		if err := enter("slow", i); err != nil {
			t.Fatalf("place %d of the first half: %v", i, err)
		}
	}
	if err := enter("slow", 10); err == nil || err.Status != 503 || err.Reason != "overloaded" || !err.RetryAfter || err.Message == "" {
		t.Errorf("past half of the places: got %+v", err)
	}
	for i := range 10 {
		if err := enter("fast", i); err != nil {
			t.Errorf("another service, place %d: %v", i, err)
		}
	}
	if err := enter("third", 0); err == nil || err.Reason != "overloaded" {
		t.Errorf("a full table: got %+v", err)
	}
	probe := &call{id: "probe", probe: true}
	if err := tab.add(probe); err != nil {
		t.Errorf("the probe has a place of its own: %v", err)
	}
	if tab.len() != 20 || tab.take("probe") != probe || tab.len() != 20 {
		t.Errorf("a probe counts as a request: %d", tab.len())
	}
	tab.take("slow3")
	if err := enter("slow", 11); err != nil {
		t.Errorf("a place that is free again: %v", err)
	}
}
