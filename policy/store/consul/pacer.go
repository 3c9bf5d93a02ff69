package consul

import "time"

// pacer is a token bucket of time: single changes pass at once, a stream of
// them at the pace of every, or slower if the work is heavy. It is for one
// goroutine.
type pacer struct {
	every time.Duration // between changes of a stream
	burst time.Duration // how far work may run ahead
	debt  time.Duration // what was spent and is not yet earned again
	since time.Time     // when debt was right
}

const (
	paceEvery = 50 * time.Millisecond
	paceBurst = time.Second
	paceHeavy = 4               // a second of work is followed by four of rest,
	paceMost  = 2 * time.Second // but by no more than this less burst
)

func newPacer() pacer { return pacer{every: paceEvery, burst: paceBurst} }

// delay spends cost and returns how long to rest before going on.
func (p *pacer) delay(cost time.Duration) time.Duration {
	now := time.Now()
	p.debt = max(0, p.debt-now.Sub(p.since))
	p.since = now
	p.debt = min(p.debt+cost, paceMost)
	return max(0, p.debt-p.burst)
}

// spend charges work that took so long.
func (p *pacer) spend(took time.Duration) {
	p.delay(max(p.every, paceHeavy*took))
}
