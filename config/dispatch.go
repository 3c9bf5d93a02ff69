package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"lictor/resolver"
)

// HTTP is the block dispatch "http".
type HTTP struct {
	Balance            resolver.Balance
	HashOn             string        // "", client_ip, consumer, header:NAME, cookie:NAME
	Retries            int           // on other instances
	ConnectTimeout     time.Duration // of one attempt
	MaxIdlePerInstance int           // connections kept open; 0 = none
	MaxConnections     int           // to one instance, of all kinds
	MaxRequests        int           // in flight at one instance; 0 = no limit
	SlowStart          time.Duration // in which the share of a new instance grows; 0 = it has all of it
	Eject              resolver.Faults
	Hold               time.Duration // for which a request waits for an instance; 0 = it does not
	RewriteLocation    bool          // what answers say of paths is put right, where the prefix was taken off
	TLS                UpstreamTLS
}

func defaultHTTP() HTTP {
	return HTTP{
		Balance:            resolver.RoundRobin,
		Retries:            2,
		ConnectTimeout:     2 * time.Second,
		MaxIdlePerInstance: 64,
		MaxConnections:     1024,
		RewriteLocation:    true,
	}
}

func (d *decoder) dispatchHTTP(b *hcl.Block) {
	h := &d.cfg.HTTP
	where := d.body(b, options{
		"balance":                      parsed(&h.Balance, oneOf(resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash)),
		"hash_on":                      parsed(&h.HashOn, hashOn),
		"retries":                      number(&h.Retries, 0, 100),
		"connect_timeout":              parsed(&h.ConnectTimeout, duration(moment)),
		"max_idle_per_instance":        number(&h.MaxIdlePerInstance, 0, 100_000),
		"max_connections_per_instance": number(&h.MaxConnections, 1, 100_000),
		"max_requests_per_instance":    number(&h.MaxRequests, 0, 1_000_000),
		"slow_start":                   parsed(&h.SlowStart, duration(0)),
		"eject":                        parsed(&h.Eject, orNone(resolver.ParseFaults)),
		"hold":                         parsed(&h.Hold, hold),
		"rewrite_location":             boolean(&h.RewriteLocation),
	}, nested{"upstream_tls": d.upstreamTLS(&h.TLS)})
	if h.Balance == resolver.Hash && h.HashOn == "" {
		if _, tried := where["hash_on"]; !tried {
			d.wrong(where.of("balance", b), `dispatch "http": balance: "hash" needs hash_on`)
		}
	}
}

func hold(s string) (time.Duration, error) {
	d, err := duration(0)(s)
	if err == nil && d > resolver.MaxHold {
		return 0, fmt.Errorf("want a duration of at most %s", resolver.MaxHold)
	}
	return d, err
}

func hashOn(s string) (string, error) {
	kind, name, named := strings.Cut(s, ":")
	switch {
	case s == "", s == "client_ip", s == "consumer":
		return s, nil
	case named && (kind == "header" || kind == "cookie") && isToken(name):
		return s, nil
	}
	return "", errors.New(`want "client_ip", "consumer", "header:NAME" or "cookie:NAME"`)
}
