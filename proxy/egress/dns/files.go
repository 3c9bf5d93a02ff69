package dns

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/files"
)

// checkEvery is how often a file is looked at for changes.
const checkEvery = 5 * time.Second

// maxFile bounds what is read of a file.
const maxFile = 16 << 20

// watched is a file in use, read again when it changed. A file that cannot be
// read, now or any more, leaves what was known.
type watched[T any] struct {
	path  string
	parse func(text string) T

	current atomic.Pointer[T]
	next    atomic.Int64 // unix nanoseconds: when to look again

	mu   sync.Mutex  // serialises reading
	read files.Stamp // of what current says; guarded by mu
}

// get returns what the file says, the zero value if it never could be read.
func (w *watched[T]) get() T {
	if now := time.Now().UnixNano(); now >= w.next.Load() && w.mu.TryLock() {
		w.next.Store(now + int64(checkEvery))
		w.look()
		w.mu.Unlock()
	}
	if v := w.current.Load(); v != nil {
		return *v
	}
	w.mu.Lock() // somebody is reading it for the first time
	defer w.mu.Unlock()
	return *w.current.Load()
}

// look reads the file if it changed. Only then somebody has what it says: who asks
// meanwhile for the first time waits.
func (w *watched[T]) look() {
	defer func() { w.current.CompareAndSwap(nil, new(T)) }()
	now := files.StampOf(w.path)
	if now == w.read {
		return
	}
	text, err := files.Read(w.path, maxFile)
	if err != nil {
		return
	}
	w.read = now
	v := w.parse(string(text))
	w.current.Store(&v)
}

// parseResolvConf returns the nameservers of a resolv.conf.
func parseResolvConf(text string) []netip.AddrPort {
	var servers []netip.AddrPort
	for line := range strings.Lines(text) {
		f := strings.Fields(withoutComment(line))
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && len(servers) < 3 {
			servers = append(servers, netip.AddrPortFrom(a, 53))
		}
	}
	return servers
}

// parseHosts returns the addresses of each name in a hosts file.
func parseHosts(text string) map[string][]netip.Addr {
	hosts := make(map[string][]netip.Addr)
	for line := range strings.Lines(text) {
		f := strings.Fields(withoutComment(line))
		if len(f) < 2 {
			continue
		}
		a, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		for _, name := range f[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			hosts[name] = append(hosts[name], a)
		}
	}
	return hosts
}

func withoutComment(line string) string {
	if i := strings.IndexAny(line, "#;"); i >= 0 {
		return line[:i]
	}
	return line
}
