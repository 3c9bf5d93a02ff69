// Package descriptors keeps file descriptors back from what clients can use
// up, so that the admin listener, logs, files and watches have some whatever
// clients do.
//
// The kernel gives out the lowest number that is free: so the number of a new
// descriptor tells how many there are, and nobody has to count.
package descriptors

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Limit is how many descriptors the process may have.
var Limit = sync.OnceValue(func() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, most))
})

// most is as many as are reckoned with where there is no limit.
const most = 1 << 20

// maxReserve is how many are kept back at most.
const maxReserve = 512

// ForClients is how many of them connections of clients may come to, and what is
// done for these.
func ForClients() int { return Limit() - min(Limit()/4, maxReserve) }

// ForUpstreams is the same for connections that are made for a client's
// request: they leave some to clients that come.
func ForUpstreams() int { return ForClients() / 8 * 7 }

// Beyond reports whether the descriptor fd is past the first n.
func Beyond(n int, fd uintptr) bool { return int(fd) >= n }
