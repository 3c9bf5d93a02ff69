package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"lictor/app/listener"
	"lictor/app/supervisor"
	"lictor/config"
	"lictor/resolver"
)

// systemd tells systemd, where it waits for that, that all other services were
// started, that the process lives, and that it stops. It is the last one to
// start and the first one to stop.
func (p *Lictor) systemd() supervisor.Service {
	admin := p.cfg.Admin // a reload leaves it as it is
	return supervisor.Service{Name: "systemd", Grace: time.Second, Run: func(ctx context.Context) error {
		p.awaitLoaded(ctx)
		p.notify("READY=1\nSTATUS=serving")
		listener.Watchdog(ctx, func() bool { return p.alive(ctx, &admin.TLS) }, p.notify)
		p.notify("STOPPING=1\nSTATUS=ending the requests under way")
		return nil
	}}
}

// startPatience is how long connections wait at the start for a policy and for
// services, instead of being refused: in a restart that is a moment, and no
// request is lost. Where Consul is away they are refused after it.
const startPatience = time.Second

// awaitLoaded waits until there is a policy, a source of services is ready, a
// connection to the bus was tried and a certificate of the mesh is there where one
// is wanted, for a moment at most.
func (p *Lictor) awaitLoaded(ctx context.Context) {
	limit := time.After(startPatience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !p.loaded() {
		select {
		case <-ctx.Done():
			return
		case <-limit:
			return
		case <-tick.C:
		}
	}
}

func (p *Lictor) loaded() bool {
	inMesh := p.mesh == nil || p.mesh.Ready() == nil
	return inMesh && p.policy.Ready() == nil && p.busTried() == nil && slices.ContainsFunc(p.sources, func(s resolver.Source) bool { return s.Status().Ready })
}

// notify tells systemd. That it cannot be told is no reason to stop.
func (p *Lictor) notify(state string) {
	if err := listener.Notify(state); err != nil {
		p.log.Warn("cannot tell systemd", "error", err)
	}
}

// reloading tells systemd that a reload began; the function it returns, that it ended.
func (p *Lictor) reloading() (done func()) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return func() {}
	}
	p.notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1e3))
	return func() { p.notify("READY=1") }
}

// aliveWithin is how long the process may take to show that it lives.
const aliveWithin = 2 * time.Second

// alive reports whether the admin listener answers, which needs a process that
// gets work done.
func (p *Lictor) alive(ctx context.Context, speaks *config.TLS) bool {
	ctx, cancel := context.WithTimeout(ctx, aliveWithin)
	defer cancel()
	scheme := "http"
	if speaks.Enabled() {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost/healthz", nil)
	if err != nil {
		return false
	}
	at := p.adminListener.Addr()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it is this process
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, at.Network(), at.String())
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		// With client certificates nobody gets in without one: that it asks is life enough.
		return speaks.ClientCAFile != "" && ctx.Err() == nil
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
