// Package monotonic is a clock that nobody sets: its moments are numbers that can be
// kept in an atomic and compared. They mean something in this process only.
package monotonic

import "time"

var start = time.Now()

// Now is the time since the process started, in nanoseconds. It does not allocate.
func Now() int64 { return int64(time.Since(start)) }

// Of returns the moment of t, which must have come from [time.Now] or a sum with that.
func Of(t time.Time) int64 { return int64(t.Sub(start)) }

// Time returns the time of a moment, for what takes a deadline.
func Time(moment int64) time.Time { return start.Add(time.Duration(moment)) }
