package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"slices"
	"strings"

	"lictor/policy/internal/packed"
)

// Feed is a blacklist that is made elsewhere (A18): names and addresses, many of
// them, that no object of the store holds. It is in force beside the blacklists of
// the store, under the rule feeds/NAME. It is not changed once it was made, by
// [FeedMaker.Feed] or [UnknownFeed].
type Feed struct {
	list   liveList
	index  listIndex
	digest [32]byte
	known  bool
}

// FeedKey is what the keys of rules begin with that are feeds, and no objects of the store.
const FeedKey = "feeds/"

// FeedOptions are what the configuration says of a feed.
type FeedOptions struct {
	Name      string
	Direction Direction // "" = both
	Mode      Mode
	Reason    string // the operator's note for the log
}

func (o *FeedOptions) feed() *Feed {
	return &Feed{list: liveList{
		List: &List{Direction: cmp.Or(o.Direction, Both), Mode: o.Mode, Reason: o.Reason},
		name: o.Name, key: FeedKey + o.Name,
	}}
}

// UnknownFeed is one whose entries nobody knows. Unless it only reports, it closes
// the listeners that it guards, as a blacklist does that cannot be read (X6).
func UnknownFeed(o FeedOptions) *Feed { return o.feed() }

// Name is what the configuration calls the feed.
func (f *Feed) Name() string { return f.list.name }

// Known reports whether its entries are.
func (f *Feed) Known() bool { return f.known }

// Entries is how many there are, each once.
func (f *Feed) Entries() int { return f.index.filed.Len() }

// As returns the feed with the same entries and what is said of it now.
func (f *Feed) As(o FeedOptions) *Feed {
	next := o.feed()
	next.index, next.known, next.digest = f.index, f.known, f.digest
	return next
}

// closes reports whether the feed closes a listener, as its entries are not known.
func (f *Feed) closes(side Direction) bool {
	return !f.known && !f.list.Mode.Reports() && f.list.Direction.covers(side)
}

// sum is what the feed adds to the hash of a Set.
func (f *Feed) sum() (d [32]byte) {
	text, _ := json.Marshal([]any{f.list.key, f.list.Direction, f.list.Mode, f.known, f.digest}) // of types that have a text
	return sha256.Sum256(text)
}

// FeedMaker makes a Feed, entry by entry. It needs memory for what it made and for
// a part of it besides. It belongs to one goroutine.
type FeedMaker struct {
	feed    *Feed
	batch   packed.Batch
	held    int // entries in batch
	hash    hash.Hash
	scratch []byte
}

// NewFeedMaker begins a feed without entries.
func NewFeedMaker(o FeedOptions) *FeedMaker {
	return &FeedMaker{feed: o.feed(), hash: sha256.New()}
}

// batchLeast is how many entries are worked in at once, at least.
const batchLeast = 1 << 18

// errNotInFeed is a good entry of a list that a feed may not have: who makes it does
// not know the paths and services here.
var errNotInFeed = errors.New("want a host name, an address or a CIDR")

// Add enters an entry: host, .host, *.host, address or CIDR (A4). text is not kept.
func (m *FeedMaker) Add(text string) error {
	e, err := parseEntry(text)
	switch form := e.form(); {
	case err != nil:
		return err
	case form != filedHost && form != filedAddr, e.port != 0, e.method != "":
		return errNotInFeed
	case form == filedAddr && e.prefix.Bits() == 0:
		return errors.New("is every address")
	}
	m.hash.Write(append(append(m.scratch[:0], text...), '\n'))
	m.scratch = e.file(&m.batch, 0, text, true, m.scratch)
	m.feed.index.note(&e)
	if m.held++; m.held >= max(batchLeast, m.feed.Entries()/2) {
		m.work()
	}
	return nil
}

// AddAddress enters an entry that has to be an address or a CIDR.
func (m *FeedMaker) AddAddress(text string) error {
	if _, err := parsePrefix(text); err != nil {
		return err
	}
	return m.Add(text)
}

// AddName enters an entry that has to be the name of one host.
func (m *FeedMaker) AddName(text string) error {
	if _, err := parsePrefix(text); err == nil || strings.HasPrefix(text, ".") || strings.HasPrefix(text, "*") {
		return fmt.Errorf("%.200q is no host name", text)
	}
	return m.Add(text)
}

func (m *FeedMaker) work() {
	filed := &m.feed.index.filed
	*filed = filed.With(&m.batch, compareRecords(func(uint32) string { return "" }))
	m.batch, m.held = packed.Batch{}, 0
}

// Feed returns what was made. The maker is used up.
func (m *FeedMaker) Feed() *Feed {
	m.work()
	m.hash.Sum(m.feed.digest[:0])
	m.feed.known = true
	return m.feed
}

// SetFeeds puts feeds in the place of those there are; the next Set has them. They
// are to have different names.
func (b *Builder) SetFeeds(feeds []*Feed) {
	for _, f := range b.set.feeds {
		b.set.sum.minus(f.sum())
	}
	feeds = slices.SortedFunc(slices.Values(feeds), func(x, y *Feed) int { return strings.Compare(x.list.name, y.list.name) })
	for _, f := range feeds {
		b.keepFeedCount(f)
	}
	b.set.feeds = feeds
	for _, f := range b.set.feeds {
		b.set.sum.plus(f.sum())
	}
	b.set.closed = b.set.compileClosed()
}

// keepFeedCount has a feed go on with the tally of the one of its name, or begin one.
// It stands as long as the configuration says the same of it: a feed is read anew all
// the time.
func (b *Builder) keepFeedCount(f *Feed) {
	if f.list.tally != nil {
		return // it is in force already
	}
	f.list.tally = new(Tally)
	same := false
	for _, old := range b.set.feeds {
		if old.list.name == f.list.name {
			f.list.tally = old.list.tally
			same = old.list.Mode == f.list.Mode && old.list.Direction == f.list.Direction
		}
	}
	if !same {
		b.fresh = append(b.fresh, f.list.tally)
	}
}

// fedHost looks for a host, and fedAddr for an address, in the feeds. They are kept
// apart from the lists of the store, and each from the others, so that one is read
// anew without a look at the rest.
func (s *Set) fedHost(q *inquiry) bool {
	for _, f := range s.feeds {
		if q.feed = &f.list; f.index.byHost(q) {
			return true
		}
	}
	q.feed = nil
	return false
}

func (s *Set) fedAddr(q *inquiry, addr netip.Addr) bool {
	for _, f := range s.feeds {
		if q.feed = &f.list; f.index.byAddr(q, addr) {
			return true
		}
	}
	q.feed = nil
	return false
}
