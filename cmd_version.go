package main

import (
	"fmt"
	"io"
	"runtime"
)

func versionCommand(stdout io.Writer) *command {
	c := newCommand("version", "Print the version", "", "Prints the version, the commit and the version of Go that built it.")
	c.run = func() error {
		_, err := fmt.Fprintln(stdout, versionText())
		return err
	}
	return c
}

func versionText() string {
	return fmt.Sprintf("lictor %s (commit %s, %s)", version, commit, runtime.Version())
}
