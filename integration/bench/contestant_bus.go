package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lictor/integration/broker"
)

// lictorOnBus publishes what it is asked by HTTP, otherLictorOnBus is another build of it.
var lictorOnBus, otherLictorOnBus = onBus(lictor.name), onBus(otherLictor.name)

func onBus(program string) *contestant {
	return &contestant{name: program, asked: answersOnBus, start: func(b *bed, address string) (*proxy, error) {
		if err := b.startBus(); err != nil {
			return nil, err
		}
		return startLictor(b, program, address, fmt.Sprintf("dispatch \"rabbitmq\" {\n  url = %q\n  services = [%q]\n}\n", b.broker.URL, busExchange))
	}}
}

// bareBehindHTTP is a handler of net/http around bareClient.
var bareBehindHTTP = &contestant{name: "bare client behind net/http", asked: answersOnBus, start: startBare}

// bareClient is the plainest client of the same library that does what D15 asks.
var bareClient = &contestant{name: "bare client", asked: answersOnBus, start: func(b *bed, address string) (*proxy, error) {
	p, err := startBare(b, address)
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("http://%s/run?for=%s", address, b.duration)
	p.load = func(ctx context.Context) (int64, error) {
		text, err := fetchText(ctx, url)
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	}
	return p, nil
}}

func startBare(b *bed, address string) (*proxy, error) {
	if err := b.startBus(); err != nil {
		return nil, err
	}
	p, err := b.start("bare", b.proxies, b.programs[backendCommand], bareCommand, address, b.broker.URL)
	if err != nil {
		return nil, err
	}
	return &proxy{process: p}, nil
}

// startBus starts the broker and the worker that all contestants share. It must
// be called in the main goroutine.
func (b *bed) startBus() error {
	if b.broker != nil {
		return nil
	}
	dir := filepath.Join(b.dir, "rabbitmq")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(b.dir, "rabbitmq.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	if err := unix.SchedSetaffinity(0, b.others); err != nil {
		return fmt.Errorf("CPU affinity: %w", err)
	}
	defer unix.SchedSetaffinity(0, b.all) //nolint:errcheck // as it was before
	if b.broker, err = broker.New(dir, log); err != nil {
		return err
	}
	if err := b.broker.Start(context.Background()); err != nil {
		return err
	}
	worker, err := b.start("worker", b.others, b.programs[backendCommand], workerCommand, b.broker.URL)
	if err != nil {
		return err
	}
	b.started = append(b.started, worker)
	return nil
}

// answersOnBus waits until p brings the worker's answer.
func answersOnBus(ctx context.Context, _ *bed, p *proxy) error {
	err := p.until(ctx, func() error {
		return fetch(ctx, "http://"+p.address+"/"+busExchange+"/new", "", http.StatusOK, smallSize)
	})
	if err != nil {
		return err
	}
	return p.findGroup()
}

func fetchText(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}
