package consul

import (
	"context"
	"slices"
	"sync"
	"time"

	client "lictor/internal/consul"
	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

const (
	rereadEvery    = 10 * time.Minute       // whatever a watch may have missed is found after this
	heartbeatEvery = 4 * time.Second        // bounds how old Status.Contact gets while all is well
	auditGrace     = 250 * time.Millisecond // for the watch that knows to report the change first
	settleRounds   = 4                      // of reading prefixes before the whole is read at once
	paceEvery      = 50 * time.Millisecond  // between changes of a stream; single ones pass at once
	paceHeavy      = 4                      // a second of work is followed by four of rest, as far as the bucket goes
)

// session is one unbroken time with Consul: it begins with reading everything
// and ends with the first failure. One goroutine owns it; the watches only wake it.
type session struct {
	c       *Store
	lay     *layout
	loaded  bool                    // the content was read and published
	pending map[string]store.Change // read, but not yet published, by key
	round   uint64                  // counts readings
	scratch []byte
	pace    client.Bucket
	meant   *mirror.Meaning // of the marks, as of the last whole answer
	missed  bool            // the last whole answer had what a watch should have told

	size      int64           // bytes of the last whole answer
	shardsAt  uint64          // index of the sharded kind at which all its shards are known; 0 = not so
	explained uint64          // index of the last whole answer
	tops      map[string]bool // what lay directly below policy/ in it
	audited   uint64          // highest index that the audit saw

	wakes  chan wake
	audits chan overview
	fail   context.CancelCauseFunc // ends the session; the first reason counts
}

// wake is what a watch reports: its prefix has a new index. The watch waits until
// resume tells from which index to ask next.
type wake struct {
	node   *node
	meta   client.Meta
	resume chan<- uint64
}

// overview is what the audit reports: the names directly below policy/, and the
// index of all of it.
type overview struct {
	names []string
	index uint64
}

func newSession(c *Store) *session {
	s := &session{
		c: c, lay: newLayout(c.shard), pending: map[string]store.Change{}, pace: client.Bucket{Burst: 20, Every: paceEvery, Most: 40}, meant: &mirror.Meaning{},
		wakes: make(chan wake), audits: make(chan overview),
	}
	s.lay.fill(c.mirror.Everything())
	return s
}

// run reads everything and follows the changes. It returns nil when it is time
// to read everything again.
func (s *session) run(ctx context.Context) (err error) {
	ctx, s.fail = context.WithCancelCause(ctx)
	var watches sync.WaitGroup
	defer watches.Wait()
	defer func() {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		s.fail(nil)
	}()
	if err := s.whole(ctx); err != nil {
		return err
	}
	if s.size > s.c.splitAt {
		if err := s.split(ctx); err != nil {
			return err
		}
	}
	for _, n := range s.lay.nodes {
		index := n.index
		watches.Go(func() { s.watch(ctx, n, index) })
	}
	known := s.known()
	watches.Go(func() { s.heartbeat(ctx, known) })
	return s.follow(ctx)
}

// split changes to the split layout. A prefix whose index is not above that of
// the whole answer has not changed since.
func (s *session) split(ctx context.Context) error {
	s.lay = newSplitLayout(s.c.shard, slices.Concat(s.c.kinds, s.lay.kinds()))
	s.lay.fill(s.c.mirror.Everything())
	for _, n := range s.lay.nodes {
		a, err := s.c.probe(ctx, n.prefix, client.Query{})
		if err != nil {
			return err
		}
		n.empty = len(n.items) == 0
		if a.Empty == n.empty && (n.empty || a.Index <= s.explained) {
			n.index = a.Index
		}
	}
	return nil
}

// watch waits for changes of a node and reports them, until ctx ends or Consul
// cannot be asked, which ends the session. index is where to begin; from which one
// to go on follow says, after it has read.
func (s *session) watch(ctx context.Context, n *node, index uint64) {
	resume := make(chan uint64, 1)
	w := client.Watch{
		Wait:    func() time.Duration { return blockFor },
		Index:   index,
		Pace:    []client.Bucket{{Burst: 40, Every: 25 * time.Millisecond}},
		Contact: s.c.client.Contact,
	}
	w.Step = func(ctx context.Context, q client.Query) (uint64, error) {
		m, err := s.c.probe(ctx, n.prefix, q)
		switch {
		case err != nil:
			s.fail(err)
			return 0, err
		case m.Index == q.Index: // the time is over, nothing changed
			return m.Index, nil
		}
		select {
		case s.wakes <- wake{node: n, meta: m, resume: resume}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		select {
		case index := <-resume:
			return index, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	w.Run(ctx)
}

// heartbeat shows that Consul answers, and that it is the one we knew: servers
// that lost their history let a blocking query wait out its time. It also looks
// whether the watches told what changed, and, in the split layout, for keys that
// belong to no node. That makes Consul walk over all keys, so it is not asked in
// the moment of a change, nor if nothing in the whole KV changed.
func (s *session) heartbeat(ctx context.Context, last uint64) {
	beats := client.Heartbeat{Every: s.c.beat, First: s.c.beat}
	beats.Beat = func(ctx context.Context) error {
		seen := s.c.newest.Load()
		now, err := s.c.pulse(ctx)
		if err == nil && client.WentBack(seen, now) {
			err = errHistory
		}
		if err == nil && now != last {
			last = now
			err = s.audit(ctx)
		}
		if err == nil {
			s.c.mirror.Contact()
		}
		return err
	}
	s.fail(beats.Run(ctx))
}

// audit reports what lies directly below policy/.
func (s *session) audit(ctx context.Context) error {
	names, a, err := s.c.names(ctx)
	if err != nil {
		return err
	}
	select {
	case s.audits <- overview{names: names, index: a.Index}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow handles what the watches and the writers report.
func (s *session) follow(ctx context.Context) error {
	reread := time.After(rereadEvery)
	var grace <-chan time.Time
	for {
		var paused []wake
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-reread:
			return nil
		case o := <-s.audits:
			if s.lay.split && s.unwatched(o.names) {
				return nil
			}
			s.audited, grace = o.index, time.After(auditGrace)
			continue
		case <-grace:
			grace = nil
			if err := s.explain(ctx); err != nil || s.missed {
				return err // begin again, with new watches
			}
			continue
		case <-s.c.kick:
		case w := <-s.wakes:
			var err error
			if paused, err = s.collect(ctx, w); err != nil {
				return err
			}
			if len(paused) == 0 {
				continue // an empty prefix wakes with its neighbours
			}
		}
		if err := s.cycle(ctx, paused); err != nil {
			return err
		}
		if !s.lay.split && s.size > s.c.splitAt {
			return nil // grown: begin again, split
		}
		for _, w := range paused {
			w.resume <- max(w.node.index, 1)
		}
	}
}

// collect returns the watches whose nodes are to be read. It waits before, if the
// changes come in a stream.
func (s *session) collect(ctx context.Context, first wake) ([]wake, error) {
	paused := s.gather(first, nil)
	if len(paused) == 0 {
		return nil, nil
	}
	if err := s.rest(ctx); err != nil {
		return nil, err
	}
	select {
	case w := <-s.wakes:
		paused = s.gather(w, paused)
	default:
	}
	return paused, nil
}

// rest waits for as long as the pace says, or until a writer waits.
func (s *session) rest(ctx context.Context) error {
	d := s.pace.Spend(time.Now(), 0)
	if d == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.c.kick:
	case <-time.After(d):
	}
	return nil
}

// gather takes the first wake and the others that are there, and appends those
// whose nodes are to be read to paused; the other watches go on.
func (s *session) gather(first wake, paused []wake) []wake {
	for w := first; ; {
		if w.node.moved(w.meta) {
			paused = append(paused, w)
		} else {
			w.resume <- max(w.meta.Index, 1)
		}
		select {
		case w = <-s.wakes:
		default:
			return paused
		}
	}
}

// cycle reads the nodes that woke and those that a writer waits for, until what
// is known is one state of the store, and publishes it.
func (s *session) cycle(ctx context.Context, woken []wake) (err error) {
	began, waiters := time.Now(), s.c.takeWaiters()
	defer func() {
		s.c.settle(waiters, err)
		s.pace.Spend(time.Now(), max(1, float64(paceHeavy*time.Since(began))/float64(paceEvery)))
	}()
	var dirty []*node
	for _, w := range woken {
		dirty = append(dirty, w.node)
	}
	for _, w := range waiters {
		for _, key := range w.keys {
			dirty = append(dirty, s.lay.find([]byte(key)))
		}
	}
	for range settleRounds {
		if dirty, err = s.readAll(ctx, dirty); err != nil || dirty == nil {
			return err
		}
		if len(s.pending) == 0 {
			return nil
		}
		if dirty, err = s.unsettled(ctx, dirty[len(dirty)-1]); err != nil {
			return err
		}
		if len(dirty) == 0 {
			return s.settleOn(ctx, s.known(), false)
		}
	}
	return s.whole(ctx)
}

// known is the index up to which the changes of the store are explained by what
// was read.
func (s *session) known() uint64 {
	highest := s.explained
	for _, n := range s.lay.nodes {
		if !n.empty {
			highest = max(highest, n.index)
		}
	}
	return highest
}

// explain reads everything if the audit saw an index that no watch has reported:
// one of them may be dead without knowing it.
func (s *session) explain(ctx context.Context) error {
	if s.missed = false; s.audited <= s.known() {
		return nil
	}
	return s.whole(ctx)
}
