package policy

// keyNote says, for an explanation, why the key of a request identified nobody.
// Who asks an explanation may know; the client is told the same whatever it
// was, or it could try keys and learn which are known.
func (d *decision) keyNote(key presented) string {
	if d.rec == nil {
		return ""
	}
	switch c, ok := d.set.credentials.Get(digestHash(&key.digest), key.digest); {
	case !key.found:
		return "no key was sent"
	case key.twice:
		return "a key was sent twice, so that it is nobody's"
	case !ok:
		return "a key was sent that is not known"
	case !c.NotAfter.IsZero() && !d.req.Now.Before(c.NotAfter):
		return "a key was sent that ran out at " + c.NotAfter.UTC().Format("2006-01-02 15:04:05 MST")
	default:
		return "a key was sent whose consumer " + c.Consumer + " does not exist"
	}
}

// explainKey adds the note to what the step said last.
func (d *decision) explainKey(key presented) {
	if d.rec != nil && len(d.rec.Steps) > 0 {
		last := &d.rec.Steps[len(d.rec.Steps)-1]
		last.Note += ": " + d.keyNote(key)
	}
}
