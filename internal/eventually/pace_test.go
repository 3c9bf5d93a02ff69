package eventually

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a test that was told of a failure.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Fatalf(string, ...any) { r.failed = true; panic(r) }

func TestWhatGoesAtAPace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pause time.Duration // of the machine, in each try
		works time.Duration // the beat at which it works, 0: at none
		tries int
		fails bool
	}{
		{"is tried once if it works", 0, 1, 1, false},
		{"is tried once if it fails and was in time", 0, 0, 1, true},
		{"is tried once if it fails and was less than a beat late", 15 * time.Millisecond, 0, 1, true},
		{"is tried at half the pace if it was a beat late", 60 * time.Millisecond, 40 * time.Millisecond, 3, false},
		{"is judged once it was in time", 60 * time.Millisecond, 0, 3, true},
		{"is judged in the end, however slow the machine is", time.Hour, 0, 10, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries, r := 0, &recorder{TB: t}
				func() {
					defer func() { _ = recover() }() // of its Fatalf
					AtAPace(r, 10*time.Millisecond, func(p *Pace) error {
						tries++
						time.Sleep(tt.pause)
						p.Await()
						if tt.works > 0 && p.Beat >= tt.works {
							return nil
						}
						return errors.New("it does not work")
					})
				}()
				if tries != tt.tries || r.failed != tt.fails {
					t.Errorf("tried %d times, failed %t; want %d, %t", tries, r.failed, tt.tries, tt.fails)
				}
			})
		})
	}
}
