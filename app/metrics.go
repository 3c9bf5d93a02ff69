package app

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/app/listener"
	"lictor/internal/version"
)

// metrics shows what no part of a lictor knows by itself: which one it is, what
// is in force, and until when. It implements [prometheus.Collector].
type metrics struct{ p *Lictor }

// namedTLS is the TLS of a listener.
type namedTLS struct {
	listener string
	tls      *listener.TLS
}

var (
	buildDesc = prometheus.NewDesc("lictor_build_info", "1, with the version in the labels.", []string{"version", "commit", "go"}, nil)
	hashDesc  = prometheus.NewDesc("lictor_policy_info",
		"1, with the first 8 digits of the hash of the policy in force: lictors that show the same one decide alike.", []string{"hash"}, nil)
	heldDesc     = prometheus.NewDesc("lictor_policy_held_objects", "Policy objects that are in force although the store has lost them, until that is confirmed.", nil, nil)
	presenceDesc = prometheus.NewDesc("lictor_presence_live", "Lictors alive that share split rate limits, this one included.", nil, nil)
	contactDesc  = prometheus.NewDesc("lictor_consul_up", "0 if Consul does not answer at all at the moment; of a datacenter, if it is another than that of the block consul.", []string{"datacenter"}, nil)
	sinceDesc    = prometheus.NewDesc("lictor_consul_contact_seconds", "Seconds since Consul answered last, by datacenter as lictor_consul_up.", []string{"datacenter"}, nil)
	expiryDesc   = prometheus.NewDesc("lictor_certificate_expiry_seconds",
		"Seconds until a certificate of a listener, or one of its chain, expires; negative afterwards.", []string{"listener", "name"}, nil)
)

// Describe implements [prometheus.Collector].
func (m metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildDesc, hashDesc, heldDesc, presenceDesc, contactDesc, sinceDesc, expiryDesc} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (m metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(buildDesc, 1, version.Number, version.Commit, runtime.Version())
	if set := m.p.policy.Loaded(); set != nil {
		gauge(hashDesc, 1, set.Digits())
	}
	gauge(heldDesc, float64(m.p.policy.Store().Status().Held))
	if m.p.cfg.Consul.Configured {
		gauge(presenceDesc, float64(m.p.gateway.Limiter().Instances()))
	}
	for dc, contact := range m.p.consul.contacts {
		up := 1.0
		if contact.Down() {
			up = 0
		}
		gauge(contactDesc, up, dc)
		gauge(sinceDesc, time.Since(contact.Since()).Seconds(), dc)
	}
	for _, t := range m.p.certificates {
		for name, c := range t.tls.Shown() {
			gauge(expiryDesc, time.Until(c.Expires).Seconds(), t.listener, name)
		}
	}
}
