// Package listener opens the sockets that lictor serves: by itself, or as
// systemd hands them over, and with TLS whose certificates follow their files.
package listener

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Listen opens the TCP socket of the listener called name. If systemd passed
// one of that name (FileDescriptorName=) it is taken instead, so that a restart
// loses no connection (sd_listen_fds(3)). The gateway takes a single one whose
// name is that of no listener, and so has to come after those with names that an
// operator chose.
func Listen(name, address string) (net.Listener, error) {
	if f := passed().take(name); f != nil {
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("the socket from systemd: %w", err)
		}
		return l, nil
	}
	return net.Listen("tcp", address)
}

// IsLocal reports whether only this machine can reach a socket.
func IsLocal(at net.Addr) bool {
	switch at := at.(type) {
	case *net.TCPAddr:
		return at.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// descriptors are the sockets that systemd passed, by name.
type descriptors struct {
	mu    sync.Mutex
	files map[string]*os.File
	alone string // the name of the only one, if that may be of a socket unit; "" = there are several, or it is a listener's
}

// firstDescriptor is SD_LISTEN_FDS_START.
const firstDescriptor = 3

var passed = sync.OnceValue(func() *descriptors {
	return passedBy(os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
})

func passedBy(pid, count, names string) *descriptors {
	d := &descriptors{files: make(map[string]*os.File)}
	all := namesOf(pid, count, names)
	for name, fd := range all {
		syscall.CloseOnExec(fd)
		d.files[name] = os.NewFile(uintptr(fd), name)
		if len(all) == 1 && !known[name] {
			d.alone = name
		}
	}
	return d
}

// namesOf reads systemd's environment variables. They are another process's if
// the pid is.
func namesOf(pid, count, names string) map[string]int {
	n, err := strconv.Atoi(count)
	if err != nil || pid != strconv.Itoa(os.Getpid()) {
		return nil
	}
	all := make(map[string]int)
	list := strings.Split(names, ":")
	for i := range n {
		name := "unknown"
		if i < len(list) && list[i] != "" {
			name = list[i]
		}
		all[name] = firstDescriptor + i
	}
	return all
}

var known = map[string]bool{"gateway": true, "egress": true, "admin": true, "redirect": true}

func (d *descriptors) take(name string) *os.File {
	d.mu.Lock()
	defer d.mu.Unlock()
	if name == "gateway" && d.alone != "" {
		name = d.alone // unless a listener has taken it that is called so
	}
	f := d.files[name]
	delete(d.files, name)
	return f
}
