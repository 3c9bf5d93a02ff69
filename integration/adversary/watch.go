package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// watch holds the program to its budgets while the storm is on.
type watch struct {
	lab     *lab
	options options

	mu       sync.Mutex
	list     []string
	peak     map[string]int // KiB
	slowest  time.Duration  // of admin
	calm     int            // requests of the calm client that were answered well
	calmSlow time.Duration
}

func newWatch(l *lab, o options) *watch {
	return &watch{lab: l, options: o, peak: make(map[string]int)}
}

// found notes a finding; one of each text is enough.
func (w *watch) found(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.list, text) && len(w.list) < 40 {
		w.list = append(w.list, text)
		fmt.Println("found:", text)
	}
}

func (w *watch) findings() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

// run watches until ctx ends; the channel is closed when it has stopped.
func (w *watch) run(ctx context.Context) <-chan struct{} {
	var group sync.WaitGroup
	for _, p := range []*lictor{&w.lab.plain, &w.lab.secure} {
		group.Go(func() { w.process(ctx, p) })
		group.Go(func() { w.admin(ctx, p) })
	}
	plain, secure := &w.lab.plain, &w.lab.secure
	group.Go(func() { w.calmly(ctx, plain, "http://"+plain.gateway, calmClient(false, false)) })
	group.Go(func() { w.calmly(ctx, plain, "http://"+plain.gateway, calmClient(false, true)) })
	group.Go(func() { w.calmly(ctx, secure, "https://"+secure.gateway, calmClient(true, false)) })
	group.Go(func() { w.calmCalls(ctx) })
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	return done
}

// process looks at life and memory.
func (w *watch) process(ctx context.Context, p *lictor) {
	for pause(ctx, 100*time.Millisecond) {
		if !p.alive() {
			w.found("the %s process ended: %s", p.name, p.said())
			if err := p.start(ctx, w.lab.program); err != nil {
				return // the storm is over, or it cannot start again
			}
		}
		held := p.resident()
		w.mu.Lock()
		over := w.peak[p.name] <= w.options.memory<<10 && held > w.options.memory<<10
		w.peak[p.name] = max(w.peak[p.name], held)
		w.mu.Unlock()
		if over {
			w.found("the %s process holds more than %d MiB", p.name, w.options.memory)
		}
		if held > 4*w.options.memory<<10 {
			w.found("the %s process was ended at %d MiB, the machine is needed", p.name, held>>10)
			p.kill()
		}
	}
}

// admin asks for health on new connections, as probes do.
func (w *watch) admin(ctx context.Context, p *lictor) {
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for pause(ctx, 200*time.Millisecond) {
		life, began := p.life(), time.Now()
		resp, err := c.Get("http://" + p.admin + "/healthz")
		took := time.Since(began)
		if err != nil {
			if life != 0 && p.life() == life {
				w.found("admin of the %s process does not answer: %v", p.name, err)
			}
			continue
		}
		resp.Body.Close()
		w.mu.Lock()
		w.slowest = max(w.slowest, took)
		w.mu.Unlock()
		if took > w.options.admin {
			w.found("admin of the %s process took more than %s", p.name, w.options.admin)
		}
	}
}

// calmClient speaks HTTP/2 by TLS, HTTP/1.1 else; fresh opens a connection for
// each request.
func calmClient(secure, fresh bool) *http.Client {
	t := &http.Transport{DisableKeepAlives: fresh, ForceAttemptHTTP2: secure, IdleConnTimeout: time.Second}
	if secure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a certificate made a moment ago
	}
	return &http.Client{Transport: t, Timeout: 10 * time.Second}
}

// calmly sends honest requests one after the other, each of which must succeed.
func (w *watch) calmly(ctx context.Context, p *lictor, base string, c *http.Client) {
	for i := 0; pause(ctx, 25*time.Millisecond); i++ {
		token := fmt.Sprintf("calm-%d", i)
		life, began := p.life(), time.Now()
		body, err := get(c, base+"/calm/"+token)
		took := time.Since(began)
		switch {
		case err != nil && (life == 0 || p.life() != life):
			continue
		case err != nil:
			w.found("a calm request failed: %v", err)
		case body != token:
			w.found("a calm request got another answer: %q for %q", body, token)
		}
		w.mu.Lock()
		w.calm++
		w.calmSlow = max(w.calmSlow, took)
		w.mu.Unlock()
	}
}

// calmCalls sends small bodies to an instance over HTTP/2, the one that slow
// readers and stuck uploads use as well.
func (w *watch) calmCalls(ctx context.Context) {
	c := calmClient(false, false)
	for pause(ctx, 50*time.Millisecond) {
		life := w.lab.plain.life()
		resp, err := c.Post("http://"+w.lab.plain.gateway+"/grpc/calm", "application/grpc", strings.NewReader("0123456789"))
		if err == nil {
			var body []byte
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && string(body) != "calm" {
				err = fmt.Errorf("status %d, grpc-status %q %q: %.200q", resp.StatusCode, resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message"), body)
			}
		}
		if err != nil && life != 0 && w.lab.plain.life() == life {
			w.found("a calm call to a busy HTTP/2 instance failed: %v", err)
		}
	}
}

func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", resp.StatusCode, body)
	}
	return string(body), err
}

// recovers checks that what the storm took is given back. What the lab's limits
// let live on ends within some ten seconds, connections to instances within a
// minute.
func (w *watch) recovers(ctx context.Context, before figures) {
	if !w.lab.plain.alive() || !w.lab.secure.alive() {
		return
	}
	var after figures
	var err error
	within := func() bool {
		return err == nil && after.goroutines <= before.goroutines+20 && after.descriptors <= before.descriptors+20 && after.resident <= w.options.memory<<10
	}
	for deadline := time.Now().Add(80 * time.Second); time.Now().Before(deadline) && pause(ctx, 250*time.Millisecond); {
		if after, err = w.lab.measure(ctx); within() {
			fmt.Println("after ", after)
			return
		}
	}
	w.found("80 s after the storm not all is back: %v before, %v after (%v)", before, after, err)
}

func (w *watch) print(before figures) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Printf("before %v; at most %d and %d MiB; admin at most %s; %d calm requests, at most %s\n", before,
		w.peak["plain"]>>10, w.peak["secure"]>>10, w.slowest.Round(time.Millisecond), w.calm, w.calmSlow.Round(time.Millisecond))
}

// pause waits and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
