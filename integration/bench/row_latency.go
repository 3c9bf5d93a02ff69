package main

import (
	"context"
	"fmt"
)

// rowLatency is how long the slowest of a hundred requests takes while the proxy has
// time: what it adds then is not the queue before it.
var rowLatency = &row{
	name: "latency", unit: "µs",
	title: "GET 1 KiB, 64 connections with pauses, some 2,000 requests a second: p99 of the time to the answer",
	aim:   "at most HAProxy's",
	who:   peers,
	measure: func(ctx context.Context, b *bed, p *proxy) (float64, error) {
		found, err := load{path: smallPath, size: smallSize, connections: 64, pause: 32}.find(ctx, b, p.address)
		if err != nil {
			return 0, err
		}
		if err := p.emptyLogs(); err != nil {
			return 0, fmt.Errorf("log: %w", err)
		}
		return float64(found.p99), nil
	},
}
