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
