package cli

import (
	"errors"
	"fmt"
	"io"

	"lictor/app"
	"lictor/config"
)

func validateCommand(stdout io.Writer) *command {
	var files paths
	c := newCommand("validate", "Check a configuration", "-config PATH [-config PATH ...]",
		"Reports every mistake in a configuration at once, each with its place. Exits 2 if there is one.")
	c.flags.Var(&files, "config", "`path` of a file, or of a directory of *.hcl; may be repeated")
	c.run = func() error {
		if _, err := loadConfig(files); err != nil {
			return err
		}
		_, err := fmt.Fprintln(stdout, "The configuration is valid.")
		return err
	}
	return c
}

func loadConfig(files paths) (*config.Config, error) {
	if len(files) == 0 {
		return nil, &usageError{errors.New("no configuration: name one with -config PATH")}
	}
	cfg, err := config.Load(files...)
	if err == nil {
		err = app.Check(cfg)
	}
	if err != nil {
		return nil, &usageError{err}
	}
	return cfg, nil
}
