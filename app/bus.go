package app

import (
	"errors"
	"fmt"
	"time"

	"lictor/admin/api"
	"lictor/app/supervisor"
	"lictor/config"
	"lictor/proxy/answer"
	"lictor/proxy/rabbitmq"
	"lictor/proxy/upstream"
)

// buildBus makes the bus, if there is one.
func (p *Lictor) buildBus() (err error) {
	cfg := &p.cfg.RabbitMQ
	if !cfg.Configured {
		return nil
	}
	p.bus, err = rabbitmq.New(p.busConfig(cfg))
	if err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{Name: "bus", Run: p.bus.Run, Grace: 5 * time.Second})
	return p.registry.Register(p.bus)
}

func (p *Lictor) busConfig(cfg *config.RabbitMQ) rabbitmq.Config {
	return rabbitmq.Config{
		URL: cfg.URL.Reveal(), Timeout: cfg.Timeout, MaxBody: int(cfg.MaxBody), MaxReply: int(cfg.MaxReply), Log: p.log.Named("bus"),
	}
}

// prepareBus checks the options of the bus.
func (p *Lictor) prepareBus(next *config.Config) (put func(), err error) {
	if p.bus == nil {
		return nothing, nil
	}
	cfg := &next.RabbitMQ
	connect, err := p.bus.Prepare(p.busConfig(cfg))
	return func() {
		connect() // put would be this function itself
		p.gateway.Upstream().Bus().Update(cfg.Services, cfg.Timeout, cfg.MaxBody)
	}, err
}

// busTried says that the first connection to the bus is still being made: the
// requests that come before that would fail although nothing is wrong. That the
// bus is away later is no reason to be sent no requests for other services.
func (p *Lictor) busTried() error {
	if p.bus == nil {
		return nil
	}
	select {
	case <-p.bus.Tried():
		return nil
	default:
		return errors.New("the first connection to the broker is being made")
	}
}

// busRoute says which services go to the bus; nil if there is none.
func (p *Lictor) busRoute() *upstream.BusRoute {
	if p.bus == nil {
		return nil
	}
	cfg := &p.cfg.RabbitMQ
	return &upstream.BusRoute{Bus: p.bus, Services: cfg.Services, Timeout: cfg.Timeout, MaxBody: cfg.MaxBody}
}

// buildRecords makes where middleware records to: the access log, else
// standard output.
func (p *Lictor) buildRecords() (*answer.AccessLog, error) {
	if p.access != nil {
		return p.access, nil
	}
	records, err := answer.NewAccessLog("-", "json")
	if err == nil {
		p.services = append(p.services, supervisor.Service{Name: "records", Run: records.Run, Grace: 5 * time.Second})
	}
	return records, err
}

// describeDispatch adds the ways to services to the status.
func (p *Lictor) describeDispatch(st *api.Status) {
	st.Dispatchers = append(st.Dispatchers, api.DispatcherStatus{Kind: "http", Ready: true, InFlight: p.gateway.Upstream().InFlight()})
	if p.bus != nil {
		s := p.bus.Stats()
		d := api.DispatcherStatus{Kind: "rabbitmq", Services: p.gateway.Upstream().Bus().ServicesNow(), Address: p.bus.Address(), InFlight: s.InFlight}
		switch {
		case !s.Connected:
			d.Error = "not connected"
			if s.Error != "" {
				d.Error += ": " + s.Error
			}
		case s.Blocked:
			d.Error = "the broker accepts no messages"
		default:
			d.Ready = true
		}
		st.Dispatchers = append(st.Dispatchers, d)
		if s.Scarce {
			st.Problems = append(st.Problems, fmt.Sprintf("dispatch rabbitmq: the broker allows too few channels (channel_max, max-channels of the user): %d services at a time, they take turns", s.Channels))
		}
		if s.Pending {
			st.Problems = append(st.Problems, "dispatch rabbitmq: the connection by the new url is not there yet, the old one serves: "+s.Error)
		}
		if !d.Ready {
			st.Problems = append(st.Problems, "dispatch rabbitmq: "+d.Error)
		}
	}
	for _, l := range p.gateway.Middleware() {
		mode := "enforce"
		if l.Rule.Report {
			mode = "report"
		}
		st.Middleware = append(st.Middleware, api.MiddlewareStatus{Name: l.Rule.Name, Mode: mode, Action: l.Rule.Effect.String(), Matched: l.Matched.Load()})
	}
}
