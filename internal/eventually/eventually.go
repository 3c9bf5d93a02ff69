// Package eventually waits, in tests, for what comes by itself: a goroutine's
// work, a packet, a file's reader. A test that knows its clock uses
// testing/synctest instead.
package eventually

import (
	"testing"
	"time"
)

// limit is how long anything may take on a machine that is busy with other
// things. Nobody waits for it but a test that fails.
const limit = time.Minute

// True waits until ok holds, and fails the test if it never does.
func True(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(limit); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// Holds checks that ok goes on holding for a while, in which it has every chance
// not to.
func Holds(t testing.TB, while time.Duration, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(while); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if !ok() {
			t.Fatalf("not for %v: %s", while, what)
		}
	}
}
