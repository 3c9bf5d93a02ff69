package config

import (
	"errors"
	"net/url"
	"time"

	"github.com/hashicorp/hcl/v2"

	"lictor/internal/secret"
)

// EurekaResolver is the block resolver "eureka" (E1-E12).
type EurekaResolver struct {
	URLs           []secret.Text // the base of each server, asked in this order
	Refresh        time.Duration // between two reads
	PreferHostname bool          // dial hostName instead of ipAddr
	Delta          bool          // read changes only, where the server gives them (E5)
	EmptyHold      time.Duration // how long a loss that looks wrong is disbelieved (E9)
}

func (d *decoder) resolverEureka(b *hcl.Block) {
	r := &EurekaResolver{Refresh: 30 * time.Second, EmptyHold: 90 * time.Second}
	d.cfg.Resolvers = append(d.cfg.Resolvers, Resolver{Eureka: r})
	where := d.body(b, options{
		"urls":            list(&r.URLs, eurekaURL),
		"refresh":         parsed(&r.Refresh, duration(100*time.Millisecond)),
		"prefer_hostname": boolean(&r.PreferHostname),
		"delta":           boolean(&r.Delta),
		"empty_hold":      parsed(&r.EmptyHold, duration(0)),
	}, nil)
	if len(r.URLs) == 0 {
		d.wrong(where.of("urls", b), `resolver "eureka": urls: want at least one URL`)
	}
}

// eurekaURL parses the base URL of a server, maybe with user and password.
func eurekaURL(s string) (secret.Text, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || !portIsOne(u.Port()) {
		return secret.Text{}, withheld{errors.New(`want a URL such as "http://127.0.0.1:8761/eureka"`)}
	}
	return secret.New(s), nil
}
