package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// storming is the attack at work.
type storming struct {
	lab     *lab
	options options
	known   [][]byte // payloads that the program sent of itself, to be played back
	found   func(format string, args ...any)

	seeds  atomic.Uint64
	mu     sync.Mutex
	counts map[string]int
}

// attack is one kind of hostile peer. once runs a single round of it, some
// seconds at the most.
type attack struct {
	name  string
	width int // how many at once
	once  func(ctx context.Context, r *rand.Rand)
}

func (s *storming) attacks() []attack {
	return []attack{
		{"h2 frames", 6, s.h2frames},
		{"h2 floods", 2, s.h2flood},
		{"h2 uploads", 2, s.h2upload},
		{"h1 messages", 6, s.h1messages},
		{"h1 stalls", 8, s.h1stalls},
		{"h1 pipelines", 1, s.h1pipeline},
		{"forward proxy", 3, s.forward},
		{"slow readers", 24, s.slowReader},
		{"stuck uploads", 4, s.stuckUpload},
		{"truth", 4, s.truth},
		{"documents", 1, s.documents},
		{"reloads", 1, s.reloads},
	}
}

// run attacks until ctx ends and every attacker has let go.
func (s *storming) run(ctx context.Context) {
	// The attackers give way, so that the budgets judge the program and not the
	// scheduler of a small machine.
	niceThreads(5)
	s.counts = make(map[string]int)
	var group sync.WaitGroup
	for _, a := range s.attacks() {
		if s.options.only != "" && s.options.only != a.name {
			continue
		}
		for range a.width {
			group.Go(func() {
				for ctx.Err() == nil {
					round, end := context.WithTimeout(ctx, 6*time.Second)
					a.once(round, rand.New(rand.NewPCG(s.options.seed, s.seeds.Add(1)))) //nolint:gosec // choices, not secrets
					end()
					s.count(a.name)
				}
			})
		}
	}
	group.Wait()
}

func (s *storming) count(name string) {
	s.mu.Lock()
	s.counts[name]++
	s.mu.Unlock()
}

func (s *storming) print() {
	var parts []string
	for _, a := range s.attacks() {
		parts = append(parts, fmt.Sprintf("%s %d", a.name, s.counts[a.name]))
	}
	fmt.Println("rounds:", strings.Join(parts, ", "))
}

// dial connects to a gateway from an address of the attacker's own: bounds for
// one client must not hit the calm client, who comes from 127.0.0.1.
func (s *storming) dial(ctx context.Context, r *rand.Rand, secure bool, protocols ...string) (net.Conn, error) {
	address := s.lab.plain.gateway
	if secure {
		address = s.lab.secure.gateway
	}
	c, err := s.dialAt(ctx, r, address)
	if err != nil || !secure {
		return c, err
	}
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}) //nolint:gosec // a certificate made a moment ago
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

func (s *storming) dialAt(ctx context.Context, r *rand.Rand, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(2+r.IntN(30)))}}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		_ = pause(ctx, 20*time.Millisecond) // refused: no busy loop
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return c, c.SetDeadline(deadline)
}

// reads plays one way of reading until the connection or ctx ends: all that
// comes, a byte now and then, or nothing.
func reads(ctx context.Context, r *rand.Rand, c net.Conn) {
	switch r.IntN(3) {
	case 0:
		discard(c)
	case 1:
		one := make([]byte, 1)
		for pause(ctx, 200*time.Millisecond) {
			if _, err := c.Read(one); err != nil {
				return
			}
		}
	case 2:
		<-ctx.Done()
	}
}

// discard reads until the end.
func discard(c net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// hangUp closes in one of the ways there are: in order, half or with a reset.
func hangUp(r *rand.Rand, c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if ok && r.IntN(2) == 0 {
		_ = t.SetLinger(0) // it may be closed already
	}
	if ok && r.IntN(4) == 0 {
		_ = t.CloseWrite()
		discard(c)
	}
	c.Close()
}

// reloads lets the program read its configuration again and again.
func (s *storming) reloads(ctx context.Context, _ *rand.Rand) {
	if pause(ctx, 3*time.Second) {
		s.lab.plain.signal(syscall.SIGHUP)
	}
}

// niceThreads lowers the priority of all threads of this process; those that
// come later inherit it.
func niceThreads(by int) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, by) // best effort
		}
	}
}
