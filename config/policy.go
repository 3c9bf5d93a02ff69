package config

import (
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// Policy is the block policy.
type Policy struct {
	Store    string        // consul, file or memory; "" = consul if there is a consul block, else memory
	Dir      string        // the directory of the store "file"
	Prefix   string        // of the keys in Consul KV; ends in a slash
	MaxStale time.Duration // how long to serve without contact to the store; 0 = for ever
	Prefix6  int           // bits of an IPv6 address that a client is counted by
}

func (d *decoder) policy(b *hcl.Block) {
	p := &d.cfg.Policy
	where := d.body(b, options{
		"store":             parsed(&p.Store, oneOf("consul", "file", "memory")),
		"dir":               text(&p.Dir),
		"prefix":            parsed(&p.Prefix, keyPrefix),
		"max_stale":         parsed(&p.MaxStale, duration(0)),
		"limit_ipv6_prefix": number(&p.Prefix6, 32, 128),
	}, nil)
	if p.Store == "file" && p.Dir == "" {
		d.wrong(where.of("store", b), `policy: store "file" needs dir`)
	}
}

// keyPrefix parses a prefix of keys in Consul KV.
func keyPrefix(s string) (string, error) {
	if s == "" || strings.HasPrefix(s, "/") || strings.Contains(s, "//") {
		return "", errors.New(`want a prefix such as "lictor/"`)
	}
	return strings.TrimSuffix(s, "/") + "/", nil
}

// ACL is the block acl.
type ACL struct {
	BindConsumers bool // a consumer that some ACL names may use only the APIs of its ACLs (C6)
}

func (d *decoder) acl(b *hcl.Block) {
	d.body(b, options{"bind_consumers": boolean(&d.cfg.ACL.BindConsumers)}, nil)
}

// GeoIP is the block geoip.
type GeoIP struct {
	Database string // a .mmdb with country.iso_code; "" = no country is known
}

func (d *decoder) geoIP(b *hcl.Block) {
	d.body(b, options{"database": text(&d.cfg.GeoIP.Database)}, nil)
}
