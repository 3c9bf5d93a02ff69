package consul

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"lictor/internal/crash"
	"lictor/internal/pace"
)

// probeEvery is how often a Consul that does not answer is looked for. It
// bounds how late its return is noticed, and costs one small request. A probe
// does not wait for the one before, whose packets may be lost.
const (
	probeEvery = 300 * time.Millisecond
	probeTime  = 2 * time.Second
)

// Contact is whether Consul can be reached, as all its clients in this process
// see it. Each of them backs off by itself; whoever hears Consul first wakes
// the others. What an agent answers without the servers is no word of Consul: it
// does so while there is no leader.
type Contact struct {
	ProbeEvery time.Duration // between looks for a Consul that does not answer; 0 = 0.3 s

	mu    sync.Mutex
	heard chan struct{} // closed when Consul is heard again; nil while it answers
	lost  chan struct{} // tells Probe that it does not
	other chan struct{} // closed when Consul is asked as somebody else
	back  []chan struct{}
	since time.Time // Consul was heard last
}

// NewContact returns a contact that is believed to be good.
func NewContact() *Contact {
	return &Contact{lost: make(chan struct{}, 1), other: make(chan struct{}), since: time.Now()}
}

// renewed wakes those who wait behind a failure: Consul is asked as somebody
// else now, and may answer.
func (c *Contact) renewed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.other)
	c.other = make(chan struct{})
}

func (c *Contact) renewal() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.other
}

// Failed notes that Consul did not answer, or that it cannot do its work.
func (c *Contact) Failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil {
		c.heard = make(chan struct{})
		select {
		case c.lost <- struct{}{}:
		default:
		}
	}
}

// Heard notes an answer, and wakes those who wait for one.
func (c *Contact) Heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
	if c.heard != nil {
		close(c.heard)
		c.heard = nil
		for _, back := range c.back {
			select {
			case back <- struct{}{}:
			default: // is told already
			}
		}
	}
}

// Back returns a channel that has an element each time that Consul is heard
// again. What was sent before lies on connections whose packets may come late.
func (c *Contact) Back() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	back := make(chan struct{}, 1)
	c.back = append(c.back, back)
	return back
}

// Since is when Consul was heard last, or began to be listened to.
func (c *Contact) Since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since
}

// Down reports whether Consul did not answer when it was asked last.
func (c *Contact) Down() bool { return c.waiting() != nil }

// waiting returns what is closed when Consul is heard again; nil, which never
// is, while it answers.
func (c *Contact) waiting() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

// Probe looks for a Consul that does not answer, until ctx ends. It needs to run
// once for a contact; without it the clients come back by their own pauses.
func (c *Contact) Probe(ctx context.Context, client *Client) error {
	var probes sync.WaitGroup
	defer probes.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.lost:
		}
		for c.Down() {
			if pace.Sleep(ctx, pace.Jitter(cmp.Or(c.ProbeEvery, probeEvery))) != nil {
				return ctx.Err()
			}
			probes.Go(func() {
				defer crash.Contain("consul answer", nil)
				client.askLeader(ctx)
			})
		}
	}
}

// askLeader asks for the leader, on a connection of its own. An agent without one
// cannot answer anything else.
func (c *Client) askLeader(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	resp, err := c.send(ctx, c.quiet, http.MethodGet, "/v1/status/leader", nil, nil)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	leader, err := io.ReadAll(io.LimitReader(resp.Body, 256))
	if err == nil && resp.StatusCode == http.StatusOK && strings.Contains(string(leader), ":") {
		c.Contact.Heard()
	}
}
