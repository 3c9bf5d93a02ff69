package mesh

import (
	"context"
	"crypto/sha256"
	"io"
	"net/url"
	"time"

	client "lictor/internal/consul"
	"lictor/internal/pace"
)

const (
	// maxWait bounds how long a query waits: an agent that was restarted may leave
	// one with an old index without an answer.
	maxWait = 60 * time.Second

	// rereadEvery is how often both are asked for without an index: then the agent
	// makes sure that its certificate is one of the authority that signs now.
	rereadEvery = 5 * time.Minute
)

// follow repeats a query until ctx ends.
func (m *Mesh) follow(ctx context.Context, step func(context.Context, client.Query) (uint64, error)) {
	w := client.Watch{
		Step:    step,
		Wait:    func() time.Duration { return pace.Jitter(maxWait) },
		Reread:  rereadEvery,
		Pace:    []client.Bucket{{Burst: 5, Every: 2 * time.Second}},
		Contact: m.cfg.Contact,
	}
	w.Run(ctx)
}

// askLeaf asks for the certificate once.
func (m *Mesh) askLeaf(ctx context.Context, q client.Query) (uint64, error) {
	var next *leaf
	said, err := m.cfg.Client.Get(ctx, "/v1/agent/connect/ca/leaf/"+m.cfg.Service, q, func(body io.Reader) (err error) {
		next, err = readLeaf(body)
		return err
	})
	if err != nil {
		return 0, m.notFollowed(ctx, &m.leafErr, err)
	}
	m.replaceLeaf(next)
	return said.Index, nil
}

// askRoots asks for the authorities once.
func (m *Mesh) askRoots(ctx context.Context, q client.Query) (uint64, error) {
	var next *roots
	said, err := m.cfg.Client.Get(ctx, "/v1/agent/connect/ca/roots", q, func(body io.Reader) (err error) {
		next, err = readRoots(body)
		return err
	})
	if err != nil {
		return 0, m.notFollowed(ctx, &m.rootsErr, err)
	}
	m.replaceRoots(next)
	return said.Index, nil
}

// settleTime is what the agents of sidecars may take to hear of an intention.
const settleTime = 2 * time.Second

// askIntentions asks once for the intentions that speak of lictor. What they say is
// for peers to heed, at each new connection: so when they changed, and once more
// when everybody has heard of it, connections of before are given up.
func (m *Mesh) askIntentions(ctx context.Context, q client.Query) (uint64, error) {
	q.Form = url.Values{"by": {"source"}, "name": {m.cfg.Service}}
	sum := sha256.New()
	said, err := m.cfg.Client.Get(ctx, "/v1/connect/intentions/match", q, func(body io.Reader) error {
		_, err := io.Copy(sum, body)
		return err
	})
	if err != nil {
		return 0, m.notFollowed(ctx, &m.intentionsErr, err)
	}
	if m.replaceIntentions(sum.Sum(nil)) {
		m.intentions.forget()
		m.renew()
		_ = pace.Sleep(ctx, settleTime)
		m.intentions.forget()
		m.renew()
	}
	return said.Index, nil
}

// notFollowed notes err, unless it is that of the end.
func (m *Mesh) notFollowed(ctx context.Context, was *string, err error) error {
	if ctx.Err() == nil {
		m.failed(was, err)
	}
	return err
}
