package main

import "strings"

// rowQuiet is rowGet without access logs: what is left is the work of proxying.
var rowQuiet = &row{
	name: "get-quiet", unit: "µs",
	title:   "the same without access logs",
	aim:     "at most HAProxy's",
	who:     peersQuiet,
	measure: load{path: smallPath, size: smallSize, connections: 64}.cpuPerRequest,
}

var peersQuiet = []*contestant{
	{name: lictor.name, start: func(b *bed, address string) (*proxy, error) {
		return startLictor(b, "lictor", address, "access_log {\n  path = \"\"\n}\n")
	}},
	{name: nginx.name, start: func(b *bed, address string) (*proxy, error) {
		p, err := startNginx(b, address, "nginx-quiet", func(conf string) (string, error) {
			return strings.Replace(conf, "access_log {access} combined buffer=64k flush=200ms;", "access_log off;", 1), nil
		})
		if err != nil {
			return nil, err
		}
		p.access = "" // it writes none
		return p, nil
	}},
	{name: haproxy.name, start: func(b *bed, address string) (*proxy, error) {
		return startHAProxy(b, address, "haproxy-quiet", func(conf string) (string, error) {
			return strings.NewReplacer("  log stdout format raw local0\n", "", "  log global\n", "", "  option httplog\n", "").Replace(conf), nil
		})
	}},
}
