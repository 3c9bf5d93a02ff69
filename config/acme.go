package config

import (
	"errors"
	"iter"
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"lictor/internal/uri"
)

// ACME is the block acme of the gateway's tls: certificates from an authority.
type ACME struct {
	Configured   bool
	Directory    string   // URL of the authority's directory
	Email        string   // that it may write to; "" = none
	Hosts        []string // that get a certificate
	HostSuffixes []string // domains below which hosts of mappings and of lictor-hosts get one
	MaxHosts     int      // that get one, in all
	Storage      string   // file or consul
	KeyFile      string   // of the key that seals what lies in Consul; "" = one of data_dir
	CAFile       string   // whose certificate the directory shows; "" = the system's
	Challenges   []string // that may be used; http-01 needs redirect_address
}

func defaultACME() ACME {
	return ACME{
		Directory: "https://acme-v02.api.letsencrypt.org/directory", MaxHosts: 100, Storage: "file",
		Challenges: []string{"http-01", "tls-alpn-01"},
	}
}

// Among returns the hosts that get a certificate, and how many are too many: those
// of the configuration, then those of each of found below the suffixes, of these
// whoever has a certificate first, in the order of their names. No client adds to
// them, and who may register a service takes no certificate from a mapping, nor from
// another service. has is asked only where there are too many.
func (a *ACME) Among(has func(host string) bool, found ...iter.Seq[string]) (hosts []string, left int) {
	hosts = slices.Compact(slices.Sorted(slices.Values(a.Hosts)))
	known := make(map[string]bool)
	for _, host := range hosts {
		known[host] = true
	}
	for _, some := range found {
		var further []string
		for host := range some {
			below := func(suffix string) bool { return strings.HasSuffix(host, "."+suffix) }
			if !known[host] && !strings.HasPrefix(host, "*.") && slices.ContainsFunc(a.HostSuffixes, below) {
				known[host] = true
				further = append(further, host)
			}
		}
		slices.Sort(further)
		if len(hosts)+len(further) > a.MaxHosts {
			first := slices.DeleteFunc(slices.Clone(further), func(host string) bool { return !has(host) })
			further = append(first, slices.DeleteFunc(further, has)...)
		}
		hosts = append(hosts, further...)
	}
	left = max(0, len(hosts)-a.MaxHosts)
	return hosts[:len(hosts)-left], left
}

// acme is the decoder of the block.
func (d *decoder) acme(b *hcl.Block) {
	a := &d.cfg.Gateway.TLS.ACME
	a.Configured = true
	where := d.body(b, options{
		"directory":     parsed(&a.Directory, directory),
		"email":         parsed(&a.Email, email),
		"hosts":         list(&a.Hosts, acmeHost),
		"host_suffixes": list(&a.HostSuffixes, hostSuffix),
		"max_hosts":     number(&a.MaxHosts, 1, 1000),
		"storage":       parsed(&a.Storage, oneOf("file", "consul")),
		"key_file":      text(&a.KeyFile),
		"ca_file":       text(&a.CAFile),
		"challenges":    list(&a.Challenges, oneOf("http-01", "tls-alpn-01")),
	}, nil)
	if len(a.Hosts)+len(a.HostSuffixes) == 0 {
		d.wrong(where.of("hosts", b), "%sacme: hosts or host_suffixes are needed", d.within)
	}
	if len(a.Hosts) > a.MaxHosts {
		d.wrong(where.of("hosts", b), "%sacme: hosts: %d are more than max_hosts = %d", d.within, len(a.Hosts), a.MaxHosts)
	}
	if len(a.Challenges) == 0 {
		d.wrong(where.of("challenges", b), "%sacme: challenges: want one at least", d.within)
	}
	d.afterwards = append(d.afterwards, func() { d.acmeNeeds(where, b) })
	if a.KeyFile != "" && a.Storage != "consul" {
		d.wrong(where.of("key_file", b), `%sacme: key_file is for storage = "consul"`, d.within)
	}
}

// acmeNeeds reports what a block acme needs of others, which may stand behind it.
func (d *decoder) acmeNeeds(where places, b *hcl.Block) {
	a := &d.cfg.Gateway.TLS.ACME
	switch {
	case a.Storage == "file" && d.cfg.DataDir == "":
		d.wrong(where.of("storage", b), `gateway: tls: acme: storage = "file" needs data_dir`)
	case a.Storage == "consul" && !d.cfg.Consul.Configured:
		d.wrong(where.of("storage", b), `gateway: tls: acme: storage = "consul" needs a block consul`)
	case a.Storage == "consul" && a.KeyFile == "" && d.cfg.DataDir == "":
		d.wrong(where.of("storage", b), `gateway: tls: acme: storage = "consul" needs key_file, or data_dir for a key of its own`)
	}
	if len(a.Challenges) > 0 && !slices.Contains(a.Challenges, "tls-alpn-01") && d.cfg.Gateway.RedirectAddress == "" {
		d.wrong(where.of("challenges", b), `gateway: tls: acme: the challenge "http-01" needs gateway { redirect_address }`)
	}
}

// directory parses the URL of an authority's directory.
func directory(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", errors.New(`want a URL such as "https://acme-v02.api.letsencrypt.org/directory"`)
	}
	return s, nil
}

func email(s string) (string, error) {
	at, err := mail.ParseAddress(s)
	if s != "" && (err != nil || at.Address != s) {
		return "", errors.New("want an address such as admin at example.com")
	}
	return s, nil
}

// acmeHost parses a host that can be proven to be ours by one of the challenges.
func acmeHost(s string) (string, error) {
	host, err := uri.ParseDomain(s)
	if err != nil || len(host) == 0 || host[0] == '*' {
		return "", errors.New(`want a host such as "shop.example.com", and no wildcard`)
	}
	return host, nil
}
