package app

import (
	"context"
	"io"
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/app/supervisor"
	"lictor/config"
	"lictor/internal/crash"
	"lictor/internal/lines"
	"lictor/internal/version"
)

// Options are what a lictor is started with.
type Options struct {
	Config *config.Config // required
	Files  []string       // that a reload reads again; without any a reload changes nothing
	Dev    *Dev           // services that the process itself serves; nil: none
	Log    io.Writer      // required; a log that is not read drops lines and holds nobody up
}

// Open builds a lictor and opens its sockets. It serves once Run is called; who
// does not call Run must call Close. ctx is that of the later Run. The error
// names what could not be had, as an address in use.
func Open(ctx context.Context, o Options) (*Lictor, error) {
	output := lines.New(o.Log, logBytes, 0)
	log := newLogger(o.Config, output)
	crash.SetReport(func(where string, value any, stack []byte) {
		log.Error("a panic was contained", "where", where, "panic", value, "stack", string(stack))
	})
	p, err := build(ctx, o.Config, log)
	if err != nil {
		flush(output)
		return nil, err
	}
	p.output, p.files = output, o.Files
	if err := p.countLines(output); err != nil {
		p.Close()
		return nil, err
	}
	if o.Dev != nil {
		p.services = append(o.Dev.services(log), p.services...)
	}
	return p, nil
}

// Run serves until ctx ends, and then lets the requests under way end. It
// blocks for as long, and closes the lictor. Every signal on reload has the
// configuration read again. The error is that of the part that ended early,
// nil after ctx.
func (p *Lictor) Run(ctx context.Context, reload <-chan os.Signal) error {
	defer p.Close()
	p.services = append(p.services, supervisor.Service{
		Name: "reload", Grace: time.Second,
		Run: func(ctx context.Context) error { return p.reloadOn(ctx, reload) },
	})
	p.services = append(p.services, p.systemd())
	at := p.Addresses()
	p.log.Info("serving", "version", version.Number, "gateway", at.Gateway.String(), "admin", at.Admin.String())
	p.warnExposed()
	if err := supervisor.Run(p.delayed(ctx), p.log, p.services...); err != nil {
		return err
	}
	p.log.Info("stopped")
	return nil
}

// Addresses are where a lictor listens.
type Addresses struct {
	Gateway, Admin net.Addr
	Egress         net.Addr // nil if there is none
	Redirect       net.Addr // nil if there is none
}

// Addresses returns where it listens. The ports are those that it really got.
func (p *Lictor) Addresses() Addresses {
	at := Addresses{Gateway: p.gatewayListener.Addr(), Admin: p.adminListener.Addr()}
	if p.redirectListener != nil {
		at.Redirect = p.redirectListener.Addr()
	}
	if p.egressListener != nil {
		at.Egress = p.egressListener.Addr()
	}
	return at
}

// Close gives up what the lictor has beside its services, and writes what is
// left of its log. It waits for the log's reader a second at most.
func (p *Lictor) Close() {
	p.release()
	flush(p.output)
}

const (
	logBytes = 1 << 20     // of the log that may wait to be written
	logFlush = time.Second // how long the end waits for them
)

func flush(output *lines.Writer) {
	_ = output.Flush(logFlush) // nobody could be told
}

func newLogger(cfg *config.Config, out io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "lictor",
		Level:      cfg.LogLevel,
		Output:     out,
		JSONFormat: cfg.LogJSON,
	})
}
