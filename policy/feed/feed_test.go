package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/durable"
	"lictor/internal/eventually"
	"lictor/policy"
)

// lists is a server of a list, which can be changed.
type lists struct {
	*httptest.Server
	mu      sync.Mutex
	text    string
	status  int
	asked   int // times that the whole was sent
	spared  int // times that it was the same
	headers http.Header
}

func newLists(t *testing.T, text string) *lists {
	l := &lists{text: text, status: http.StatusOK}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	return l
}

func (l *lists) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.headers = r.Header.Clone()
	tag := fmt.Sprintf("%q", fmt.Sprint(len(l.text)))
	w.Header().Set("ETag", tag)
	switch {
	case r.URL.Path == "/moved":
		http.Redirect(w, r, "/list", http.StatusFound)
	case r.URL.Path == "/elsewhere":
		http.Redirect(w, r, "https://"+r.Host+"/list", http.StatusFound)
	case l.status != http.StatusOK:
		http.Error(w, "no", l.status)
	case r.Header.Get("If-None-Match") == tag:
		l.spared++
		w.WriteHeader(http.StatusNotModified)
	default:
		l.asked++
		_, _ = w.Write([]byte(l.text)) // the client sees what is wrong
	}
}

func (l *lists) set(text string, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.status = text, status
}

// followed are running feeds, and what they publish.
type followed struct {
	*Feeds
	mu     sync.Mutex
	feeds  map[string]*policy.Feed
	closed bool // the gateway is, at some time
}

// follow runs feeds until the returned function is called.
func follow(t *testing.T, dir string, sources ...Source) (f *followed, stop func()) {
	t.Helper()
	f = &followed{}
	var err error
	if f.Feeds, err = New(Config{Sources: sources, DataDir: dir, Log: hclog.NewNullLogger(), Publish: f.take}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return f, stop
}

func (f *followed) take(feeds []*policy.Feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feeds = map[string]*policy.Feed{}
	for _, feed := range feeds {
		f.feeds[feed.Name()] = feed
		f.closed = f.closed || !feed.Known()
	}
}

// has waits until a feed has so many entries; -1 = it is not in force.
func (f *followed) has(t *testing.T, name string, entries int) {
	t.Helper()
	soon(t, fmt.Sprintf("%s has %d entries", name, entries), func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		got := -1
		if feed := f.feeds[name]; feed != nil && feed.Known() {
			got = feed.Entries()
		}
		if got != entries {
			return fmt.Errorf("it has %d: %+v", got, f.Status())
		}
		return nil
	})
}

// says waits until the status of a feed has a problem.
func (f *followed) says(t *testing.T, name, problem string) {
	t.Helper()
	soon(t, fmt.Sprintf("%s has the problem %q", name, problem), func() error {
		for _, s := range f.Status() {
			if s.Name == name && (s.Problem == problem || problem != "" && strings.Contains(s.Problem, problem)) {
				return nil
			}
		}
		return fmt.Errorf("%+v", f.Status())
	})
}

// soon waits until check returns nil.
func soon(t *testing.T, what string, check func() error) {
	t.Helper()
	var last error
	defer func() {
		if t.Failed() {
			t.Log(last)
		}
	}()
	eventually.True(t, what, func() bool {
		last = check()
		return last == nil
	})
}

func source(name, url, path string) Source {
	return Source{FeedOptions: policy.FeedOptions{Name: name}, URL: url, Path: path, Format: List, Refresh: 20 * time.Millisecond, Size: 1 << 20}
}

// TestAFeedIsFollowed changes a list, breaks it in several ways and mends it.
func TestAFeedIsFollowed(t *testing.T) { // A18
	server := newLists(t, "a.example\nb.example\n")
	f, _ := follow(t, t.TempDir(), source("x", server.URL+"/list?key=s3cret", ""))
	f.has(t, "x", 2)
	soon(t, "what did not change is not sent again", func() error {
		server.mu.Lock()
		defer server.mu.Unlock()
		if server.spared < 2 || server.asked != 1 {
			return fmt.Errorf("sent %d times, spared %d times", server.asked, server.spared)
		}
		return nil
	})
	server.set("a.example\nb.example\nc.example\n", http.StatusOK)
	f.has(t, "x", 3)
	for _, broken := range []struct {
		text    string
		status  int
		problem string
	}{
		{"", http.StatusInternalServerError, "it answers 500"},
		{"<html>nothing here</html>\n", http.StatusOK, "a page for a browser"},
		{"", http.StatusOK, "no entry"},
		{"# nothing any more\n", http.StatusOK, "no entry"},
		{strings.Repeat("host.example\n", 100_000), http.StatusOK, "larger than size"},
	} {
		server.set(broken.text, broken.status)
		f.says(t, "x", broken.problem)
		f.has(t, "x", 3)
	}
	server.set("d.example\n", http.StatusOK)
	f.has(t, "x", 1)
	f.says(t, "x", "")
	if s := f.Status()[0]; strings.Contains(fmt.Sprintf("%+v", s), "s3cret") || s.Kept || time.Since(s.Read) > time.Minute {
		t.Errorf("the status is %+v", s)
	}
}

// TestAFeedIsKept ends and starts with the server gone, and with its file gone.
func TestAFeedIsKept(t *testing.T) { // A18
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "list")
	server := newLists(t, "a.example\nb.example\n")
	write(t, path, "10.0.0.0/8\n")
	web, file := source("web", server.URL+"/list", ""), source("file", "", path)
	f, stop := follow(t, dir, web, file)
	f.has(t, "web", 2)
	f.has(t, "file", 1)
	stop()
	server.CloseClientConnections()
	server.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, stop = follow(t, dir, web, file)
	f.has(t, "web", 2)
	f.has(t, "file", 1)
	f.says(t, "web", "refused")
	f.says(t, "file", "no such file")
	for _, s := range f.Status() {
		if !s.Kept {
			t.Errorf("%+v does not say that it is kept", s)
		}
	}
	stop()
	f, _ = follow(t, t.TempDir(), web) // another directory has nothing
	f.says(t, "web", "refused")
	f.has(t, "web", -1)
	if !f.closed {
		t.Error("a feed that was never read closes nothing")
	}
}

// TestFeedsAreReadOffline reads what a lictor kept, and a file, without a lictor.
func TestFeedsAreReadOffline(t *testing.T) { // R4
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "list")
	server := newLists(t, "a.example\nb.example\n")
	write(t, path, "10.0.0.0/8\n")
	web, file := source("web", server.URL+"/list", ""), source("file", "", path)
	if _, err := Offline([]Source{file, web}, dir); err == nil || !strings.Contains(err.Error(), `feed "web": it is fetched`) {
		t.Errorf("of what nobody kept: %v", err)
	}
	f, stop := follow(t, dir, web)
	f.has(t, "web", 2)
	stop()
	server.Close()
	feeds, err := Offline([]Source{file, web}, dir)
	if err != nil || len(feeds) != 2 || feeds[0].Entries() != 1 || feeds[1].Entries() != 2 {
		t.Errorf("got %v, %v", feeds, err)
	}
	write(t, path, "forbidden\n")
	if _, err := Offline([]Source{file}, ""); err == nil || !strings.Contains(err.Error(), "single words") {
		t.Errorf("what is not believed: %v", err)
	}
	if _, err := Offline([]Source{source("dir", "", dir), web}, ""); err == nil || !strings.Contains(err.Error(), "is no file") || !strings.Contains(err.Error(), "without data_dir") {
		t.Errorf("a directory, and no data_dir: %v", err)
	}
}

// TestAFileIsReadWhenItChanges replaces it, and writes it in place.
func TestAFileIsReadWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "a.example\n")
	f, _ := follow(t, "", source("x", "", path))
	f.has(t, "x", 1)
	write(t, path+".new", "a.example\nb.example\n")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	f.has(t, "x", 2)
	write(t, path, "a.example\nb.example\nc.example\n")
	f.has(t, "x", 3)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "a.example\nb.example-c.example\n") // of the same size and time
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	f.has(t, "x", 2)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.says(t, "x", "no such file")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	f.says(t, "x", "is no file")
	f.has(t, "x", 2)
}

// TestReloadsBringAndTakeFeeds updates the sources of feeds that run.
func TestReloadsBringAndTakeFeeds(t *testing.T) { // A18
	server := newLists(t, "a.example\nb.example\n")
	one := source("one", server.URL+"/list", "")
	f, _ := follow(t, "", one)
	f.has(t, "one", 2)
	f.mu.Lock()
	f.closed = false
	f.mu.Unlock()
	gone := source("gone", "http://127.0.0.1:1/", "")
	changed := one
	changed.URL, changed.Mode = "http://127.0.0.1:1/list", policy.Report
	f.Update([]Source{changed, source("two", server.URL+"/moved", ""), gone})
	f.has(t, "two", 2)
	f.says(t, "gone", "refused")
	f.says(t, "one", "refused")
	f.has(t, "one", 2) // as it was read before
	f.has(t, "gone", -1)
	if f.closed {
		t.Error("a feed that a reload brought closes what it guards")
	}
	f.Update([]Source{source("two", server.URL+"/moved", "")})
	f.has(t, "one", -1)
	f.has(t, "two", 2)
	if all := f.Status(); len(all) != 1 {
		t.Errorf("the status is %+v", all)
	}
}

// TestAFeedThatGetsAnotherNameStaysInForce renames one whose source is away.
func TestAFeedThatGetsAnotherNameStaysInForce(t *testing.T) { // A18
	server := newLists(t, "a.example\nb.example\n")
	f, _ := follow(t, "", source("one", server.URL+"/list", ""))
	f.has(t, "one", 2)
	server.set("", http.StatusServiceUnavailable)
	renamed := source("two", server.URL+"/list", "")
	renamed.Direction = policy.Ingress
	other := renamed
	other.Name, other.Format = "three", CIDR
	f.Update([]Source{other, renamed})
	f.says(t, "two", "503")
	f.has(t, "two", 2)
	f.has(t, "three", -1) // it reads the same text otherwise
	f.has(t, "one", -1)
}

// TestCopiesOfFeedsThatAreNoMoreAreRemoved starts again with fewer feeds.
func TestCopiesOfFeedsThatAreNoMoreAreRemoved(t *testing.T) {
	dir := t.TempDir()
	server := newLists(t, "a.example\n")
	one, two := source("one", server.URL+"/list", ""), source("two", server.URL+"/list", "")
	f, stop := follow(t, dir, one, two)
	f.has(t, "one", 1)
	f.has(t, "two", 1)
	f.Update([]Source{two})
	f.has(t, "one", -1)
	stop()
	write(t, filepath.Join(dir, "policy-0123456789ab.lastgood"), "of somebody else")
	count := func(want int) {
		t.Helper()
		if left, _ := filepath.Glob(filepath.Join(dir, "*.lastgood")); len(left) != want {
			t.Errorf("left are %v, want %d", left, want)
		}
	}
	count(3)
	f, stop = follow(t, dir, two)
	f.has(t, "two", 1)
	stop()
	count(2)
}

// TestAFeedGoesNowhereElse follows no redirect to another scheme, and speaks without
// TLS to nobody but this machine.
func TestAFeedGoesNowhereElse(t *testing.T) { // A18
	server := newLists(t, "a.example\n")
	f, _ := follow(t, "", source("x", server.URL+"/elsewhere", ""), source("y", "http://192.0.2.1/list", ""))
	f.says(t, "x", "redirects from http to https")
	f.says(t, "y", "not on this machine")
	tls := httptest.NewTLSServer(server)
	t.Cleanup(tls.Close)
	g, _ := follow(t, "", source("x", tls.URL+"/list", ""))
	g.says(t, "x", "certificate")
}

// TestAFullDiskKeepsNoFeedFromBeingInForce has no directory to keep a copy in.
func TestAFullDiskKeepsNoFeedFromBeingInForce(t *testing.T) {
	server := newLists(t, "a.example\n")
	f, _ := follow(t, filepath.Join(t.TempDir(), "missing"), source("x", server.URL+"/list", ""))
	f.has(t, "x", 1)
	f.says(t, "x", "cannot be kept")
}

// TestAPipeIsNoFeed has a pipe that nobody writes to in the place of a file: that is
// told, and keeps nobody waiting.
func TestAPipeIsNoFeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, _ := follow(t, "", source("x", "", path))
	t.Cleanup(func() { // lets go who waits for a writer all the same
		if w, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
			_ = w.Close()
		}
	})
	f.says(t, "x", "is no file")
}

// TestARedirectTellsNoKey is redirected to another server, which must not learn the key
// in the URL of the first one.
func TestARedirectTellsNoKey(t *testing.T) {
	other := newLists(t, "a.example\n")
	first := httptest.NewServer(http.RedirectHandler(other.URL+"/list", http.StatusFound))
	t.Cleanup(first.Close)
	f, _ := follow(t, "", source("x", first.URL+"/list?key=s3cret", ""))
	f.has(t, "x", 1)
	other.mu.Lock()
	defer other.mu.Unlock()
	if text := fmt.Sprint(other.headers); strings.Contains(text, "s3cret") {
		t.Errorf("the other server is told %s", text)
	}
}

// TestARedirectToNoURLIsToldWithoutIt is redirected to what cannot be read, in which the
// server repeats the key that it was shown.
func TestARedirectToNoURLIsToldWithoutIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://[::1/list?"+r.URL.RawQuery)
		w.WriteHeader(http.StatusFound)
	}))
	t.Cleanup(server.Close)
	f, _ := follow(t, "", source("x", server.URL+"/list?key=s3cret", ""))
	soon(t, "it has a problem", func() error {
		if f.Status()[0].Problem == "" {
			return errors.New("it has none")
		}
		return nil
	})
	if s := f.Status()[0]; strings.Contains(s.Problem, "s3cret") {
		t.Errorf("the status is %+v", s)
	}
}

// TestAFileThatIsWrittenWhileItIsReadIsReadAgainSoon writes the other half of a file when
// the first one is in force, and waits much less than refresh.
func TestAFileThatIsWrittenWhileItIsReadIsReadAgainSoon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "a.example\n")
	synctest.Test(t, func(t *testing.T) {
		one, entries := source("x", "", path), 0
		one.Refresh = time.Hour
		f, err := New(Config{Sources: []Source{one}, Log: hclog.NewNullLogger(), Publish: func(feeds []*policy.Feed) {
			if entries = feeds[0].Entries(); entries == 1 {
				write(t, path, "a.example\nb.example\n")
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s := f.Status()[0]; entries != 2 || s.Problem != "" {
			t.Errorf("%d entries are in force: %+v", entries, s)
		}
	})
}

// TestReadingEndsWhenItIsToldTo ends a feed in the middle of a long text, and of the copy
// that is kept of it, which is no trouble of the feed.
func TestReadingEndsWhenItIsToldTo(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		w := newFollower(&Feeds{cfg: Config{DataDir: dir, Log: hclog.NewNullLogger(), Publish: func([]*policy.Feed) {}}}, source("x", "", "/list"), nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		text := &numbers{to: 10_000}
		if err := w.take(ctx, text); !errors.Is(err, context.Canceled) || text.at > 0 {
			t.Errorf("%d lines were read: %v", text.at, err)
		}
		if dir == "" {
			continue
		}
		write(t, w.keptFile(), "a.example\n")
		if w.loadKept(ctx); w.inForce() != nil || w.tell().Problem != "" {
			t.Errorf("after the kept copy: %+v", w.tell())
		}
	}
}

// TestWhatCannotBeKeptLeavesNothing has something else in the place of the copy.
func TestWhatCannotBeKeptLeavesNothing(t *testing.T) {
	dir, server := t.TempDir(), newLists(t, "a.example\n")
	one := source("x", server.URL+"/list", "")
	w := newFollower(&Feeds{cfg: Config{DataDir: dir}}, one, nil)
	if err := os.MkdirAll(filepath.Join(w.keptFile(), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, stop := follow(t, dir, one)
	f.has(t, "x", 1)
	f.says(t, "x", "cannot be kept")
	stop()
	if left, _ := filepath.Glob(filepath.Join(dir, durable.StagedPrefix+"*")); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
}

// TestAPanicAtTheKeptCopyEndsNothing has what is kept end in a panic when it is put in
// force: the feed is read from its source all the same.
func TestAPanicAtTheKeptCopyEndsNothing(t *testing.T) {
	dir, server := t.TempDir(), newLists(t, "a.example\n")
	one := source("x", server.URL+"/list", "")
	f, stop := follow(t, dir, one)
	f.has(t, "x", 1)
	stop()
	server.set("a.example\nb.example\n", http.StatusOK)
	g := &followed{}
	var err error
	if g.Feeds, err = New(Config{Sources: []Source{one}, DataDir: dir, Log: hclog.NewNullLogger(), Publish: func(feeds []*policy.Feed) {
		if feeds[0].Entries() == 1 {
			panic("the kept copy")
		}
		g.take(feeds)
	}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	g.has(t, "x", 2)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestALargeFeedIsOneOfManyBatches makes one that is not worked in at once.
func TestALargeFeedIsOneOfManyBatches(t *testing.T) {
	const n = 300_000
	r, err := parse(&numbers{to: n}, List, policy.FeedOptions{Name: "x"})
	if err != nil || r.feed.Entries() != n {
		t.Fatalf("%v, %d entries", err, r.feed.Entries())
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		if !denied(t, r.feed, fmt.Sprintf("h%d.example", i), "") {
			t.Errorf("entry %d passes", i)
		}
	}
	if denied(t, r.feed, fmt.Sprintf("h%d.example", n), "") {
		t.Error("what is not in the feed is denied")
	}
}

// numbers reads as a list of so many hosts.
type numbers struct {
	at, to int
	rest   []byte
}

func (r *numbers) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.at < r.to {
		r.rest = fmt.Appendf(r.rest, "h%d.example\n", r.at)
		r.at++
	}
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
