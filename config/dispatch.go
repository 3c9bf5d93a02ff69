package config

import (
	"errors"
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
	TLS                UpstreamTLS
}

func defaultHTTP() HTTP {
	return HTTP{
		Balance:            resolver.RoundRobin,
		Retries:            2,
		ConnectTimeout:     2 * time.Second,
		MaxIdlePerInstance: 64,
		MaxConnections:     1024,
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
	}, nested{"upstream_tls": d.upstreamTLS(&h.TLS)})
	if h.Balance == resolver.Hash && h.HashOn == "" {
		if _, tried := where["hash_on"]; !tried {
			d.wrong(where.of("balance", b), `dispatch "http": balance: "hash" needs hash_on`)
		}
	}
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
