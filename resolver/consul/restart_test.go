package consul

import (
	"strings"
	"testing"
	"time"
)

// TestAServerThatReadsItsLogHasNotLostIt: Consul is restarted with its data, and
// answers before it has read all of it. What was deregistered meanwhile is gone.
func TestAServerThatReadsItsLogHasNotLostIt(t *testing.T) {
	fake := newFake()
	for _, name := range []string{"shop", "cart", "user", "old"} {
		fake.set(name, instance("a", 1, httpOK))
	}
	onBench(t, fake, nil, func(b *bench) {
		b.want("shop", "old")
		fake.edit(func() { fake.away = true })
		fake.forget()
		b.pass(time.Minute)
		fake.edit(func() { fake.away, fake.reading = false, 50 })
		for range 400 { // every watch asks meanwhile
			b.pass(100 * time.Millisecond)
			b.expect("shop", "a passing", "while it reads")
		}
		fake.set("old")
		fake.edit(func() { fake.reading = 0 })
		b.pass(time.Minute) // the list of names may ask only now, and the first answer about old is doubted for 30 s
		b.expect("shop", "a passing", "when it has read it")
		b.expect("old", "unknown", "when it has read it")
		if s := b.Status(); s.Held != "" || strings.Contains(b.log.String(), "lost its history") {
			t.Errorf("it is taken for a loss: %q\n%s", s.Held, b.log)
		}
	})
}
