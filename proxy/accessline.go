package proxy

// Line writes a line that another listener made, without its end.
func (l *AccessLog) Line(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(append(l.buf, p...), '\n')
	if len(l.buf) >= flushSize {
		l.flush()
	}
}
