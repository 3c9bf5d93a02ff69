// Command lictor resolves the first path segment of a request to healthy
// instances of a service and streams the request there.
package main

import (
	"os"

	"lictor/app/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
