package app

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"

	"lictor/app/acme"
	"lictor/app/supervisor"
	"lictor/config"
)

// acmeConns are the connections to Consul for certificates; more than there are
// hosts that are worked on at once, each of which may wait for a lock.
const acmeConns = 16

const acmeAnswer = 1 << 20 // bytes of an answer of Consul about certificates

// buildACME makes who gets certificates from an authority, if it is configured.
func (p *Lictor) buildACME() error {
	block := &p.cfg.Gateway.TLS.ACME
	if !block.Configured {
		return nil
	}
	cfg := acme.Config{
		Directory: block.Directory, Email: block.Email, CAFile: block.CAFile, Challenges: slices.Clone(block.Challenges),
		Hosts: p.acmeHosts, Log: p.log.Named("acme"),
	}
	if p.cfg.Gateway.RedirectAddress == "" {
		cfg.Challenges = slices.DeleteFunc(cfg.Challenges, func(kind string) bool { return kind == "http-01" })
	}
	if err := p.acmeStorage(block, &cfg); err != nil {
		return fmt.Errorf("gateway: tls: acme: %w", err)
	}
	m, err := acme.New(cfg)
	if err != nil {
		return fmt.Errorf("gateway: tls: %w", err)
	}
	p.acme, p.challenge = m, m.Answer
	p.services = append(p.services, supervisor.Service{Name: "acme", Run: m.Run, Grace: 5 * time.Second})
	return nil
}

// acmeStorage says where certificates are kept. That it is told where, package
// config has seen to.
func (p *Lictor) acmeStorage(block *config.ACME, cfg *acme.Config) error {
	dir, err := p.dataFile("acme")
	if err != nil {
		return err
	}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if block.Storage == "file" {
		cfg.Storage = &certmagic.FileStorage{Path: dir}
		return nil
	}
	var seal *acme.Seal
	if block.KeyFile != "" {
		seal, err = acme.ReadSeal(block.KeyFile)
	} else {
		seal, err = acme.OwnSeal(filepath.Join(dir, "key"))
	}
	if err != nil {
		return err
	}
	client, err := p.consulClient(consulUse{answer: acmeAnswer, conns: acmeConns})
	if err != nil {
		return err
	}
	cfg.Storage, cfg.Seal, cfg.LastGood = acme.NewKV(client, p.cfg.Policy.Prefix+"acme/", seal), seal, dir
	return nil
}

// acmeHosts are those that certificates are wanted for, and how many are too many.
func (p *Lictor) acmeHosts() (hosts []string, left int) {
	claimed := func(yield func(string) bool) {
		for _, source := range p.sources {
			for service := range source.Catalog().All() {
				for _, claim := range service.Hosts {
					if !yield(claim.Host) {
						return
					}
				}
			}
		}
	}
	return p.cfg.Gateway.TLS.ACME.Among(p.acme.Has, p.policy.Loaded().Domains(), claimed)
}
