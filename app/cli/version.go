package cli

import (
	"fmt"
	"io"

	"lictor/internal/version"
)

func versionCommand(stdout io.Writer) *command {
	c := newCommand("version", "Print the version", "", "Prints the version, the commit and the version of Go that built it.")
	c.run = func() error {
		_, err := fmt.Fprintln(stdout, version.Text())
		return err
	}
	return c
}
