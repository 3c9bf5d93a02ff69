package app

import (
	"context"
	"net"
	"time"

	"lictor/app/supervisor"
	"lictor/config"
	"lictor/proxy/http1"
	"lictor/proxy/redirect"
)

// buildRedirect makes the listener that sends clients of plain HTTP to the
// gateway's TLS, if it is configured.
func (p *Lictor) buildRedirect() (err error) {
	g := &p.cfg.Gateway
	if g.RedirectAddress == "" {
		return nil
	}
	p.redirect, err = redirect.New(redirect.Config{
		Settings:  p.redirectSettings(p.cfg),
		Entrance:  p.gateway.PlainEntrance(),
		Log:       p.log.Named(redirect.Name),
		Metrics:   p.registry,
		AccessLog: p.access,
		Challenge: p.challenge,
		Client:    p.gateway.ClientOf,
	})
	if err != nil {
		return err
	}
	if p.redirectListener, err = listen(redirect.Name, g.RedirectAddress); err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{
		Name: redirect.Name, Grace: g.HeaderTimeout + 5*time.Second,
		Run: func(ctx context.Context) error { return p.redirect.Run(ctx, p.redirectListener) },
	})
	return nil
}

// Redirects cost a descriptor each for as long as a head may take. They get a
// share that cannot starve those who came by https already.
const (
	redirectShare = 8    // of the gateway's connections
	redirectMost  = 1024 // connections
)

// redirectSettings are the part of cfg that redirects go by at any time.
func (p *Lictor) redirectSettings(cfg *config.Config) redirect.Settings {
	g := &cfg.Gateway
	all := max(1, min(admission(g).Connections/redirectShare, redirectMost))
	return redirect.Settings{
		Port:      p.httpsPort(g),
		Header:    g.HeaderTimeout,
		MaxHeader: int(g.MaxHeaderBytes),
		MaxFields: g.MaxFields,
		Admission: http1.Admission{Connections: all, ConnectionsPerClient: max(1, all/4)},
	}
}

// httpsPort is where clients reach the gateway's TLS: where it listens, unless the
// configuration knows of a port in front.
func (p *Lictor) httpsPort(g *config.Gateway) uint16 {
	if g.RedirectPort > 0 {
		return uint16(g.RedirectPort)
	}
	if at, ok := p.gatewayListener.Addr().(*net.TCPAddr); ok {
		return uint16(at.Port)
	}
	return 443
}
