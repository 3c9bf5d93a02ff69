package eventually

import (
	"testing"
	"time"
)

// Pace is the beat by which a peer of a test acts, and how late it was with it: that
// something goes by time shows only while the machine lets its peer act in time. One
// goroutine at a time may use it.
type Pace struct {
	Beat time.Duration

	last time.Time     // when it acted, or the try began
	late time.Duration // the most by which it ever was
}

// AtAPace has try act by a beat. If it fails, and its peer was late by a whole beat or more,
// it is tried again at half the pace. What try started must have ended when it returns.
func AtAPace(t testing.TB, beat time.Duration, try func(*Pace) error) {
	t.Helper()
	for {
		p := &Pace{Beat: beat, last: time.Now()}
		err := try(p)
		if err == nil {
			return
		}
		if p.late < beat || beat > limit/20 {
			t.Fatalf("at a beat of %v, by at most %v late: %v", beat, p.late, err)
		}
		beat *= 2
	}
}

// Await waits for the next beat.
func (p *Pace) Await() {
	time.Sleep(time.Until(p.last.Add(p.Beat)))
	now := time.Now()
	p.late = max(p.late, now.Sub(p.last)-p.Beat)
	p.last = now
}
