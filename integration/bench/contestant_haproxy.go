package main

import "strings"

// haproxy has one thread, kept-alive connections on both sides, and splices
// where it finds that good.
var haproxy = &contestant{name: "HAProxy", start: func(b *bed, address string) (*proxy, error) {
	return startHAProxy(b, address, "haproxy", func(conf string) (string, error) { return conf, nil })
}}

// startHAProxy starts HAProxy with what edit makes of its configuration.
func startHAProxy(b *bed, address, name string, edit func(string) (string, error)) (*proxy, error) {
	conf, err := edit(haproxyConf)
	if err != nil {
		return nil, err
	}
	file, err := b.write(name+".cfg", strings.NewReplacer(
		"{address}", address, "{backend}", b.backend,
	).Replace(conf))
	if err != nil {
		return nil, err
	}
	p, err := b.start(name, b.proxies, b.programs["haproxy"], "-db", "-f", file)
	if err != nil {
		return nil, err
	}
	return &proxy{process: p}, nil
}

const haproxyConf = `
global
  nbthread 1
  maxconn 6000
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option http-keep-alive
  option splice-auto
  http-reuse always
  timeout connect 2s
  timeout client 60s
  timeout server 15s
frontend clients
  bind {address}
  option forwardfor
  default_backend service
backend service
  server backend {backend}
`
