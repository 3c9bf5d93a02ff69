package main

import (
	"context"
	"os"
)

// contestant is a proxy in one configuration.
type contestant struct {
	name  string // in the table
	start func(b *bed, address string) (*proxy, error)
	asked func(ctx context.Context, b *bed, p *proxy) error // waits until it answers; nil: by the backend's paths
	ready func(ctx context.Context, p *proxy) error         // waits for what is more than to answer; nil: nothing
}

// proxy is a running contestant.
type proxy struct {
	*process
	address string // host:port
	access  string // the file of its access log; "" if it is its output

	// load has the process work for the bed's duration and returns how much of
	// it was done; nil: it is a proxy, which wrk loads.
	load func(ctx context.Context) (int64, error)
}

// emptyLogs keeps the access log, which is a real file, from filling the disk.
func (p *proxy) emptyLogs() error {
	if p.access == "" {
		return os.Truncate(p.log, 0)
	}
	return os.Truncate(p.access, 0)
}
