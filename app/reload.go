package app

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/config"
	"lictor/resolver/static"
)

// reloadOn reads the configuration again at every signal, until ctx ends.
func (p *Lictor) reloadOn(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
			p.reload()
		}
	}
}

// reload puts in force what can change while lictor runs, and says what cannot.
// A configuration with a mistake changes nothing. Logs that were rotated away are
// opened anew however it goes: what rotates them cannot wait for the mistake.
func (p *Lictor) reload() {
	p.reopenLogs()
	if len(p.files) == 0 {
		p.log.Info("nothing to reload, there is no configuration file")
		return
	}
	defer p.reloading()()
	next, err := config.Load(p.files...)
	if err != nil {
		p.log.Error("the configuration is wrong, the former one stays", "error", err)
		p.reloads.failed(err)
		return
	}
	kept := keep(p.inForce.Load(), next)
	if err := p.apply(next); err != nil {
		p.log.Error("cannot reload the configuration, the former one stays", "error", err)
		p.reloads.failed(err)
		return
	}
	p.reloads.done(kept)
	p.inForce.Store(next)
	generation := p.generation.Add(1)
	if len(kept) > 0 {
		p.log.Warn("configuration reloaded, but what is new of some options needs a restart", "options", strings.Join(kept, ", "), "generation", generation)
		return
	}
	p.log.Info("configuration reloaded", "generation", generation)
}

// reopenLogs opens the files anew that are appended to. One that cannot be opened goes
// on where it was.
func (p *Lictor) reopenLogs() {
	var all *multierror.Error
	if p.access != nil {
		all = multierror.Append(all, p.access.Reopen())
	}
	all = multierror.Append(all, p.reopenAudit())
	if p.decisions != nil {
		if err := p.decisions.Reopen(); err != nil {
			all = multierror.Append(all, fmt.Errorf("decision log: %w", err))
		}
	}
	err := all.ErrorOrNil()
	if err != nil {
		p.log.Error("a log cannot be opened anew, the former file goes on", "error", err)
	}
	p.reloads.reopened(err)
}

func nothing() {}

// apply puts next in force, all of it or, with an error, nothing: all that can fail is
// tried before the first of it holds. All mistakes are reported at once.
func (p *Lictor) apply(next *config.Config) error {
	var all []func()
	var mistakes *multierror.Error
	for _, prepare := range []func(*config.Config) (put func(), err error){
		p.prepareStatic, p.prepareServices, p.prepareBus, p.prepareConsul, p.prepareAdmin,
	} {
		put, err := prepare(next)
		mistakes = multierror.Append(mistakes, err)
		all = append(all, put)
	}
	if err := mistakes.ErrorOrNil(); err != nil {
		return err
	}
	for _, put := range all {
		put()
	}
	p.feeds.Update(next.Feeds)
	p.updateTelemetry(&next.Telemetry)
	p.log.SetLevel(next.LogLevel)
	p.tellDecisionLog(next)
	p.gateway.Update(p.settings(next))
	if p.redirect != nil {
		p.redirect.Update(p.redirectSettings(next))
	}
	if p.egress != nil {
		p.egress.Update(egressSettings(next))
	}
	return nil
}

func (p *Lictor) prepareStatic(next *config.Config) (put func(), err error) {
	block := staticBlock(next)
	if block == nil || p.static == nil {
		return nothing, nil
	}
	return p.static.Prepare(block.Services, block.Meta)
}

func (p *Lictor) prepareAdmin(next *config.Config) (put func(), err error) {
	if !next.Admin.Guarded() {
		return nothing, nil
	}
	return p.admin.PrepareAccess(accessOf(&next.Admin))
}

// keep undoes in next what needs a restart, and returns the names of those
// options that were changed.
func keep(old, next *config.Config) []string {
	var kept []string
	token, file := next.Consul.Token, next.Consul.TokenFile // who asks may change
	next.Consul.Token, next.Consul.TokenFile = old.Consul.Token, old.Consul.TokenFile
	defer func() { next.Consul.Token, next.Consul.TokenFile = token, file }()
	if next.Admin.Guarded() && old.Admin.Guarded() { // so may the tokens that are asked for
		asked, access := next.Admin.Token, next.Admin.Access
		next.Admin.Token, next.Admin.Access = old.Admin.Token, old.Admin.Access
		defer func() { next.Admin.Token, next.Admin.Access = asked, access }()
	}
	listeners := keepListeners(old, next) // before their addresses are what they were
	for _, option := range []struct {
		name      string
		old, next any // pointers to the same field of both
	}{
		{"log_format", &old.LogJSON, &next.LogJSON},
		{"data_dir", &old.DataDir, &next.DataDir},
		{"gateway: drain", &old.Gateway.Drain, &next.Gateway.Drain}, // the supervisor's grace rests on it
		{"gateway: address", &old.Gateway.Address, &next.Gateway.Address},
		{"gateway: tls", &old.Gateway.TLS, &next.Gateway.TLS},
		{"gateway: redirect_address", &old.Gateway.RedirectAddress, &next.Gateway.RedirectAddress},
		{"gateway: proxy_protocol", &old.Gateway.ProxyProtocol, &next.Gateway.ProxyProtocol},
		{"gateway: client_names", &old.Gateway.ClientNames, &next.Gateway.ClientNames},
		{"dispatch \"http\": upstream_tls", &old.HTTP.TLS, &next.HTTP.TLS},
		{"egress", &old.Egress.Configured, &next.Egress.Configured},
		{"egress: address", &old.Egress.Address, &next.Egress.Address},
		{"admin", &old.Admin, &next.Admin},
		{"consul", &old.Consul, &next.Consul},
		{"policy", &old.Policy, &next.Policy},
		{"acl", &old.ACL, &next.ACL},
		{"geoip", &old.GeoIP, &next.GeoIP},
		{"dispatch \"rabbitmq\"", &old.RabbitMQ.Configured, &next.RabbitMQ.Configured},
		{"decision_log: path", &old.DecisionLog.Path, &next.DecisionLog.Path},
		{"access_log", &old.AccessLog, &next.AccessLog},
		{"metrics", &old.Metrics, &next.Metrics},
		{"telemetry: otlp_endpoint", &old.Telemetry.Endpoint, &next.Telemetry.Endpoint},
		{"telemetry: tls", &old.Telemetry.TLS, &next.Telemetry.TLS},
	} {
		from, to := reflect.ValueOf(option.old).Elem(), reflect.ValueOf(option.next).Elem()
		if !reflect.DeepEqual(from.Interface(), to.Interface()) {
			kept = append(kept, option.name)
			to.Set(from)
		}
	}
	kept = append(kept, listeners...)
	if !reflect.DeepEqual(lasting(old.Resolvers), lasting(next.Resolvers)) {
		kept = append(kept, "resolver")
		next.Resolvers = old.Resolvers
	}
	return kept
}

// lasting leaves out what resolvers take at any time.
func lasting(all []config.Resolver) []config.Resolver {
	all = slices.Clone(all)
	for i := range all {
		if all[i].Static != nil {
			all[i].Static = &config.StaticResolver{}
		}
		if block := all[i].Consul; block != nil {
			kept := *block
			kept.Tag, kept.Expose, kept.Hide = "", nil, nil
			all[i].Consul = &kept
		}
	}
	return all
}

// staticBlock returns the static resolver's block, nil if there is none.
func staticBlock(cfg *config.Config) *config.StaticResolver {
	for _, r := range cfg.Resolvers {
		if r.Static != nil {
			return r.Static
		}
	}
	return nil
}

// Check finds what the static resolver would refuse and the reading of the
// files does not see, as one instance written in two ways. It opens nothing.
func Check(cfg *config.Config) error {
	block := staticBlock(cfg)
	if block == nil {
		return nil
	}
	_, err := static.New(block.Services, block.Meta)
	return err
}

// reloads remembers how the last reload went, for status and metrics.
type reloads struct {
	mu   sync.Mutex
	err  error
	logs error // of the logs that could not be opened anew
	at   time.Time
	kept []string  // what waits for a restart
	good time.Time // when what is in force was read
}

func (r *reloads) reopened(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = err
}

func (r *reloads) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.at = err, time.Now()
}

func (r *reloads) done(kept []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.kept, r.good = nil, kept, time.Now()
}

// problems are what an operator who reloaded should know.
func (r *reloads) problems() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		all = append(all, "the configuration was not reloaded at "+r.at.UTC().Format(time.RFC3339)+", the former one is in force: "+r.err.Error())
	}
	if r.logs != nil {
		all = append(all, "a log could not be opened anew, the former file goes on: "+r.logs.Error())
	}
	if len(r.kept) > 0 {
		all = append(all, "changed in the configuration, but needs a restart: "+strings.Join(r.kept, ", "))
	}
	return all
}

var (
	descReload   = prometheus.NewDesc("lictor_config_last_reload_successful", "0 if the last SIGHUP changed nothing, for the configuration was wrong.", nil, nil)
	descReloaded = prometheus.NewDesc("lictor_config_last_reload_seconds", "When the configuration in force was read, in seconds since 1970.", nil, nil)
)

// Describe implements prometheus.Collector.
func (r *reloads) Describe(ch chan<- *prometheus.Desc) {
	ch <- descReload
	ch <- descReloaded
}

// Collect implements prometheus.Collector.
func (r *reloads) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	good := 1.0
	if r.err != nil {
		good = 0
	}
	ch <- prometheus.MustNewConstMetric(descReload, prometheus.GaugeValue, good)
	ch <- prometheus.MustNewConstMetric(descReloaded, prometheus.GaugeValue, float64(r.good.UnixMilli())/1e3)
}
