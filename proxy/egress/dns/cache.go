package dns

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of the cache. A TTL beyond them is cut, so that a name that moved is
// found again without a restart.
const (
	maxEntries  = 8192
	maxTTL      = 10 * time.Minute
	maxNegative = time.Minute
)

// cache holds answers until their TTL is over. The zero cache is empty.
type cache struct {
	mu      sync.RWMutex // guards entries
	entries map[string]cached
}

type cached struct {
	addrs   []netip.Addr
	err     error // the negative answer
	expires time.Time
}

func (c *cache) get(name string, now time.Time) ([]netip.Addr, error, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[name]
	if !ok || !now.Before(e.expires) {
		return nil, nil, false
	}
	return e.addrs, e.err, true
}

// put keeps an answer for ttl; one that is 0 is not kept.
func (c *cache) put(name string, addrs []netip.Addr, err error, ttl time.Duration, now time.Time) {
	ttl = min(ttl, maxTTL)
	if err != nil {
		ttl = min(ttl, maxNegative)
	}
	if ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[string]cached)
	}
	if len(c.entries) >= maxEntries {
		c.makeRoom(now)
	}
	c.entries[name] = cached{addrs, err, now.Add(ttl)}
}

// makeRoom drops what is over, and an eighth of the rest if that was nothing:
// whoever asks for many names shall not keep others from being cached.
func (c *cache) makeRoom(now time.Time) {
	for name, e := range c.entries {
		if !now.Before(e.expires) {
			delete(c.entries, name)
		}
	}
	for name := range c.entries {
		if len(c.entries) < maxEntries-maxEntries/8 {
			return
		}
		delete(c.entries, name)
	}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = nil
}
