package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// The forward proxies. Both have a blacklist of so many domains, of which none
// is the backend's, and write an access log.
const blacklisted = 100_000

// writeBlacklist writes the list to a file below the bed's directory.
func (b *bed) writeBlacklist(name string) (string, error) {
	var s strings.Builder
	for i := range blacklisted {
		fmt.Fprintf(&s, ".bad%d.example\n", i)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(b.dir, name)), 0o700); err != nil {
		return "", err
	}
	return b.write(name, s.String())
}

var lictorEgress, otherLictorEgress = egressOf(lictor.name), egressOf(otherLictor.name)

func egressOf(program string) *contestant {
	return &contestant{name: program, asked: forwards, start: func(b *bed, address string) (*proxy, error) {
		return startEgress(b, program, address)
	}}
}

// startEgress starts the forward proxy of a build of lictor.
func startEgress(b *bed, program, address string) (*proxy, error) {
	if _, err := b.writeBlacklist("egress/blacklist/bench"); err != nil {
		return nil, err
	}
	name := "egress of " + program
	var own [2]string
	for i := range own {
		var err error
		if own[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	access := filepath.Join(b.dir, name+".access")
	file, err := b.write(name+".hcl", fmt.Sprintf(`
log_level = "warn"
data_dir  = ""
gateway {
  address = %q
}
egress {
  address       = %q
  allow_private = ["127.0.0.0/8"]
  connect_ports = []
}
admin {
  address = %q
}
policy {
  store = "file"
  dir   = %q
}
access_log {
  path = %q
}
`, own[0], address, own[1], b.dir+"/egress", access))
	if err != nil {
		return nil, err
	}
	p, err := b.start(name, b.proxies, b.programs[program], "run", "-config", file)
	if err != nil {
		return nil, err
	}
	return &proxy{process: p, access: access}, nil
}

// squid has one worker, no cache, and a buffered access log.
var squid = &contestant{name: "squid", asked: forwards, start: func(b *bed, address string) (*proxy, error) {
	list, err := b.writeBlacklist("squid.blacklist")
	if err != nil {
		return nil, err
	}
	program, err := find("squid")
	if err != nil {
		return nil, err
	}
	access := b.dir + "/squid.access"
	file, err := b.write("squid.conf", strings.NewReplacer(
		"{address}", address, "{dir}", b.dir, "{access}", access, "{list}", list,
	).Replace(squidConf))
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // squid becomes another user, who must get at its files
		for path, mode := range map[string]os.FileMode{b.dir: 0o777, list: 0o644, file: 0o644} {
			if err := os.Chmod(path, mode); err != nil {
				return nil, err
			}
		}
	}
	p, err := b.start("squid", b.proxies, program, "-N", "-f", file)
	if err != nil {
		return nil, err
	}
	return &proxy{process: p, access: access}, nil
}}

const squidConf = `
http_port {address}
pid_filename {dir}/squid.pid
cache_log {dir}/squid.cache
coredump_dir {dir}
access_log stdio:{access}
buffered_logs on
cache deny all
pinger_enable off
shutdown_lifetime 0 seconds
forwarded_for delete
acl bad dstdomain -n "{list}"
http_access deny bad
http_access allow all
`

// forwards waits until a forward proxy brings the answers of the backend.
func forwards(ctx context.Context, b *bed, p *proxy) error {
	via := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: p.address}), DisableKeepAlives: true}
	err := p.until(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.backend+smallPath, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Apikey", accessKey)
		resp, err := via.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", p.address, resp.Status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.findGroup()
}
