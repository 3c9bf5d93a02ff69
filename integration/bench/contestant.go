package main

import (
	"context"
	"io"
	"net/http"
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
	metrics string // URL of its metrics; "" if it has none
}

// emptyLogs keeps the access log, which is a real file, from filling the disk.
func (p *proxy) emptyLogs() error {
	if p.access == "" {
		return os.Truncate(p.log, 0)
	}
	return os.Truncate(p.access, 0)
}

// settle has a proxy with a garbage collector collect, by scraping its metrics.
func (p *proxy) settle(ctx context.Context) error {
	if p.metrics == "" {
		return nil
	}
	for range 200 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
