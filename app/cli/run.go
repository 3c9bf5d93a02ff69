package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"lictor/app"
	"lictor/config"
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
	c.flags.StringVar(&o.gatewayAddress, "gateway-address", "", "with -dev: `host:port` instead of "+app.DevGateway)
	c.flags.StringVar(&o.egressAddress, "egress-address", "", "with -dev: `host:port` instead of "+app.DevEgress)
	c.flags.StringVar(&o.adminAddress, "admin-address", "", "with -dev: `host:port` instead of "+app.DevAdmin)
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
	l, err := app.Open(ctx, app.Options{Config: cfg, Files: o.files, Dev: dev, Log: stderr})
	if err != nil {
		return err
	}
	if dev != nil {
		dev.Print(stdout, l.Addresses())
	}
	return l.Run(ctx, hangup)
}

// configure returns the configuration, and the development services with -dev.
func (o *runOptions) configure() (*config.Config, *app.Dev, error) {
	if !o.dev {
		cfg, err := loadConfig(o.files)
		return cfg, nil, err
	}
	dev, err := app.NewDev()
	if err != nil {
		return nil, nil, err
	}
	return dev.Config(o.gatewayAddress, o.egressAddress, o.adminAddress), dev, nil
}
