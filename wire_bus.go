package main

import (
	"time"

	"lictor/proxy"
	"lictor/proxy/rabbitmq"
	"lictor/supervisor"
)

// buildBus makes the bus, if there is one.
func (p *process) buildBus() (err error) {
	cfg := &p.cfg.RabbitMQ
	if !cfg.Configured {
		return nil
	}
	p.bus, err = rabbitmq.New(rabbitmq.Config{
		URL: cfg.URL, Timeout: cfg.Timeout, MaxBody: int(cfg.MaxBody), Log: p.log.Named("bus"),
	})
	if err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{Name: "bus", Run: p.bus.Run, Grace: 5 * time.Second})
	return nil
}

// busRoute says which services go to the bus; nil if there is none.
func (p *process) busRoute() *proxy.BusRoute {
	if p.bus == nil {
		return nil
	}
	cfg := &p.cfg.RabbitMQ
	return &proxy.BusRoute{Bus: p.bus, Services: cfg.Services, Timeout: cfg.Timeout, MaxBody: cfg.MaxBody}
}
