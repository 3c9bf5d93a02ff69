package tokens

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"
	"unsafe"

	"lictor/policy"
)

const (
	shards = 16
	// maxRemembered bounds the tokens that are remembered; one that is not is
	// verified again.
	maxRemembered = 32 << 10
	// maxBytes bounds what they say: an issuer may put hundreds of groups into each.
	maxBytes = 64 << 20
)

// identity is by what a token is remembered: what is known by its digest was good
// by these rules, and nobody can make another text of the digest.
type identity struct {
	digest [sha256.Size]byte
	rules  *policy.TokenRules
}

func identify(rules *policy.TokenRules, text string) identity {
	return identity{sha256.Sum256(unsafe.Slice(unsafe.StringData(text), len(text))), rules}
}

// remembered are the tokens that were verified. [remembered.init] readies it.
type remembered struct{ shards [shards]shard }

type shard struct {
	mu    sync.RWMutex // guards what follows
	known map[identity]memory
	bytes int // of known
}

// memory is a token with the set that it was verified by; with another one it is
// verified again.
type memory struct {
	token *policy.Token
	set   *keys
	size  int
}

// sizeOf is how much memory a token takes about, with what is made of it for a consumer.
func sizeOf(t *policy.Token) int {
	const entry, list, group = 512, 64, 64 // what each takes beside its text
	n := entry + len(t.Consumer)
	for _, h := range t.Headers {
		n += list + len(h.Value)
	}
	for _, g := range t.Groups {
		n += group + 2*len(g) // once more in the value of a header
	}
	return n
}

func (r *remembered) init() {
	for i := range r.shards {
		r.shards[i].known = make(map[identity]memory)
	}
}

func (r *remembered) shard(id *identity) *shard { return &r.shards[id.digest[0]%shards] }

// find returns a token that was verified by the set, nil if there is none.
func (r *remembered) find(id identity, set *keys) *policy.Token {
	s := r.shard(&id)
	s.mu.RLock()
	m := s.known[id]
	s.mu.RUnlock()
	if m.token == nil || m.set != set {
		return nil
	}
	return m.token
}

// add remembers a token. If there is no room, one that has run out is forgotten, or
// any.
func (r *remembered) add(id identity, set *keys, t *policy.Token, now time.Time) {
	s := r.shard(&id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(id)
	size := sizeOf(t)
	for len(s.known) > 0 && (len(s.known) >= maxRemembered/shards || s.bytes+size > maxBytes/shards) {
		s.evict(now)
	}
	s.known[id] = memory{t, set, size}
	s.bytes += size
}

func (s *shard) forget(id identity) {
	s.bytes -= s.known[id].size
	delete(s.known, id)
}

// looked is how many tokens are looked at for one that has run out.
const looked = 8

func (s *shard) evict(now time.Time) {
	var victim identity
	n := 0
	for id, m := range s.known { // in no order: nobody chooses who goes
		victim = id
		if n++; n == looked || !now.Before(m.token.Expires) {
			break
		}
	}
	s.forget(victim)
}

// sweep forgets what has run out, and what was verified by rules that are not in
// force any more.
func (r *remembered) sweep(now time.Time, rules []*policy.TokenRules) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for id, m := range s.known {
			if !now.Before(m.token.Expires) || !slices.Contains(rules, id.rules) {
				s.forget(id)
			}
		}
		s.mu.Unlock()
	}
}

// len is how many tokens are remembered.
func (r *remembered) len() (n int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		n += len(s.known)
		s.mu.RUnlock()
	}
	return n
}
