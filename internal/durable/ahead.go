package durable

import "time"

// NotAhead returns the time that a file tells, or the present where that is earlier: the
// clock was ahead when it was written. What is so old is then told to be new, but it gets
// older; what is of the future never would, and would count for ever however long its
// source is away.
func NotAhead(t time.Time) time.Time {
	if now := time.Now(); t.After(now) {
		return now
	}
	return t
}
