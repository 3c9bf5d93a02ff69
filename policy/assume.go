package policy

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
