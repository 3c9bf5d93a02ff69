package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// The rows about memory: what the proxy's processes hold more (PSS) with many
// kept-alive connections that each had one request than without them.

const idleConnections = 5000

var rowIdle = &row{
	name: "idle", unit: "KiB",
	title:   "5,000 idle connections: memory per connection",
	aim:     "at most 5 KiB",
	who:     peers,
	fresh:   true,
	most:    3,
	measure: memoryPerConn(5 * time.Second), // lictor takes back the stacks of what is idle
}

// rowSettled shows what is left when lictor has collected its garbage, which a
// process without work does every two minutes.
var rowSettled = &row{
	name: "settled", unit: "KiB",
	title:   "the same, two and a half minutes later",
	aim:     "at most 5 KiB",
	who:     []*contestant{lictor},
	fresh:   true,
	most:    1,
	asked:   true,
	measure: memoryPerConn(150 * time.Second),
}

// memoryPerConn measures the memory per idle connection in KiB, the given time
// after the last of them had its request.
func memoryPerConn(later time.Duration) func(context.Context, *bed, *proxy) (float64, error) {
	return func(ctx context.Context, _ *bed, p *proxy) (float64, error) {
		var warm, held idleConns
		defer held.close()
		err := warm.open(ctx, p.address, 64)
		warm.close()
		if err != nil {
			return 0, err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return 0, err
		}
		before, err := p.memory()
		if err != nil {
			return 0, err
		}
		if err := held.open(ctx, p.address, idleConnections); err != nil {
			return 0, err
		}
		if err := sleep(ctx, later); err != nil {
			return 0, err
		}
		after, err := p.memory()
		if err != nil {
			return 0, err
		}
		return float64(after-before) / 1024 / idleConnections, nil
	}
}

// idleConns are client connections that are kept open.
type idleConns struct {
	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// open opens n connections, a few at a time, with one request on each.
func (ic *idleConns) open(ctx context.Context, address string, n int) error {
	const atOnce = 32
	var wg sync.WaitGroup
	errs := make(chan error, atOnce)
	for k := range atOnce {
		wg.Go(func() {
			for i := k; i < n && ctx.Err() == nil; i += atOnce {
				if err := ic.openOne(address); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	return ctx.Err()
}

func (ic *idleConns) openOne(address string) error {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	ic.mu.Lock()
	ic.conns = append(ic.conns, c)
	ic.mu.Unlock()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: bench.test\r\n\r\n", smallPath); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n != smallSize || resp.Close) {
		err = fmt.Errorf("answered %s, %d bytes, close %v", resp.Status, n, resp.Close)
	}
	return err
}

func (ic *idleConns) close() {
	for _, c := range ic.conns {
		c.Close()
	}
}
