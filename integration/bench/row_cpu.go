package main

import (
	"context"
	"fmt"
)

// The rows about CPU time: what the kernel accounts to the proxy's processes,
// user and system, while wrk loads it, divided by the requests that were answered.

var rowGet = &row{
	name: "get", unit: "µs",
	title:   "GET 1 KiB, 64 connections: CPU per request",
	aim:     "at most HAProxy's",
	who:     peers,
	measure: load{path: smallPath, size: smallSize, connections: 64}.cpuPerRequest,
}

var rowMesh = &row{
	name: "mesh", unit: "µs",
	title:   "GET 1 KiB by mutual TLS to the instance (Consul's mesh), 64 connections: CPU per request",
	aim:     "at most 1.1 of HAProxy's",
	who:     peersMesh,
	measure: load{path: meshPath, size: smallSize, connections: 64}.cpuPerRequest,
}

var rowMiddle = &row{
	name: "get-64k", unit: "µs",
	title:   "GET 64 KiB, 64 connections: CPU per request",
	aim:     "at most HAProxy's",
	who:     peers,
	measure: load{path: middlePath, size: middleSize, connections: 64}.cpuPerRequest,
}

var rowDown = &row{
	name: "down", unit: "µs",
	title:   "1 MiB down, 16 connections: CPU per request",
	aim:     "at most nginx's",
	who:     peers,
	measure: load{path: bigPath, size: bigSize, connections: 16}.cpuPerRequest,
}

var rowUp = &row{
	name: "up", unit: "µs",
	title:   "1 MiB up, 16 connections: CPU per request",
	aim:     "near nginx's",
	who:     peers,
	measure: load{path: smallPath, size: smallSize, connections: 16, upload: bigSize}.cpuPerRequest,
}

// cpuPerRequest loads p and returns its CPU time per request in microseconds.
func (l load) cpuPerRequest(ctx context.Context, b *bed, p *proxy) (float64, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	requests, err := l.run(ctx, b, p.address)
	if err != nil {
		return 0, err
	}
	after, err := p.cpu()
	if err != nil {
		return 0, err
	}
	if err := p.emptyLogs(); err != nil {
		return 0, fmt.Errorf("log: %w", err)
	}
	return float64((after - before).Nanoseconds()) / 1e3 / float64(requests), nil
}
