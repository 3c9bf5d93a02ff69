package upstream

import (
	"net/netip"
	"sync"
	"time"
)

// room is memory that requests share, for what is held as a whole: bodies on
// their way over the bus, and replies that clients have not read yet. A client
// may take what it wants while half of the room is free; past that, its part.
// Where there is none left the newest holder gives way of those that have waited
// for their client: who needs the room has the bytes in hand.
type room struct {
	size int64

	mu      sync.Mutex // guards what follows
	taken   int64
	clients map[netip.Addr]int64
	waiting map[*holding]struct{}
	made    uint64 // holdings so far
}

const (
	roomParts    = 16          // a client's part is one of so many
	roomPatience = time.Second // who has waited for longer for its client gives way
)

// cutter ends a request, whatever it waits for.
type cutter interface{ Cut(error) }

// holding is the part of one request.
type holding struct {
	room   *room
	client netip.Addr
	conn   cutter
	number uint64 // later ones are higher
	mine   int64
	since  time.Time // it waits for its client since; zero if it does not
	gone   bool      // it gave way
}

// hold begins a holding of nothing.
func (r *room) hold(client netip.Addr, conn cutter) *holding {
	if client.Is6() {
		p, _ := client.Prefix(64) // one machine has all of them
		client = p.Addr()
	}
	return &holding{room: r, client: client, conn: conn}
}

// held is how many bytes are taken.
func (r *room) held() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

// take counts n bytes more. It reports false if there is no room for them.
func (h *holding) take(n int64) bool {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.gone {
		return false
	}
	for {
		total, part := r.taken+n > r.size, r.clients[h.client]+n > r.size/roomParts && r.taken+n > r.size/2
		if part && r.clients[h.client] == h.mine && !total {
			part = false // one body may be more than a part
		}
		if !total && !part {
			break
		}
		if !r.displace(h, part) {
			return false
		}
	}
	if h.number == 0 {
		r.made++
		h.number = r.made
	}
	if r.clients == nil {
		r.clients = make(map[netip.Addr]int64)
	}
	h.mine += n
	r.taken += n
	r.clients[h.client] += n
	return true
}

// displace frees the room of the newest holding that has waited for its client
// for long, of h's client only if part is set. r.mu is held.
func (r *room) displace(h *holding, part bool) bool {
	var newest *holding
	for w := range r.waiting {
		if w == h || w.mine == 0 || time.Since(w.since) < roomPatience || part && w.client != h.client {
			continue
		}
		if newest == nil || w.number > newest.number {
			newest = w
		}
	}
	if newest == nil {
		return false
	}
	newest.gone = true
	newest.free()
	newest.conn.Cut(errBusFull)
	return true
}

// waits notes that the request waits for its client from now on, until resumes.
func (h *holding) waits() {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[*holding]struct{})
	}
	h.since = time.Now()
	r.waiting[h] = struct{}{}
}

// resumes ends waits. It reports false if the request gave way meanwhile.
func (h *holding) resumes() bool {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, h)
	return !h.gone
}

// giveBack ends the holding; nil holds nothing.
func (h *holding) giveBack() {
	if h == nil {
		return
	}
	h.room.mu.Lock()
	defer h.room.mu.Unlock()
	h.free()
}

// free gives the bytes back. h.room.mu is held.
func (h *holding) free() {
	r := h.room
	if h.mine == 0 {
		return
	}
	r.taken -= h.mine
	if r.clients[h.client] -= h.mine; r.clients[h.client] <= 0 {
		delete(r.clients, h.client)
	}
	h.mine = 0
}
