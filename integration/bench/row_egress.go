package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

var egressPeers = []*contestant{lictorEgress, squid}

var rowEgressGet = &row{
	name: "egress", unit: "µs",
	title: "Forward proxy, 100,000 blacklist entries, GET 1 KiB by URL, 64 connections: CPU per request",
	aim:   "at most a third of squid's",
	who:   egressPeers,
	measure: func(ctx context.Context, b *bed, p *proxy) (float64, error) {
		l := load{path: smallPath, size: smallSize, connections: 64, url: "http://" + b.backend + smallPath}
		return l.cpuPerRequest(ctx, b, p)
	},
}

var rowEgressTunnel = &row{
	name: "tunnel", unit: "ms",
	title:   "Forward proxy, 8 CONNECT tunnels, 1 MiB answers: CPU per GiB",
	aim:     "at most a third of squid's",
	who:     egressPeers,
	measure: cpuPerTunnelledGiB,
}

const tunnels = 8

// cpuPerTunnelledGiB has tunnels carry answers for the bed's duration.
func cpuPerTunnelledGiB(ctx context.Context, b *bed, p *proxy) (float64, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	until := time.Now().Add(b.duration)
	var bytes atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, tunnels)
	for i := range tunnels {
		wg.Go(func() { errs[i] = pull(ctx, p.address, b.backend, until, &bytes) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	if err != nil {
		return 0, err
	}
	if err := p.emptyLogs(); err != nil {
		return 0, err
	}
	return float64((after - before).Nanoseconds()) / 1e6 / (float64(bytes.Load()) / (1 << 30)), nil
}

// pull opens a tunnel through proxy to backend and asks for answers until then.
func pull(ctx context.Context, proxy, backend string, until time.Time, bytes *atomic.Int64) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", proxy)
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", backend, backend)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT: %v, %v", resp, err)
	}
	for time.Now().Before(until) {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", bigPath)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		bytes.Add(n)
		if err != nil || n != bigSize {
			return fmt.Errorf("an answer of %d bytes: %v", n, err)
		}
	}
	return nil
}
