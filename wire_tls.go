package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"lictor/config"
	"lictor/listener"
	"lictor/supervisor"
)

// buildTLS makes the TLS of the listener called name, nil if it speaks none.
func (p *process) buildTLS(name string, cfg *config.TLS, protocols ...string) (*tls.Config, error) {
	if !cfg.Enabled() {
		return nil, nil
	}
	pairs := make([]listener.Pair, len(cfg.Certificates))
	for i, c := range cfg.Certificates {
		pairs[i] = listener.Pair{CertFile: c.CertFile, KeyFile: c.KeyFile}
	}
	t, err := listener.NewTLS(listener.TLSConfig{
		Pairs:        pairs,
		ClientCAFile: cfg.ClientCAFile,
		MinVersion:   cfg.MinVersion,
		Protocols:    protocols,
		Log:          p.log.Named(name),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: tls: %w", name, err)
	}
	p.services = append(p.services, supervisor.Service{Name: name + " certificates", Run: t.Run, Grace: time.Second})
	return t.Config(), nil
}

// listen opens the socket of the listener called name.
func listen(name, address string) (net.Listener, error) {
	l, err := listener.Listen(name, address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}
