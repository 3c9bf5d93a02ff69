package policy

// HasConsumer reports whether an id or a name is that of a consumer.
func (s *Set) HasConsumer(ref string) bool { return s != nil && s.consumer(ref) != nil }

// asConsumer lets a dry question be that of a consumer who shows no credential. It
// reports whether it is such a question.
func (d *decision) asConsumer() bool {
	if !d.req.Dry || d.req.As == "" {
		return false
	}
	if d.who = d.set.consumer(d.req.As); d.who == nil {
		return false
	}
	d.identified([32]byte{})
	return true
}

// Shown is what a request showed of who it is from, as a record of it tells: the values
// are not in it. It is asked in place of the header and the query.
type Shown interface {
	// Key returns the first of names under which there was a key, "" if there was none,
	// with the digest of the key, the zero one if that is not known, and whether it was
	// there twice.
	Key(names []string) (name string, digest [32]byte, twice bool)

	// Token returns what a plugin jwt with a sum of its configuration ([Rests]) makes of
	// the token, an error if it refuses it.
	Token(sum uint32, rules *TokenRules) (*Token, error)
}

// shows returns what a dry question knows of what was shown, nil if it is asked as any
// request is.
func (d *decision) shows() Shown {
	if !d.req.Dry {
		return nil
	}
	return d.req.Shown
}

// Assume makes a dry question one about a path that some backends read in other
// ways than in its canonical form, whichever these are: readings stand for those
// that its text has, named for those behind the segment of its service, where that
// is another path (D22). The path itself must be an odd one. It holds until it is
// called again; without readings the path's own count. A question that is not dry
// never assumes anything.
func (r *Request) Assume(readings, named []string) {
	r.scratch.assumed, r.scratch.assumedNamed = readings, named
}

// assume puts what is assumed in the place of the readings.
func (r *Request) assume() {
	if s := &r.scratch; r.Dry && s.assumed != nil {
		s.readings.Assume(r.Path, s.assumed)
		s.namedReadings.Assume(&s.namedPath, s.assumedNamed)
	}
}
