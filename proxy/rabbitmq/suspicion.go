package rabbitmq

import (
	"sync"
	"sync/atomic"
	"time"
)

// How long it is remembered what a broker refused. For the first of these times
// the like of it is refused without asking. For the second it is tried again, on
// a channel of its own: so that the next refusal costs no other message its time.
const (
	believeRefused = 30 * time.Second
	suspectFor     = 10 * time.Minute
)

// Bounds of what is remembered of one exchange. A key that does not fit is
// treated as one that was never heard of.
const (
	maxRefusedKeys = 256
	maxTrustedKeys = 4096
)

// suspicions are what the broker refused, by exchange.
type suspicions struct {
	mu        sync.Mutex
	exchanges map[string]*suspicion
	some      atomic.Bool // there is one: so that usually nobody needs mu
}

// suspicion is what the broker refused of the messages to one exchange.
type suspicion struct {
	until time.Time // it is forgotten then

	size      int // the largest message it takes; negative: nothing was refused for its size
	sizeUntil time.Time

	keys    map[string]time.Time // that were refused; until when that is believed
	trusted map[string]bool      // keys of which a message was taken; nil: no key was refused
}

// judge says whether c is to be published on a channel of its own, or was
// refused a moment ago.
func (s *suspicions) judge(c *call, now time.Time) (suspect bool, failure *Error) {
	if !s.some.Load() {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exchanges[c.exchange]
	if e == nil {
		return false, nil
	}
	if now.After(e.until) {
		delete(s.exchanges, c.exchange)
		s.some.Store(len(s.exchanges) > 0)
		return false, nil
	}
	if e.size >= 0 && len(c.msg.Body) > e.size {
		if now.Before(e.sizeUntil) {
			return true, tooLarge(errRefusedBefore)
		}
		suspect = true
	}
	if e.trusted != nil && !e.trusted[c.key] {
		if now.Before(e.keys[c.key]) {
			return true, refused(errRefusedBefore, false)
		}
		suspect = true
	}
	return suspect, nil
}

// add remembers that c was refused. It reports whether that is news.
func (s *suspicions) add(why cause, c *call, text string) (news bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exchanges[c.exchange]
	if e == nil || now.After(e.until) {
		e, news = &suspicion{size: -1}, true
	}
	switch why {
	case bySize:
		news = news || e.size < 0
		e.size, e.sizeUntil = sizeLimit(text, len(c.msg.Body)), now.Add(believeRefused)
	case byKey:
		if e.trusted == nil {
			e.trusted, e.keys, news = make(map[string]bool), make(map[string]time.Time), true
		}
		delete(e.trusted, c.key)
		e.refuseKey(c.key, now)
	default:
		return true
	}
	if s.exchanges == nil {
		s.exchanges = make(map[string]*suspicion)
	}
	e.until = now.Add(suspectFor)
	s.exchanges[c.exchange] = e
	s.some.Store(true)
	return news
}

// refuseKey remembers a key. Keys are the clients' to choose, so the memory of
// them is bounded.
func (e *suspicion) refuseKey(key string, now time.Time) {
	if len(e.keys) >= maxRefusedKeys {
		clear(e.keys)
	}
	e.keys[key] = now.Add(believeRefused)
}

// acquit notes that a suspect was taken: the broker has changed its mind.
func (s *suspicions) acquit(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exchanges[c.exchange]
	if e == nil {
		return
	}
	if e.size >= 0 && len(c.msg.Body) > e.size {
		e.size = -1
	}
	if e.trusted != nil && len(e.trusted) < maxTrustedKeys {
		e.trusted[c.key] = true
		delete(e.keys, c.key)
	}
}

// forget drops all that is remembered.
func (s *suspicions) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchanges = nil
	s.some.Store(false)
}
