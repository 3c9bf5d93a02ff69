package mesh

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	client "lictor/internal/consul"
	"lictor/internal/crash"
)

// Bounds of what is asked about intentions. Requests of clients bring it about, so
// an answer serves all who ask within a moment, and there are only so many.
const (
	Remembered = 2 * time.Second // an answer counts for so long
	askTime    = time.Second     // for an answer
	maxKnown   = 1024            // services whose answer is remembered
)

var askPace = client.Bucket{Burst: 20, Every: 100 * time.Millisecond}

// ErrBusy is what Allowed returns where too much was asked lately.
var ErrBusy = errors.New("too many questions about intentions")

// intentions are what Consul said of lately.
type intentions struct {
	mu    sync.Mutex // guards what follows
	known map[string]*verdict
	pace  client.Bucket
}

// verdict is Consul's answer about one service.
type verdict struct {
	done    chan struct{} // closed when it is there
	until   time.Time     // it counts until then; of one that is not there yet, far ahead
	allowed bool
	err     error
}

func (i *intentions) init() {
	i.known = make(map[string]*verdict)
	i.pace = askPace
}

// Allowed asks Consul whether its intentions let lictor connect to the service,
// and waits for the answer, a second at most. Where intentions look at each request
// Consul answers no: that is for the peer to say. All who ask about one service
// within [Remembered] share an answer; past a pace of questions there is [ErrBusy].
func (m *Mesh) Allowed(ctx context.Context, service string) (bool, error) {
	v := m.verdict(service, time.Now())
	if v == nil {
		return false, ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	select {
	case <-v.done:
		return v.allowed, v.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// verdict returns the answer that counts now, or has it asked for; nil if that is
// too much.
func (m *Mesh) verdict(service string, now time.Time) *verdict {
	i := &m.intentions
	i.mu.Lock()
	defer i.mu.Unlock()
	if v := i.known[service]; v != nil && now.Before(v.until) {
		return v
	}
	if i.pace.Take(now) > 0 {
		i.pace.Untake() // what is not asked does not count
		return nil
	}
	i.forgetLocked(now)
	v := &verdict{done: make(chan struct{}), until: now.Add(time.Minute), err: client.ErrPanic}
	i.known[service] = v
	settle := func() {
		i.mu.Lock()
		v.until = time.Now().Add(Remembered)
		i.mu.Unlock()
		close(v.done)
	}
	crash.Go("consul answer", func() {
		v.allowed, v.err = m.ask(service)
		settle()
	}, settle)
	return v
}

// forget has everything asked anew.
func (i *intentions) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.known)
}

// forgetLocked makes room for one more answer. i.mu is held.
func (i *intentions) forgetLocked(now time.Time) {
	if len(i.known) < maxKnown {
		return
	}
	for service, v := range i.known {
		if !now.Before(v.until) || len(i.known) >= maxKnown {
			delete(i.known, service) // who waits for it has it
		}
	}
}

// ask asks Consul once.
func (m *Mesh) ask(service string) (allowed bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	form := url.Values{"source": {m.cfg.Service}, "destination": {service}}
	var said struct{ Allowed bool }
	err = m.cfg.Client.Send(ctx, http.MethodGet, "/v1/connect/intentions/check", form, nil, func(body io.Reader) error {
		return decode(body, &said)
	})
	return said.Allowed, err
}
