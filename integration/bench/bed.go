package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sys/unix"

	"lictor/integration/broker"
)

// bed is what a measurement stands on: a directory, the backend, a Consul that
// knows it, and the proxies that were started.
type bed struct {
	dir      string
	duration time.Duration
	programs map[string]string // paths by name

	all, proxies, others *unix.CPUSet // what may run where

	backend string // host:port
	consul  string // host:port
	client  *api.Client

	broker *broker.Node // nil until a row about the bus needs it
	mesh   *meshBed     // nil until a row about the mesh needs it

	started []*process
	running map[*contestant]*proxy
}

// newBed starts what all rows need.
func newBed(ctx context.Context, o *options) (b *bed, err error) {
	b = &bed{duration: o.duration, running: make(map[*contestant]*proxy)}
	if b.programs, err = findPrograms(o.lictor, o.against); err != nil {
		return nil, err
	}
	if err := b.splitCPUs(o.pin); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "lictor-bench-"); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{b.startBackend, b.startConsul, b.register} {
		if err := step(ctx); err != nil {
			b.close()
			return nil, err
		}
	}
	return b, nil
}

// findPrograms looks for everything first, so that nothing is missed late.
func findPrograms(lictor, against string) (map[string]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	found := map[string]string{backendCommand: self}
	wanted := map[string]string{
		"lictor": lictor, "consul": cmp.Or(os.Getenv("CONSUL_BIN"), "consul"),
		"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "h2load": "h2load", "openssl": "openssl",
	}
	if against != "" {
		wanted[otherLictor.name] = against
	}
	for name, program := range wanted {
		path, e := find(program)
		if e != nil && name == "consul" {
			path, e = find("integration/tools/bin/consul")
		}
		found[name], err = path, errors.Join(err, e)
	}
	return found, err
}

// splitCPUs gives the proxies the last CPU and all else the others. On a
// machine with one CPU, or if pin is false, all share all.
func (b *bed) splitCPUs(pin bool) error {
	b.all = new(unix.CPUSet)
	if err := unix.SchedGetaffinity(0, b.all); err != nil {
		return err
	}
	b.proxies, b.others = b.all, b.all
	if !pin || b.all.Count() < 2 {
		return nil
	}
	others, proxies := *b.all, unix.CPUSet{}
	last := len(b.all)*64 - 1
	for !b.all.IsSet(last) {
		last--
	}
	others.Clear(last)
	proxies.Set(last)
	b.proxies, b.others = &proxies, &others
	return nil
}

// startConsul starts an agent in development mode.
func (b *bed) startConsul(ctx context.Context) error {
	var ports [3]string
	for i := range ports {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		_, ports[i], _ = net.SplitHostPort(address)
	}
	p, err := b.start("consul", b.others, b.programs["consul"], "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1",
		"-log-level=warn", "-http-port="+ports[0], "-server-port="+ports[1], "-serf-lan-port="+ports[2],
		"-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1")
	if err != nil {
		return err
	}
	b.started = append(b.started, p)
	b.consul = "127.0.0.1:" + ports[0]
	if b.client, err = api.NewClient(&api.Config{Address: b.consul}); err != nil {
		return err
	}
	return p.until(ctx, func() error {
		nodes, _, err := b.client.Catalog().Nodes(nil)
		if err == nil && len(nodes) == 0 {
			err = errors.New("no node in the catalog")
		}
		return err
	})
}

// register registers the backend as a service.
func (b *bed) register(context.Context) error {
	host, port, err := net.SplitHostPort(b.backend)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	err = b.client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: service, Address: host, Port: n})
	if err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	return nil
}

// proxy returns the running process of a contestant that rows share.
func (b *bed) proxy(ctx context.Context, c *contestant) (*proxy, error) {
	if p := b.running[c]; p != nil {
		return p, nil
	}
	p, err := b.startProxy(ctx, c)
	if err != nil {
		return nil, err
	}
	b.running[c] = p
	return p, nil
}

// startProxy starts a process of a contestant, which the caller stops.
func (b *bed) startProxy(ctx context.Context, c *contestant) (*proxy, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := c.start(b, address)
	if err != nil {
		return nil, err
	}
	p.address = address
	if c.asked != nil {
		err = c.asked(ctx, b, p)
	} else {
		err = p.answers(ctx, address)
	}
	if err == nil && c.ready != nil {
		err = c.ready(ctx, p)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// write writes a file for a contestant and returns its path.
func (b *bed) write(name, text string) (string, error) {
	file := filepath.Join(b.dir, name)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// close ends all processes, the last started first, and removes the directory.
func (b *bed) close() {
	for _, p := range b.running {
		p.stop()
	}
	for i := len(b.started) - 1; i >= 0; i-- {
		b.started[i].stop()
	}
	if b.broker != nil {
		b.broker.Close()
	}
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}
