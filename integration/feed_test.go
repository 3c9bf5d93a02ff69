//go:build integration

package integration_test

import (
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

	adminapi "lictor/admin/api"
)

// listServer serves a list that can be changed.
type listServer struct {
	*httptest.Server
	mu   sync.Mutex
	text string
}

func (s *listServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = w.Write([]byte(s.text)) // the client sees what is wrong
}

func (s *listServer) set(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

// fed is what the status says of a feed.
func fed(t *testing.T, p *lictorProcess, name string) adminapi.FeedStatus {
	t.Helper()
	for _, f := range statusOf(t, p).Feeds {
		if f.Name == name {
			return f
		}
	}
	return adminapi.FeedStatus{}
}

// asHost asks for /shop/ under a host.
func asHost(t *testing.T, p *lictorProcess, host string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+p.Gateway+"/shop/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// wantHost waits until a host has a status.
func wantHost(t *testing.T, p *lictorProcess, host string, want int) {
	t.Helper()
	eventually(t, soon, fmt.Sprintf("%s is answered %d", host, want), func() error {
		if got := asHost(t, p, host); got != want {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
}

// TestFeeds runs the program with a feed from a URL and one from a file, takes the
// server away, and starts again without it; and has a reload change the feeds.
func TestFeeds(t *testing.T) { // A18
	together(t)
	backend := startBackend(t, "shop")
	server := &listServer{text: "# a list\r\n0.0.0.0 bad.example\r\n0.0.0.0 worse.example\r\nnonsense\r\n"}
	server.Server = httptest.NewServer(server)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "drop")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put("; a list\n198.51.100.0/24 ; SBL1\n")
	config := func(rest string) lictorConfig {
		return lictorConfig{DataDir: filepath.Join(t.TempDir(), "data"), Rest: "policy {\n  store = \"memory\"\n}\n" + staticConfig("shop", backend.URL) + rest}
	}
	web := fmt.Sprintf("feed \"ads\" {\n  url = %q\n  format = \"hosts\"\n  refresh = \"1s\"\n}\n", server.URL+"/list?key=s3cret")
	drop := fmt.Sprintf("feed \"drop\" {\n  path = %q\n  format = \"cidr\"\n  refresh = \"1s\"\n}\n", file)
	cfg := config(web + drop)
	p := startLictor(t, cfg)
	p.Ready(t)
	wantHost(t, p, "bad.example", http.StatusForbidden)
	wantHost(t, p, "good.example", http.StatusOK)
	f := fed(t, p, "ads")
	if !f.Known || f.Entries != 2 || f.BadLines != 1 || len(f.Bad) != 1 || f.Bad[0].Line != 4 || f.AgeSeconds == nil || f.LastGood || f.Error != "" || strings.Contains(f.Source, "s3cret") {
		t.Errorf("the status of the feed is %+v", f)
	}
	_, metrics := fetch(t, "http://"+p.Admin+"/metrics")
	for _, want := range []string{`lictor_feed_entries{feed="ads"} 2`, `lictor_feed_entries{feed="drop"} 1`, `lictor_feed_bad_lines{feed="ads"} 1`, `lictor_feed_up{feed="ads"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	resp, err := http.Post("http://"+p.Admin+"/explain", "application/json", strings.NewReader(`{"url": "http://worse.example/shop/"}`))
	if err != nil {
		t.Fatal(err)
	}
	why, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(why), "feeds/ads") || !strings.Contains(string(why), "worse.example") {
		t.Errorf("explain says %s, %v", why, err)
	}

	server.set("0.0.0.0 bad.example\n0.0.0.0 new.example\n") // what is gone passes, what is new does not
	wantHost(t, p, "new.example", http.StatusForbidden)
	wantHost(t, p, "worse.example", http.StatusOK)
	put("127.0.0.0/8\n")
	wantHost(t, p, "good.example", http.StatusForbidden)
	put("198.51.100.0/24\n")
	wantHost(t, p, "good.example", http.StatusOK)

	server.CloseClientConnections()
	server.Close()
	troubled := func() {
		t.Helper()
		eventually(t, soon, "the status says that the server is gone, and keeps the entries", func() error {
			if f := fed(t, p, "ads"); f.Error == "" || f.Entries != 2 {
				return fmt.Errorf("%+v", f)
			}
			return nil
		})
		wantHost(t, p, "new.example", http.StatusForbidden)
		wantHost(t, p, "good.example", http.StatusOK)
	}
	troubled()
	p.Kill(t)
	p.Start(t)
	p.Ready(t)
	troubled()
	if f := fed(t, p, "ads"); !f.LastGood || f.AgeSeconds == nil {
		t.Errorf("after a start without the server the status of the feed is %+v", f)
	}

	cfg.Rest = strings.Replace(cfg.Rest, web, "", 1)
	p.Configure(t, cfg)
	p.Signal(t, syscall.SIGHUP)
	wantHost(t, p, "new.example", http.StatusOK)
	if all := statusOf(t, p).Feeds; len(all) != 1 || all[0].Name != "drop" {
		t.Errorf("after a reload the feeds are %+v", all)
	}
}

// TestAFeedThatNobodyKnowsCloses starts the program with a feed that was never read.
func TestAFeedThatNobodyKnowsCloses(t *testing.T) { // A18, X6
	together(t)
	backend := startBackend(t, "shop")
	file := filepath.Join(t.TempDir(), "list")
	feed := fmt.Sprintf("feed \"x\" {\n  path = %q\n  format = \"list\"\n  refresh = \"1s\"\n}\n", file)
	cfg := lictorConfig{Rest: "policy {\n  store = \"memory\"\n}\n" + staticConfig("shop", backend.URL) + feed}
	p := startLictor(t, cfg)
	wantHost(t, p, "good.example", http.StatusServiceUnavailable)
	if status, why := fetch(t, "http://"+p.Admin+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz says %d %s", status, why)
	}
	if st := statusOf(t, p); len(st.Policy.Closings) != 1 || st.Policy.Closings[0].Path != "feeds/x" {
		t.Errorf("the closings are %+v", st.Policy.Closings)
	}
	if err := os.WriteFile(file, []byte("bad.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Ready(t)
	wantHost(t, p, "good.example", http.StatusOK)
	wantHost(t, p, "bad.example", http.StatusForbidden)

	// One that a reload brings does not close, and is in force once it is there.
	later := file + "2"
	cfg.Rest += strings.Replace(strings.Replace(feed, "\"x\"", "\"y\"", 1), file, later, 1)
	p.Configure(t, cfg)
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the reload is done", func() error {
		if f := fed(t, p, "y"); f.Error == "" {
			return errors.New("the status has no such feed")
		}
		return nil
	})
	wantHost(t, p, "good.example", http.StatusOK)
	if err := os.WriteFile(later, []byte("later.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantHost(t, p, "later.example", http.StatusForbidden)
}
