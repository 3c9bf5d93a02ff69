package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// The rows about TLS and HTTP/2, loaded by h2load.

var rowTLS = &row{
	name: "tls", unit: "µs",
	title:   "GET 1 KiB by HTTP/1.1 over TLS, 64 connections: CPU per request",
	aim:     "at most both",
	who:     peersTLS,
	measure: load2{connections: 64, http1: true}.cpuPerRequest,
}

var rowH2 = &row{
	name: "h2", unit: "µs",
	title:   "GET 1 KiB by HTTP/2, 64 connections of 1 stream: CPU per request",
	aim:     "at most 1.3 of HAProxy's",
	who:     peersTLS,
	measure: load2{connections: 64, streams: 1}.cpuPerRequest,
}

var rowH2Many = &row{
	name: "h2many", unit: "µs",
	title:   "GET 1 KiB by HTTP/2, 2 connections of 32 streams: CPU per request",
	aim:     "at most 1.3 of HAProxy's",
	who:     peersTLS,
	measure: load2{connections: 2, streams: 32}.cpuPerRequest,
}

var rowH2Some = &row{
	name: "h2-8x16", unit: "µs",
	title:   "GET 1 KiB by HTTP/2, 8 connections of 16 streams: CPU per request",
	aim:     "at most 1.1 of HAProxy's",
	who:     peersTLS,
	measure: load2{connections: 8, streams: 16}.cpuPerRequest,
}

var rowHandshakeECDSA = &row{
	name: "ecdsa", unit: "µs",
	title:   "full handshakes, ECDSA P-256: CPU each",
	aim:     "reported",
	who:     peersTLS,
	measure: cpuPerHandshake,
}

var rowHandshakeRSA = &row{
	name: "rsa", unit: "µs",
	title:   "full handshakes, RSA 2048: CPU each",
	aim:     "reported",
	who:     peersRSA,
	measure: cpuPerHandshake,
}

// load2 is what h2load is told to do.
type load2 struct {
	connections, streams int
	http1                bool
}

func (l load2) cpuPerRequest(ctx context.Context, b *bed, p *proxy) (float64, error) {
	args := []string{"-t1", fmt.Sprintf("-c%d", l.connections), fmt.Sprintf("-m%d", max(l.streams, 1)),
		fmt.Sprintf("-D%d", b.duration/time.Second), "--warm-up-time=1"}
	if l.http1 {
		args = append(args, "--h1")
	}
	// The first second is warming up: the CPU time of it is not told apart, and
	// so its requests, of which h2load does not tell, would be missing. They
	// are estimated by the rate.
	share := float64(b.duration) / float64(b.duration+time.Second)
	return p.cpuPer(func() (float64, error) {
		out, err := b.runTool(ctx, "h2load", append(args, "https://"+p.address+smallPath)...)
		if err != nil {
			return 0, err
		}
		n, err := parseH2load(out)
		return float64(n) / share, err
	})
}

var h2loadLine = regexp.MustCompile(`requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)

// parseH2load returns the number of requests that were answered. Any failure fails it.
func parseH2load(out []byte) (int64, error) {
	m := h2loadLine.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("h2load said:\n%s", out)
	}
	n, err := strconv.ParseInt(string(m[3]), 10, 64)
	if err != nil || n == 0 || string(m[4]) != "0" || string(m[5]) != "0" || string(m[6]) != "0" {
		return 0, fmt.Errorf("h2load said: %s", m[0])
	}
	return n, nil
}

// cpuPerHandshake has openssl make handshakes, none of them resumed.
func cpuPerHandshake(ctx context.Context, b *bed, p *proxy) (float64, error) {
	return p.cpuPer(func() (float64, error) {
		out, err := b.runTool(ctx, "openssl", "s_time", "-new", "-tls1_3", "-connect", p.address, "-time", strconv.Itoa(int(b.duration/time.Second)))
		if err != nil {
			return 0, err
		}
		m := regexp.MustCompile(`(?m)^(\d+) connections in`).FindSubmatch(out)
		if m == nil {
			return 0, fmt.Errorf("openssl said:\n%s", out)
		}
		return strconv.ParseFloat(string(m[1]), 64)
	})
}

// cpuPer returns the CPU time of p for each unit of the work, in microseconds.
func (p *proxy) cpuPer(work func() (float64, error)) (float64, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	n, err := work()
	if err != nil {
		return 0, err
	}
	after, err := p.cpu()
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, fmt.Errorf("%s did nothing", p.name)
	}
	if err := p.emptyLogs(); err != nil {
		return 0, fmt.Errorf("log: %w", err)
	}
	return float64((after - before).Nanoseconds()) / 1e3 / n, nil
}

// runTool runs a load generator to its end and returns what it said.
func (b *bed) runTool(ctx context.Context, name string, args ...string) ([]byte, error) {
	tool, err := b.start(name, b.others, b.programs[name], args...)
	if err != nil {
		return nil, err
	}
	defer tool.stop()
	select {
	case <-tool.ended:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return bytes.Clone(tool.said()), nil
}
