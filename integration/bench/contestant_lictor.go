package main

import "fmt"

// lictor finds the backend in Consul, writes its access log and keeps its
// metrics. GOMAXPROCS is its default: one, if it was given one CPU.
var lictor = &contestant{name: "lictor", start: func(b *bed, address string) (*proxy, error) {
	return startLictor(b, address, "")
}}

// startLictor starts lictor with more configuration than every row needs.
func startLictor(b *bed, address, more string) (*proxy, error) {
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	access := b.dir + "/lictor.access"
	file, err := b.write("lictor.hcl", fmt.Sprintf(`
log_level = "warn"
data_dir  = ""
gateway {
  address = %q
}
admin {
  address = %q
}
consul {
  address = %q
}
resolver "consul" {}
access_log {
  path = %q
}
`, address, admin, b.consul, access)+more)
	if err != nil {
		return nil, err
	}
	p, err := b.start("lictor", b.proxies, b.programs["lictor"], "run", "-config", file)
	if err != nil {
		return nil, err
	}
	return &proxy{process: p, access: access, metrics: "http://" + admin + "/metrics"}, nil
}
