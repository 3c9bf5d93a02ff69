package main

import (
	"fmt"
	"slices"
	"strings"
)

// lictor finds the backend in Consul, writes its access log and keeps its
// metrics. GOMAXPROCS is its default: one, if it was given one CPU.
var lictor = &contestant{name: "lictor", start: func(b *bed, address string) (*proxy, error) {
	return startLictor(b, "lictor", address, "")
}}

// otherLictor is another build of it.
var otherLictor = &contestant{name: "other lictor", start: func(b *bed, address string) (*proxy, error) {
	return startLictor(b, "other lictor", address, "")
}}

// against adds the other build to the rows whose first contestant can be one.
func against(rows []*row) []*row {
	others := map[*contestant]*contestant{
		lictor: otherLictor, peersTLS[0]: otherLictorTLS, lictorEgress: otherLictorEgress, lictorOnBus: otherLictorOnBus,
	}
	var all []*row
	for _, r := range rows {
		more := *r
		if other := others[r.who[0]]; other != nil {
			more.who = append(slices.Clone(r.who), other)
		}
		all = append(all, &more)
	}
	return all
}

// startLictor starts a build of lictor with more configuration than every row needs.
func startLictor(b *bed, program, address, more string) (*proxy, error) {
	return startLictorWith(b, program, address, "", more)
}

// startLictorWith is startLictor with more in the block gateway.
func startLictorWith(b *bed, program, address, gateway, more string) (*proxy, error) {
	return startLictorFrom(b, program, address, gateway, "", more)
}

// startLictorFrom is startLictorWith with more in the block resolver.
func startLictorFrom(b *bed, program, address, gateway, resolver, more string) (*proxy, error) {
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	name := "lictor-" + strings.ReplaceAll(address, ":", "-") // several may run at once
	access := b.dir + "/" + name + ".access"
	log := fmt.Sprintf("access_log {\n  path = %q\n}\n", access)
	if strings.Contains(more, "access_log {") { // it wants another one, or none
		access, log = "", ""
	}
	file, err := b.write(name+".hcl", fmt.Sprintf(`
log_level = "warn"
data_dir  = ""
gateway {
  address = %q
  %s
}
admin {
  address = %q
}
consul {
  address = %q
}
resolver "consul" {
  %s
}
`, address, gateway, admin, b.consul, resolver)+log+more)
	if err != nil {
		return nil, err
	}
	p, err := b.start(name, b.proxies, b.programs[program], "run", "-config", file)
	if err != nil {
		return nil, err
	}
	return &proxy{process: p, access: access}, nil
}
