package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"lictor/internal/limits"
)

// Limits on sessions (U2).
const (
	maxSessions = 256            // for one more, one of the token that has most ends
	sessionLife = 12 * time.Hour // after which the token is asked for again
	sessionIdle = time.Hour      // the same, without a request
)

// sum is a SHA-256: what is compared in place of a secret, so that the time that it
// takes tells nothing.
type sum = [sha256.Size]byte

// sessions are the people who are signed in. The zero value is ready to use.
type sessions struct {
	mu  sync.Mutex // guards all
	all map[sum]*session
}

// session is somebody who has shown the token. It has the rights of that very
// token, and none once there is another one.
type session struct {
	token       sum    // of the admin token
	form        string // what its forms carry, which no other page can know
	began, used time.Time
}

// newSecret returns 256 random bits as text.
func newSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// begin makes a session for who has shown the token, and returns its id, which is
// kept nowhere.
func (s *sessions) begin(token sum, now time.Time) (id string) {
	id = newSecret()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[sum]*session)
	}
	if len(s.all) >= maxSessions {
		limits.Hit("sessions")
		s.makeRoom()
	}
	s.all[sha256.Sum256([]byte(id))] = &session{token: token, form: newSecret(), began: now, used: now}
	return id
}

// makeRoom ends a session of the token that has most, the one that was quiet for longest:
// whoever signs in again and again, with whatever rights, signs out nobody else. The
// caller holds mu.
func (s *sessions) makeRoom() {
	of := make(map[sum]int)
	most := 0
	for _, one := range s.all {
		of[one.token]++
		most = max(most, of[one.token])
	}
	var quiet sum
	for id, one := range s.all {
		if of[one.token] == most && (s.all[quiet] == nil || one.used.Before(s.all[quiet].used)) {
			quiet = id
		}
	}
	delete(s.all, quiet)
}

// find returns what the forms of a session carry, and whether it goes on: it ends by its age, and once nobody holds its token.
func (s *sessions) find(id string, held func(token sum) bool, now time.Time) (form string, ok bool) {
	key := sha256.Sum256([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	switch {
	case one == nil:
		return "", false
	case now.Sub(one.began) > sessionLife || now.Sub(one.used) > sessionIdle || !held(one.token):
		delete(s.all, key)
		return "", false
	}
	one.used = now
	return one.form, true
}

// end ends a session, if there is one of this id.
func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(id)))
}
