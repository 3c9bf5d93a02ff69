package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lictor/internal/crash"
	"lictor/internal/durable"
	"lictor/internal/files"
	"lictor/internal/pace"
	"lictor/policy"
)

// Status says how a feed is.
type Status struct {
	Name     string
	Source   string    // path or URL, without what may be secret
	Entries  int       // in force
	BadLines int       // of what is in force
	Bad      []BadLine // the first of them
	Read     time.Time // when what is in force was last known to be so; zero = never
	Kept     bool      // it is the copy of an earlier life
	Known    bool      // false: it closes what it guards, or is not in force yet
	Problem  string    // why it could not be read last, or not be kept; "" = it could
}

// follower follows one source.
type follower struct {
	feeds  *Feeds
	source Source

	// What the source said of what was read last; of run alone.
	edition edition
	again   int // times that the file was being written

	mu     sync.Mutex // guards what follows
	feed   *policy.Feed
	status Status
	over   bool // another one took its place
}

// edition tells versions of a source apart. The zero edition is none.
type edition struct {
	etag, modified string
	file           files.Stamp
}

// newFollower returns what follows a source. feed is in force until it was read;
// nil = nothing is.
func newFollower(f *Feeds, s Source, feed *policy.Feed) *follower {
	return &follower{feeds: f, source: s, feed: feed, status: Status{Name: s.Name, Source: s.place()}}
}

// retire takes a follower out of service, and returns what it has in force, as the
// source that takes its place says.
func (w *follower) retire(s Source) *policy.Feed {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.feed == nil {
		return nil
	}
	return w.feed.As(s.FeedOptions)
}

func (w *follower) inForce() *policy.Feed {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.feed
}

func (w *follower) tell() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	if w.feed != nil {
		s.Entries, s.Known = w.feed.Entries(), w.feed.Known()
	}
	return s
}

const (
	settleFor  = 200 * time.Millisecond // a file is left alone for so long before it is read
	settleMost = 25                     // times; who writes on and on is read anyway
	retryFirst = 2 * time.Second        // after a failure; then twice as long each time, up to Refresh
)

// errPanicked is why a feed that makes its reading panic is not in force.
var errPanicked = errors.New("reading it ended in a panic, which the log shows")

// errBeingWritten is no failure: the file is looked at again in a moment.
var errBeingWritten = errors.New("it is being written")

// errWrittenOn is no failure either: what was read may be a part of what there is now, so
// it is read again as soon as after a failure. Who writes on and on is read ever less often.
var errWrittenOn = errors.New("it was written while it was read")

// run reads what is kept, and then the source again and again, until ctx ends.
func (w *follower) run(ctx context.Context) {
	w.loadKept(ctx)
	retry := pace.Backoff{First: retryFirst, Most: max(w.source.Refresh, retryFirst)}
	for {
		wait := w.source.Refresh
		switch err := w.look(ctx); {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errBeingWritten):
			wait = settleFor
		case err != nil:
			if !errors.Is(err, errWrittenOn) {
				w.trouble(err)
			}
			wait = min(wait, retry.Next())
		default:
			retry.Reset()
		}
		if w.source.URL != "" {
			wait += rand.N(wait/10 + 1) // so that many lictors do not ask in one moment
		}
		if pace.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// look reads the source if it has another version.
func (w *follower) look(ctx context.Context) (err error) {
	defer crash.Contain("feed", func() { err = errPanicked })
	if w.source.Path != "" {
		return w.lookAtFile(ctx)
	}
	return w.fetch(ctx)
}

func (w *follower) lookAtFile(ctx context.Context) error {
	f, err := files.Open(w.source.Path)
	if err != nil {
		return withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return withoutPath(err)
	case files.StampIn(info) == w.edition.file:
		w.confirmed()
		return nil
	}
	if age := time.Since(info.ModTime()); age >= 0 && age < settleFor && w.again < settleMost {
		w.again++
		return errBeingWritten
	}
	w.again = 0
	if err := w.take(ctx, f); err != nil {
		return err
	}
	if after, err := f.Stat(); err != nil || files.StampIn(after) != files.StampIn(info) {
		return errWrittenOn
	}
	w.edition = edition{file: files.StampIn(info)}
	return nil
}

// take reads a text and puts it in force, if it is believed; and keeps a copy of it.
// That it cannot be kept keeps it from nothing else.
func (w *follower) take(ctx context.Context, from io.Reader) error {
	from = &bounded{ctx: ctx, from: from, left: w.source.Size}
	if w.feeds.cfg.DataDir == "" {
		r, err := parse(from, w.source.Format, w.source.FeedOptions)
		if err == nil {
			w.publish(r, time.Now(), false)
		}
		return err
	}
	r, unread, unkept := w.copied(from)
	if unread != nil {
		return unread
	}
	w.publish(r, time.Now(), false)
	if unkept != nil {
		return fmt.Errorf("it is in force, but cannot be kept for the next start: %w", withoutPath(unkept))
	}
	return nil
}

// copied reads a text while it copies it, and puts the copy in its place if the text is
// believed.
func (w *follower) copied(from io.Reader) (r read, unread, unkept error) {
	kept, began := w.keptFile(), false
	staged, unkept := durable.StageAs(filepath.Dir(kept), 0o600, time.Time{}, func(to io.Writer) error {
		began = true
		copying := &copying{from: from, to: to}
		r, unread = parse(copying, w.source.Format, w.source.FeedOptions)
		return errors.Join(unread, copying.err)
	})
	if !began {
		r, unread = parse(from, w.source.Format, w.source.FeedOptions)
	}
	if unkept != nil {
		return r, unread, unkept
	}
	if err := durable.Place(staged, kept); err != nil {
		return r, unread, errors.Join(err, os.Remove(staged))
	}
	return r, unread, durable.SyncDir(filepath.Dir(kept))
}

// forgetOthers removes the copies of feeds that the configuration of an earlier life had,
// which may be large. Those that a reload takes stay until then: the next reload may
// bring them back.
func (f *Feeds) forgetOthers() {
	if f.cfg.DataDir == "" {
		return
	}
	wanted := map[string]bool{}
	for _, w := range f.all() {
		wanted[w.keptFile()] = true
	}
	kept, _ := filepath.Glob(filepath.Join(f.cfg.DataDir, keptStem+"-*"+keptEnd)) // the pattern is good
	for _, path := range kept {
		if wanted[path] {
			continue
		}
		if err := os.Remove(path); err != nil {
			f.cfg.Log.Warn("cannot remove the copy of a feed that is no more", "path", path, "error", err)
		}
	}
}

// What the names of copies begin and end with.
const keptStem, keptEnd = "feed", ".lastgood"

// keptFile is where in a data_dir the last good copy is.
func (s *Source) keptFile(dir string) string {
	return durable.FileFor(dir, keptStem+keptEnd, "feed "+s.Name+" "+s.Path+s.URL)
}

func (w *follower) keptFile() string { return w.source.keptFile(w.feeds.cfg.DataDir) }

// loadKept puts in force what an earlier life kept of the source.
func (w *follower) loadKept(ctx context.Context) {
	defer crash.Contain("feed", func() { w.trouble(errPanicked) })
	if w.feeds.cfg.DataDir == "" {
		return
	}
	if feed := w.inForce(); feed != nil && feed.Known() {
		return // what there is is newer
	}
	f, err := files.Open(w.keptFile())
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return
	}
	r, err := parse(&bounded{ctx: ctx, from: f, left: w.source.Size}, w.source.Format, w.source.FeedOptions)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.trouble(fmt.Errorf("the copy that is kept of it: %w", err))
		return
	}
	w.publish(r, info.ModTime(), true)
}

// publish puts what was read in force.
func (w *follower) publish(r read, at time.Time, kept bool) {
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return
	}
	w.feed = r.feed
	w.status.BadLines, w.status.Bad, w.status.Read, w.status.Kept, w.status.Problem = r.bad, r.some, at, kept, ""
	w.mu.Unlock()
	w.feeds.publish()
	event := "feed read"
	if kept {
		event = "feed read from data_dir"
	}
	w.feeds.cfg.Log.Info(event, "feed", w.source.Name, "entries", r.feed.Entries(), "bad_lines", r.bad)
}

// confirmed notes that what is in force is still what the source says.
func (w *follower) confirmed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Read, w.status.Kept, w.status.Problem = time.Now(), false, ""
}

// trouble notes why the source could not be read. What is in force stays.
func (w *follower) trouble(err error) {
	w.mu.Lock()
	news := w.status.Problem != err.Error()
	w.status.Problem = err.Error()
	known := w.feed != nil && w.feed.Known()
	w.mu.Unlock()
	if news {
		w.feeds.cfg.Log.Error("cannot read a feed", "feed", w.source.Name, "url", w.source.place(), "former_value_kept", known, "error", err)
	}
}
