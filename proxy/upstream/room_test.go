package upstream

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
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

// cuts counts how often a request was cut.
type cuts int

func (c *cuts) Cut(error) { *c++ }

// The newest request that waits for its client gives way to one whose bytes are
// there, once it has waited for long; one that does not wait never does.
func TestNewestThatWaitsGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := netip.MustParseAddr("192.0.2.1")
		r := room{size: 1600}
		var conns [4]cuts
		var held [4]*holding
		for i, n := range []int64{700, 90, 9} {
			held[i] = r.hold(client, &conns[i])
			if !held[i].take(n) {
				t.Fatal("there is room")
			}
		}
		held[0].waits()
		held[1].waits()
		held[3] = r.hold(client, &conns[3])
		if held[3].take(5) {
			t.Error("nobody has waited for long")
		}
		time.Sleep(roomPatience)
		if !held[3].take(5) {
			t.Error("the newest that waits does not give way")
		}
		if conns != [4]cuts{0, 1, 0, 0} || held[1].resumes() || !held[0].resumes() || r.held() != 700+9+5 {
			t.Errorf("cut are %v, %d bytes are taken", conns, r.held())
		}
	})
}
