package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/app/supervisor"
	"lictor/config"
	"lictor/internal/crash"
	"lictor/internal/lines"
)

// runOptions is the command line of run.
type runOptions struct {
	files paths
	dev   bool

	// Only with dev, so that several can run side by side.
	gatewayAddress, egressAddress, adminAddress string
}

func runCommand(stdout io.Writer) *command {
	var o runOptions
	c := newCommand("run", "Serve", "-config PATH [-config PATH ...] | -dev",
		"Serves until SIGTERM or SIGINT, then lets the requests under way end.\n"+
			"SIGHUP reads the configuration again. A second SIGTERM or SIGINT ends the\n"+
			"process at once, and cuts what is under way.")
	c.flags.Var(&o.files, "config", "`path` of a file, or of a directory of *.hcl; may be repeated")
	c.flags.BoolVar(&o.dev, "dev", false, "serve a built-in echo service, without any configuration")
	c.flags.StringVar(&o.gatewayAddress, "gateway-address", "", "with -dev: `host:port` instead of "+devGateway)
	c.flags.StringVar(&o.egressAddress, "egress-address", "", "with -dev: `host:port` instead of "+devEgress)
	c.flags.StringVar(&o.adminAddress, "admin-address", "", "with -dev: `host:port` instead of "+devAdmin)
	c.run = func() error { return o.run(stdout, c.stderr) }
	return c
}

func (o *runOptions) run(stdout, stderr io.Writer) error {
	if o.dev && len(o.files) > 0 {
		return &usageError{errors.New("lictor run: -dev takes no -config")}
	}
	if !o.dev && o.gatewayAddress+o.egressAddress+o.adminAddress != "" {
		return &usageError{errors.New("lictor run: -gateway-address, -egress-address and -admin-address go with -dev; else they stand in the configuration")}
	}
	// From here on no signal is lost, nor ends the process by itself.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // the next one ends the process at once

	cfg, dev, err := o.configure()
	if err != nil {
		return err
	}
	// A log that nobody reads any more ends nothing.
	signal.Ignore(syscall.SIGPIPE)
	output := lines.New(stderr, logBytes, 0)
	defer output.Flush(logFlush) //nolint:errcheck // nobody could be told
	log := newLogger(cfg, output)
	crash.SetReport(func(where string, value any, stack []byte) {
		log.Error("a panic was contained", "where", where, "panic", value, "stack", string(stack))
	})
	p, err := build(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer p.release()
	if err := p.countLines(output); err != nil {
		return err
	}
	if dev != nil {
		p.services = append(dev.services(log), p.services...)
		dev.print(stdout, p.gatewayListener.Addr(), p.egressListener.Addr(), p.adminListener.Addr())
	}
	p.services = append(p.services, supervisor.Service{
		Name: "reload", Grace: time.Second,
		Run: func(ctx context.Context) error { return p.reloadOn(ctx, hangup, o.files) },
	})
	p.services = append(p.services, p.systemd())
	log.Info("serving", "version", version, "gateway", p.gatewayListener.Addr().String(), "admin", p.adminListener.Addr().String())
	if err := supervisor.Run(p.delayed(ctx), log, p.services...); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

const (
	logBytes = 1 << 20     // of the log that may wait to be written
	logFlush = time.Second // how long the end waits for them
)

// configure returns the configuration, and the development services with -dev.
func (o *runOptions) configure() (*config.Config, *devServices, error) {
	if !o.dev {
		cfg, err := loadConfig(o.files)
		return cfg, nil, err
	}
	dev, err := newDevServices()
	if err != nil {
		return nil, nil, err
	}
	return dev.config(o.gatewayAddress, o.egressAddress, o.adminAddress), dev, nil
}

func newLogger(cfg *config.Config, out io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "lictor",
		Level:      cfg.LogLevel,
		Output:     out,
		JSONFormat: cfg.LogJSON,
	})
}
