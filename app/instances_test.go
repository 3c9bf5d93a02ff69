package app

import (
	"testing"
	"time"
)

func TestMillisecondsAreTwoDigits(t *testing.T) {
	for d, want := range map[time.Duration]float64{
		0: 0, -1: 0, 49 * time.Microsecond: 0.049, 1234 * time.Microsecond: 1.2, 98_700 * time.Microsecond: 99, 99_900 * time.Microsecond: 100, 1234 * time.Millisecond: 1200,
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v is %v ms, want %v", d, got, want)
		}
	}
}
