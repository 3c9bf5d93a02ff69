package admin

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSessionsEndByTheirAge(t *testing.T) { // U2
	tests := []struct {
		name  string
		waits []time.Duration // after each the session is asked for
		lives bool
	}{
		{"at once", nil, true},
		{"within the hour", []time.Duration{59 * time.Minute}, true},
		{"an hour without a request", []time.Duration{61 * time.Minute}, false},
		{"used all the time", []time.Duration{50 * time.Minute, 50 * time.Minute, 50 * time.Minute}, true},
		{"used for more than twelve hours", append(make([]time.Duration, 0), repeat(50*time.Minute, 15)...), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s sessions
				id := s.begin(sum{1}, time.Now())
				ok := true
				for _, wait := range tt.waits {
					time.Sleep(wait)
					_, ok = s.find(id, is(sum{1}), time.Now())
				}
				if _, now := s.find(id, is(sum{1}), time.Now()); now != tt.lives || ok != tt.lives {
					t.Errorf("lives: %v, want %v", now, tt.lives)
				}
				if len(s.all) > 0 != tt.lives {
					t.Errorf("%d are remembered", len(s.all))
				}
			})
		})
	}
}

func repeat(d time.Duration, n int) (all []time.Duration) {
	for range n {
		all = append(all, d)
	}
	return all
}

func TestTheQuietestSessionMakesRoom(t *testing.T) { // U2
	var s sessions
	began := time.Now()
	var ids []string
	for i := range maxSessions {
		ids = append(ids, s.begin(sum{1}, began.Add(time.Duration(i))))
	}
	if _, ok := s.find(ids[0], is(sum{1}), began.Add(time.Minute)); !ok {
		t.Fatal("the first is gone before there are too many")
	}
	last := s.begin(sum{1}, began.Add(time.Minute))
	if len(s.all) != maxSessions {
		t.Errorf("%d sessions, want %d", len(s.all), maxSessions)
	}
	for id, want := range map[string]bool{ids[0]: true, ids[1]: false, ids[2]: true, last: true, "": false, "nobody": false} {
		if _, ok := s.find(id, is(sum{1}), began.Add(time.Minute)); ok != want {
			t.Errorf("session %.6q lives: %v, want %v", id, ok, want)
		}
	}
}

// Who has a token, be it for metrics alone, ends no session of another one by beginning
// many.
func TestManySessionsOfOneTokenEndNoneOfAnother(t *testing.T) { // U2
	var s sessions
	began := time.Now()
	mine := s.begin(sum{1}, began)
	for i := range 2 * maxSessions {
		s.begin(sum{2}, began.Add(time.Duration(i+1)))
	}
	if _, ok := s.find(mine, is(sum{1}), began.Add(time.Minute)); !ok || len(s.all) != maxSessions {
		t.Errorf("the session is there: %v, of %d", ok, len(s.all))
	}
}

func TestASessionHasTheRightsOfItsToken(t *testing.T) {
	var s sessions
	now := time.Now()
	id := s.begin(sum{1}, now)
	if _, ok := s.find(id, is(sum{2}), now); ok {
		t.Error("another token opens it")
	}
	if _, ok := s.find(id, is(sum{1}), now); ok {
		t.Error("the former token, taken up again, brings it back")
	}
}

// is has one token held.
func is(one sum) func(sum) bool { return func(s sum) bool { return s == one } }
