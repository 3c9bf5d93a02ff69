// Package port finds free ports for servers that are about to be started.
//
// A port that the kernel chooses comes from the range of outgoing connections:
// by the time a server listens on it, it may be some connection's. Free gives
// ports below that range, each of them once, whichever process asks for it: a
// claim on each is held until the process ends.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
)

// least is above what well-known servers use.
const least = 10_000

var errNone = errors.New("port: none is free")

var given struct {
	sync.Mutex
	claims map[int]net.Listener // by port
}

// Free returns n ports of 127.0.0.1 on which nobody listens.
func Free(n int) ([]int, error) {
	given.Lock()
	defer given.Unlock()
	if given.claims == nil {
		given.claims = make(map[int]net.Listener)
	}
	top := outgoing()
	var ports []int
	for range 1000 * n {
		if len(ports) == n {
			return ports, nil
		}
		p := least + rand.IntN(top-least)
		if given.claims[p] != nil {
			continue
		}
		c, err := claim(p)
		if err != nil {
			continue // another process's
		}
		given.claims[p] = c // stays if the port is not free: it is not tried again
		if free(p) {
			ports = append(ports, p)
		}
	}
	return nil, errNone
}

// claim takes a port among all processes that find theirs here: the name of a
// socket in no file system, which the kernel gives to one of them.
func claim(port int) (net.Listener, error) {
	return net.Listen("unix", fmt.Sprintf("@lictor-port-%d", port))
}

// outgoing is where the range of outgoing connections begins.
func outgoing() int {
	low := 0
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		fmt.Sscan(string(text), &low)
	}
	if low <= least {
		return 32_768
	}
	return low
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
