package config

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"lictor/internal/uri"
	"lictor/resolver"
)

// Resolver is one resolver block. Exactly one field is set.
type Resolver struct {
	Consul *ConsulResolver
	Static *StaticResolver
	Eureka *EurekaResolver
}

// ConsulResolver is one block resolver "consul". There may be several, each of
// another datacenter or peer.
type ConsulResolver struct {
	Datacenter   string        // whose services it knows; "" = that of the block consul
	Peer         string        // the cluster peering whose services it knows; "" = none
	Tag          string        // only instances that carry it; "" = all
	PassingOnly  bool          // false: instances in warning too
	Expose       []string      // globs of service names that a path may reach
	Hide         []string      // globs of names that it may not; wins over Expose
	HostSuffixes []string      // domains below which services may claim hosts (K2)
	MaxStale     time.Duration // how long to serve without contact; 0 = for ever
	EmptyHold    time.Duration // how long a loss that looks wrong is disbelieved (D8)
	Connect      string        // how Consul's mesh is used: ConnectOff, ConnectPrefer, ConnectRequire
}

// The values of connect.
const (
	ConnectOff     = "off"
	ConnectPrefer  = "prefer"  // the mesh, for services that are in it
	ConnectRequire = "require" // the mesh alone
)

// StaticResolver is the block resolver "static".
type StaticResolver struct {
	Services map[string][]string          // base URLs of the instances, by service (D7)
	Meta     map[string]map[string]string `json:",omitempty"` // options of services, in the names of a registry's metadata
}

func (d *decoder) resolverConsul(b *hcl.Block) {
	r := &ConsulResolver{
		PassingOnly: true,
		Expose:      []string{"*"},
		Hide:        []string{"consul", "nomad", "nomad-client", "nomad-server", "vault", "lictor"},
		EmptyHold:   30 * time.Second,
		Connect:     ConnectOff,
	}
	where := d.body(b, options{
		"datacenter":    parsed(&r.Datacenter, orNone(cluster)),
		"peer":          parsed(&r.Peer, orNone(cluster)),
		"tag":           text(&r.Tag),
		"passing_only":  boolean(&r.PassingOnly),
		"expose":        list(&r.Expose, glob),
		"hide":          list(&r.Hide, glob),
		"host_suffixes": list(&r.HostSuffixes, hostSuffix),
		"max_stale":     parsed(&r.MaxStale, duration(0)),
		"empty_hold":    parsed(&r.EmptyHold, duration(0)),
		"connect":       parsed(&r.Connect, oneOf(ConnectOff, ConnectPrefer, ConnectRequire)),
	}, nil)
	if r.Datacenter != "" && r.Peer != "" {
		d.wrong(where.of("peer", b), `resolver "consul": peer: want either this or datacenter: a peer is one of the datacenter that is asked`)
	}
	if r.Peer != "" && r.Connect != ConnectOff {
		d.wrong(where.of("connect", b), `resolver "consul": connect: want "off" for a peer: its mesh is another one`)
	}
	if r.Peer != "" && len(r.HostSuffixes) > 0 {
		d.wrong(where.of("host_suffixes", b), `resolver "consul": host_suffixes: the services of a peer claim no hosts`)
	}
	if d.sameConsul(r) {
		d.wrong(b.DefRange, `resolver "consul": another one is of this datacenter and peer: each needs a datacenter or peer of its own`)
	}
	d.cfg.Resolvers = append(d.cfg.Resolvers, Resolver{Consul: r})
}

// sameConsul reports whether a block before r knows the same services.
func (d *decoder) sameConsul(r *ConsulResolver) bool {
	return slices.ContainsFunc(d.cfg.Resolvers, func(before Resolver) bool {
		c := before.Consul
		return c != nil && c.Datacenter == r.Datacenter && c.Peer == r.Peer
	})
}

// clusterName is what Consul takes for the name of a datacenter, and more than it
// takes for that of a peer. It is a part of names of files.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// cluster parses the name of a datacenter or peer.
func cluster(s string) (string, error) {
	if !clusterName.MatchString(s) {
		return "", errors.New("want a name of at most 64 letters, digits, underscores and hyphens")
	}
	return s, nil
}

// hostSuffix reads a domain of which only what is below it may be claimed.
func hostSuffix(s string) (string, error) {
	below, err := uri.ParseDomain("x." + s)
	if err != nil {
		return "", errors.New(`want a domain such as "example.com"`)
	}
	return strings.TrimPrefix(below, "x."), nil
}

func (d *decoder) resolverStatic(b *hcl.Block) {
	r := &StaticResolver{Services: make(map[string][]string), Meta: make(map[string]map[string]string)}
	d.cfg.Resolvers = append(d.cfg.Resolvers, Resolver{Static: r})
	var named []part
	d.body(b, options{"services": services(r.Services), "meta": meta(r.Meta, &named)}, nil)
	for _, p := range named {
		if _, known := r.Services[p.key]; !known {
			d.wrong(p.at, `resolver "static": meta: %s is none of services`, p.name())
		}
	}
}

// meta stores options of services, by the name of the service, and notes where each
// service is named.
func meta(dst map[string]map[string]string, named *[]part) setter {
	return func(v value) {
		*named, _ = entries(v)
		for _, s := range *named {
			options := make(map[string]string)
			parts, _ := entriesOf(v, s)
			given := make(map[string]part)
			for _, p := range parts {
				if text, ok := parseString(v, p, asItIs); ok {
					options[p.key], given[p.key] = text, p
				}
			}
			wrong := resolver.MetaWrong(func(_, key, _, want string) {
				p := given[key]
				v.wrong(p.at, "%s: want %s", p.name(), want)
			})
			wrong.Own(s.key, options)
			wrong.Protocol(s.key, map[string]string{resolver.MetaProtocol: options[resolver.MetaProtocol]})
			dst[s.key] = options
		}
	}
}

// segment is what the first segment of a path may be (D22): another name could never be asked for.
var segment = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// services stores lists of base URLs by the name of their service.
func services(dst map[string][]string) setter {
	return func(v value) {
		named, ok := entries(v)
		if !ok {
			return
		}
		for _, s := range named {
			if !segment.MatchString(s.key) || s.key == "." || s.key == ".." {
				v.wrong(s.at, "%s: want a name of at most 128 letters, digits, dots, underscores and hyphens", s.name())
			}
			parts, _ := elements(v, s)
			urls := make([]string, 0, len(parts))
			for _, p := range parts {
				if u, ok := parseString(v, p, baseURL); ok {
					urls = append(urls, u)
				}
			}
			dst[s.key] = urls
		}
	}
}

// baseURL parses the URL of an instance, maybe with a path.
func baseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#") || !portIsOne(u.Port()) {
		return "", errors.New(`want a URL such as "http://127.0.0.1:9001/base"`)
	}
	return s, nil
}
