// Package feed follows blacklists that are made elsewhere: it reads them from files
// and URLs, keeps the last good copy of each, and hands them on compiled (A18).
//
// What cannot be read, or is no list any more, leaves the last good entries in force,
// and says so. No feed waits for another one.
package feed

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/policy"
)

// Source is a feed of the configuration. Either Path or URL is given.
type Source struct {
	policy.FeedOptions
	Path    string
	URL     string // https, or http on this machine
	Format  Format
	Refresh time.Duration // between looks
	Size    int64         // most bytes of it, as they are when nothing packs them
}

// place is where the feed is from, as people are told it: what stands behind the ?
// of a URL may be a key.
func (s *Source) place() string {
	if s.Path != "" {
		return s.Path
	}
	place, _, _ := strings.Cut(s.URL, "?")
	return place
}

// Config is what New needs.
type Config struct {
	Sources []Source
	DataDir string // for the last good copies; "" = none are kept
	Log     hclog.Logger
	// Publish is told all feeds whenever one of them is another, by one goroutine at a
	// time.
	Publish func([]*policy.Feed)
}

// Feeds are the feeds of the configuration. [New] makes them. Their methods may be
// called by any goroutine.
type Feeds struct {
	cfg    Config
	client *http.Client
	wake   chan struct{} // has an element when Update was called

	mu        sync.Mutex // guards what follows
	sources   []Source
	followers map[string]*follower // by name

	publishing sync.Mutex // held while Publish runs
}

// New returns the feeds and publishes them at once: until one of them was read it closes
// what it guards, unless an earlier life kept it, which Run finds.
func New(cfg Config) (*Feeds, error) {
	if cfg.Log == nil || cfg.Publish == nil {
		return nil, errors.New("feed: Log and Publish are required")
	}
	f := &Feeds{cfg: cfg, client: newClient(), wake: make(chan struct{}, 1), sources: cfg.Sources, followers: map[string]*follower{}}
	for _, s := range cfg.Sources {
		f.followers[s.Name] = newFollower(f, s, policy.UnknownFeed(s.FeedOptions))
	}
	f.publish()
	return f, nil
}

// Update puts other sources in the place of those there are. One that is new is in
// force once it was read: what is in force without it stays so until then. One that
// is changed keeps the entries that it has until it was read anew, and so does one
// that has another name now. It does not block.
func (f *Feeds) Update(sources []Source) {
	f.mu.Lock()
	f.sources = sources
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run follows the feeds until ctx ends, and returns nil then.
func (f *Feeds) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer f.client.CloseIdleConnections()
	defer running.Wait()
	f.forgetOthers()
	stops := map[string]func(){}
	for {
		for _, started := range f.reconcile(stops) {
			ctx, stop := context.WithCancel(ctx)
			stops[started.source.Name] = stop
			running.Go(func() { started.run(ctx) })
		}
		select {
		case <-ctx.Done():
			for _, stop := range stops {
				stop()
			}
			return nil
		case <-f.wake:
		}
	}
}

// reconcile stops the followers of sources that are gone or changed, and returns those
// that are to be started.
func (f *Feeds) reconcile(stops map[string]func()) (start []*follower) {
	f.mu.Lock()
	wanted := map[string]bool{}
	for _, s := range f.sources {
		wanted[s.Name] = true
	}
	for _, s := range f.sources {
		known := f.followers[s.Name]
		switch {
		case known == nil:
			known = newFollower(f, s, f.renamed(s, wanted))
		case stops[s.Name] == nil: // not started yet
		case reflect.DeepEqual(known.source, s):
			continue
		default:
			stops[s.Name]()
			known = newFollower(f, s, known.retire(s))
		}
		f.followers[s.Name] = known
		start = append(start, known)
	}
	for name := range f.followers {
		if !wanted[name] {
			if stop := stops[name]; stop != nil {
				stop()
			}
			delete(stops, name)
			delete(f.followers, name)
		}
	}
	f.mu.Unlock()
	f.publish()
	return start
}

// renamed returns what is in force of the same list under a name that is wanted no
// more, nil if there is none.
func (f *Feeds) renamed(s Source, wanted map[string]bool) *policy.Feed {
	for name, known := range f.followers {
		if k := &known.source; !wanted[name] && k.Path == s.Path && k.URL == s.URL && k.Format == s.Format {
			return known.retire(s)
		}
	}
	return nil
}

// publish tells of all feeds that are in force.
func (f *Feeds) publish() {
	f.publishing.Lock()
	defer f.publishing.Unlock()
	var feeds []*policy.Feed
	for _, follower := range f.all() {
		if feed := follower.inForce(); feed != nil {
			feeds = append(feeds, feed)
		}
	}
	f.cfg.Publish(feeds)
}

// all are the followers, in the order of their names.
func (f *Feeds) all() []*follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*follower, 0, len(f.followers))
	for _, name := range slices.Sorted(maps.Keys(f.followers)) {
		all = append(all, f.followers[name])
	}
	return all
}

// Status tells of all feeds, in the order of their names.
func (f *Feeds) Status() []Status {
	var all []Status
	for _, follower := range f.all() {
		all = append(all, follower.tell())
	}
	return all
}
