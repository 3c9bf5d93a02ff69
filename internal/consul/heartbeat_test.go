package consul

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAHeartbeatBeats(t *testing.T) {
	tests := []struct {
		name  string
		first time.Duration
		beat  func(n int) error // the n-th, from 1
		wake  bool              // Consul comes back after a second
		want  int               // in twenty seconds, at least
		most  int
		ends  bool // before the twenty seconds are over
	}{
		{"at once and then in time", 0, func(int) error { return nil }, false, 5, 8, false},
		{"first after a while", 19 * time.Second, func(int) error { return nil }, false, 1, 2, false},
		{"when Consul comes back", 20 * time.Second, func(int) error { return nil }, true, 4, 7, false},
		{"until one fails", 0, func(n int) error {
			if n == 2 {
				return errors.New("boom")
			}
			return nil
		}, false, 2, 2, true},
		{"on behind a panic", 0, func(n int) error {
			if n == 2 {
				panic("boom")
			}
			return nil
		}, false, 5, 8, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				n, contact := 0, NewContact()
				h := Heartbeat{Every: 4 * time.Second, First: tt.first, Contact: contact, Beat: func(context.Context) error {
					n++
					return tt.beat(n)
				}}
				if tt.wake {
					contact.Failed()
					time.AfterFunc(time.Second, contact.Heard)
				}
				err := h.Run(ctx)
				if n < tt.want || n > tt.most {
					t.Errorf("%d beats, want %d to %d", n, tt.want, tt.most)
				}
				if ended := ctx.Err() == nil; ended != tt.ends || err == nil {
					t.Errorf("it ended by itself: %v, with %v", ended, err)
				}
			})
		})
	}
}
