package app

import (
	"fmt"
	"time"

	"lictor/admin/api"
	"lictor/app/supervisor"
	"lictor/app/telemetry"
	"lictor/config"
	"lictor/internal/trace"
	"lictor/proxy/answer"
	"lictor/proxy/own"
)

// buildTelemetry makes what sends traces, if there is somewhere to send them. It ends
// after those whose requests it tells of.
func (p *Lictor) buildTelemetry() error {
	cfg := &p.cfg.Telemetry
	if cfg.Endpoint == "" {
		return nil
	}
	log := p.log.Named("telemetry")
	tlsConfig, err := upstreamTLS(&cfg.TLS)
	if err != nil {
		return fmt.Errorf("telemetry: tls: %w", err)
	}
	roots, err := newAuthorities(cfg.TLS.CAFile, log)
	if err != nil {
		return fmt.Errorf("telemetry: tls: %w", err)
	}
	p.traces = answer.NewTraces(traceSettings(cfg))
	exporter := telemetry.Config{Settings: exporterSettings(cfg), Traces: p.traces, Endpoint: cfg.Endpoint, TLS: tlsConfig, Log: log}
	if roots != nil {
		exporter.Roots = roots.current
	}
	p.exporter = telemetry.New(exporter)
	p.services = append(p.services, supervisor.Service{Name: "telemetry", Run: p.exporter.Run, Grace: 8 * time.Second})
	return p.registry.Register(p.traces)
}

func traceSettings(cfg *config.Telemetry) answer.TraceSettings {
	return answer.TraceSettings{Share: trace.ShareOf(cfg.Sample), Slow: cfg.Slow}
}

func exporterSettings(cfg *config.Telemetry) telemetry.Settings {
	return telemetry.Settings{Headers: cfg.Headers, ServiceName: cfg.ServiceName}
}

// updateTelemetry puts in force what may change.
func (p *Lictor) updateTelemetry(cfg *config.Telemetry) {
	if p.traces != nil {
		p.traces.Update(traceSettings(cfg))
		p.exporter.Update(exporterSettings(cfg))
	}
}

// describeTelemetry tells of a collector that takes nothing.
func (p *Lictor) describeTelemetry(st *api.Status) {
	if p.exporter == nil {
		return
	}
	if problem := p.exporter.Problem(); problem != "" {
		st.Problems = append(st.Problems, "telemetry: "+problem)
	}
}

// collectors are where traces are sent: nobody may forge some through us.
func collectors(cfg *config.Config) []own.Endpoint {
	if cfg.Telemetry.Endpoint == "" {
		return nil
	}
	return appendURL(nil, cfg.Telemetry.Endpoint)
}
