// Package version says which lictor this is. The linker sets it, see the Makefile.
package version

import (
	"fmt"
	"runtime"
)

// Number is the release, by its tag, and Commit what it was built from. They
// are never written.
var (
	Number = "dev"
	Commit = "unknown"
)

// Text returns one line for people: number, commit and the Go that built it.
func Text() string {
	return fmt.Sprintf("lictor %s (commit %s, %s)", Number, Commit, runtime.Version())
}
