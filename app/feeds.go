package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/admin/api"
	"lictor/app/supervisor"
	"lictor/policy/feed"
)

// buildFeeds makes what follows the feeds of the configuration (A18), which a reload may
// give to a lictor that has none.
func (p *Lictor) buildFeeds() (err error) {
	if len(p.cfg.Feeds) > 0 {
		if _, err := p.dataFile("feed"); err != nil {
			return err
		}
	}
	dir := ""
	if p.unlockData != nil {
		dir = p.cfg.DataDir
	}
	p.feeds, err = feed.New(feed.Config{Sources: p.cfg.Feeds, DataDir: dir, Log: p.log.Named("feeds"), Publish: p.policy.SetFeeds})
	if err != nil {
		return err
	}
	p.registry.MustRegister(feedMetrics{p.feeds})
	p.services = append(p.services, supervisor.Service{Name: "feeds", Run: p.feeds.Run, Grace: 5 * time.Second})
	return nil
}

// describeFeeds adds the feeds to the status.
func (p *Lictor) describeFeeds(st *api.Status) {
	for _, s := range p.feeds.Status() {
		f := api.FeedStatus{Name: s.Name, Source: s.Source, Entries: s.Entries, BadLines: s.BadLines, Bad: []api.BadLine{}, LastGood: s.Kept, Known: s.Known, AgeSeconds: api.Age(s.Read), Error: s.Problem}
		for _, b := range s.Bad {
			f.Bad = append(f.Bad, api.BadLine(b))
		}
		st.Feeds = append(st.Feeds, f)
		if s.Problem != "" {
			st.Problems = append(st.Problems, "feed "+s.Name+": "+s.Problem)
		}
	}
}

// feedMetrics shows the feeds when it is asked.
type feedMetrics struct{ feeds *feed.Feeds }

var (
	feedEntriesDesc = prometheus.NewDesc("lictor_feed_entries", "Entries of a feed in force.", []string{"feed"}, nil)
	feedBadDesc     = prometheus.NewDesc("lictor_feed_bad_lines", "Lines of what is in force of a feed that could not be read.", []string{"feed"}, nil)
	feedAgeDesc     = prometheus.NewDesc("lictor_feed_age_seconds", "Since a feed was last known to be as it is in force.", []string{"feed"}, nil)
	feedUpDesc      = prometheus.NewDesc("lictor_feed_up", "0 if a feed could not be read last.", []string{"feed"}, nil)
)

// Describe implements prometheus.Collector.
func (feedMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{feedEntriesDesc, feedBadDesc, feedAgeDesc, feedUpDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m feedMetrics) Collect(out chan<- prometheus.Metric) {
	for _, s := range m.feeds.Status() {
		gauge := func(d *prometheus.Desc, value float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, s.Name)
		}
		gauge(feedEntriesDesc, float64(s.Entries))
		gauge(feedBadDesc, float64(s.BadLines))
		up := 1.0
		if s.Problem != "" {
			up = 0
		}
		gauge(feedUpDesc, up)
		if !s.Read.IsZero() {
			gauge(feedAgeDesc, time.Since(s.Read).Seconds())
		}
	}
}
