package resolver

import "sync"

// Notifier is a [Source] that tells when its catalog changes. Of one that is none
// only who asks it again knows.
type Notifier interface {
	// OnChange has f called after each change of the catalog, by whoever changed
	// it: f must be quick and must call nothing of the source but Catalog.
	OnChange(f func())
}

// Bell is a [Notifier] for sources to hold. The zero value is ready to use.
type Bell struct {
	mu   sync.Mutex // guards hear
	hear []func()
}

// OnChange implements [Notifier].
func (b *Bell) OnChange(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hear = append(b.hear, f)
}

// Ring calls what OnChange was given.
func (b *Bell) Ring() {
	b.mu.Lock()
	hear := b.hear
	b.mu.Unlock()
	for _, f := range hear {
		f()
	}
}
