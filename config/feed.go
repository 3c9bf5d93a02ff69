package config

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"lictor/policy"
	"lictor/policy/feed"
)

// Bounds of the blocks feed.
const (
	maxFeeds    = 32        // each is asked about every request
	leastOfFeed = 1 << 10   // bytes
	mostOfFeed  = 4 << 30   // bytes
	sizeOfFeed  = 256 << 20 // bytes, unless size says otherwise
)

// feed decodes a block feed (A18).
func (d *decoder) feed(b *hcl.Block) {
	s := feed.Source{
		FeedOptions: policy.FeedOptions{Name: b.Labels[0], Direction: policy.Both, Mode: policy.Enforce},
		Refresh:     time.Hour, Size: sizeOfFeed,
	}
	where := d.body(b, options{
		"path":      text(&s.Path),
		"url":       parsed(&s.URL, feedURL),
		"format":    parsed(&s.Format, oneOf(feed.Formats...)),
		"refresh":   parsed(&s.Refresh, duration(time.Second)),
		"size":      parsed(&s.Size, bytes(leastOfFeed, mostOfFeed)),
		"direction": parsed(&s.Direction, oneOf(policy.Ingress, policy.Egress, policy.Both)),
		"mode":      parsed(&s.Mode, oneOf(policy.Enforce, policy.Report)),
		"reason":    text(&s.Reason),
	}, nil)
	if !isFeedName(s.Name) {
		d.wrong(b.DefRange, "feed %q: want a name of letters, digits, dots, - and _, at most 63", s.Name)
	}
	given := func(name string) bool { _, ok := where[name]; return ok }
	switch {
	case s.Path == "" && !given("url"):
		d.wrong(b.DefRange, `feed %q: want path or url`, s.Name)
	case s.Path != "" && s.URL != "":
		d.wrong(where.of("url", b), `feed %q: want path or url, not both`, s.Name)
	}
	if s.Format == "" && !given("format") {
		d.wrong(b.DefRange, `feed %q: want format = "hosts", "list" or "cidr"`, s.Name)
	}
	if len(d.cfg.Feeds) == maxFeeds {
		d.wrong(b.DefRange, "feed %q: want at most %d feeds", s.Name, maxFeeds)
		return
	}
	d.cfg.Feeds = append(d.cfg.Feeds, s)
}

func isFeedName(s string) bool {
	return s != "" && len(s) <= 63 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && ('0' > r || r > '9') && ('a' > r|0x20 || r|0x20 > 'z')
	})
}

// feedURL parses where a feed is. What stands in it is told to nobody, but for its
// place.
func feedURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || !portIsOne(u.Port()) {
		return "", withheld{errors.New(`want a URL such as "https://lists.example.org/ads.txt", without user and password`)}
	}
	if u.Scheme == "http" && !IsLoopback(net.JoinHostPort(u.Hostname(), "80")) {
		return "", withheld{errors.New("without TLS a feed can be fetched from this machine only: want https")}
	}
	return s, nil
}
