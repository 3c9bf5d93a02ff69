package consul

import (
	"testing"
	"time"
)

// TestDeadConnection: a query has its own deadline, for a dead connection never answers.
func TestDeadConnection(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop")
		fake.edit(func() { fake.dead = true })
		b.pass(3 * time.Minute)
		if s := b.Status(); s.Error == "" {
			t.Error("status shows no error after 3 minutes of silence")
		}
		b.expect("shop", "a passing", "silence")
		fake.edit(func() { fake.dead = false })
		b.pass(2 * time.Minute)
		if s := b.Status(); s.Error != "" {
			t.Errorf("the watches did not recover: %s", s.Error)
		}
	})
}
