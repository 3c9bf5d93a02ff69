// Package telemetry sends the spans of requests to a collector, by OTLP over HTTP.
//
// Requests that are over wait in [answer.Traces], within bounds. An [Exporter] takes
// them from there and makes spans of them: what OpenTelemetry's SDK costs is paid
// here, for what is kept, and by no request. A collector that is away, slow or wrong
// costs those that it does not take in time.
package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"lictor/internal/crash"
	"lictor/internal/secret"
	"lictor/proxy/answer"
)

// Config is what an Exporter is made of. Traces, Endpoint and Log are required.
type Config struct {
	Settings Settings
	Traces   *answer.Traces
	Endpoint string                // the URL that takes traces
	TLS      *tls.Config           // of an endpoint by https; nil: what crypto/tls does by itself
	Roots    func() *x509.CertPool // the authorities of its certificate at each handshake; nil: as TLS says
	Log      hclog.Logger
}

// Settings are what a SIGHUP may change. They are immutable.
type Settings struct {
	Headers     map[string]secret.Text // of what is sent
	ServiceName string                 // what the lictor is called in the traces
}

// How long sending may take. A batch that is not taken in time is lost.
const (
	flushEvery    = time.Second
	onePatience   = 10 * time.Second // for the answer to one request
	batchPatience = 30 * time.Second // with everything that is sent again
	endPatience   = 5 * time.Second  // for all that is left, once lictor stops
)

// retries are of what the collector says that it may be sent again (429, 502, 503,
// 504), and of what did not reach it.
var retries = otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: 20 * time.Second}

// Exporter sends spans once Run is called.
type Exporter struct {
	cfg      Config
	client   *http.Client
	settings atomic.Pointer[Settings]

	// Of the goroutine of Run: what the settings in use come to.
	used  *Settings
	maker *maker
	out   *otlptrace.Exporter

	mu      sync.Mutex // guards what follows
	problem string     // why the last batch was not taken; "" = it was
	since   time.Time  // that it is so
}

// New returns an exporter. It opens no connection.
func New(cfg Config) *Exporter {
	e := &Exporter{cfg: cfg, client: newClient(&cfg)}
	e.Update(cfg.Settings)
	return e
}

// Update replaces the settings, from the next batch on.
func (e *Exporter) Update(s Settings) { e.settings.Store(&s) }

// Run sends until ctx ends, and then what is left, for 5 s at most. It returns nil.
func (e *Exporter) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ending := context.AfterFunc(ctx, func() { time.AfterFunc(endPatience, stop) })
	defer ending()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-e.cfg.Traces.Full():
		}
		for ctx.Err() == nil && e.sendNext(work) {
		}
	}
	for work.Err() == nil && e.sendNext(work) {
	}
	if n := e.cfg.Traces.Forget(); n > 0 {
		e.cfg.Log.Warn("the spans of the last requests were not sent in time", "requests", n)
	}
	e.client.CloseIdleConnections()
	return nil
}

// sendNext sends a batch. It reports whether there was one.
func (e *Exporter) sendNext(ctx context.Context) (more bool) {
	batch := e.cfg.Traces.Take()
	if len(batch) == 0 {
		return false
	}
	more = true
	err := errCrashed
	defer func() {
		e.cfg.Traces.Taken(len(batch), err == nil)
		e.tell(err)
	}()
	defer crash.Contain("telemetry", nil)
	err = e.send(ctx, batch)
	return more
}

var errCrashed = errors.New("a panic ended it")

func (e *Exporter) send(ctx context.Context, batch []*answer.Traced) error {
	ctx, cancel := context.WithTimeout(ctx, batchPatience)
	defer cancel()
	if err := e.ready(ctx); err != nil {
		return err
	}
	return e.out.ExportSpans(ctx, e.maker.spans(ctx, batch))
}

// ready makes what sends by the settings in force.
func (e *Exporter) ready(ctx context.Context) (err error) {
	s := e.settings.Load()
	if s == e.used {
		return nil
	}
	headers := make(map[string]string, len(s.Headers))
	for name, value := range s.Headers {
		headers[name] = value.Reveal()
	}
	// All that environment variables could say otherwise is given.
	out, err := otlptrace.New(ctx, otlptracehttp.NewClient(
		otlptracehttp.WithTLSClientConfig(nil), otlptracehttp.WithEndpointURL(e.cfg.Endpoint), otlptracehttp.WithHeaders(headers), otlptracehttp.WithHTTPClient(e.client),
		otlptracehttp.WithCompression(otlptracehttp.NoCompression), otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf), otlptracehttp.WithTimeout(onePatience), otlptracehttp.WithRetry(retries)))
	if err != nil {
		return err
	}
	m, err := newMaker(ctx, s.ServiceName)
	if err != nil {
		return err
	}
	e.out, e.maker, e.used = out, m, s
	return nil
}

// tell logs when the collector begins to take nothing, and when it takes spans again.
func (e *Exporter) tell(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	had := e.problem != ""
	switch {
	case err != nil:
		if e.problem = e.worded(err); !had {
			e.since = time.Now()
			e.cfg.Log.Warn("the collector takes no traces", "url", e.cfg.Endpoint, "error", e.problem)
		}
	case had:
		e.problem = ""
		e.cfg.Log.Info("the collector takes traces again", "url", e.cfg.Endpoint, "lost_requests", e.cfg.Traces.Lost())
	}
}

// worded is what is told of an error: in one line, of bounded length and without the
// headers, which a collector may repeat in what it says.
func (e *Exporter) worded(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, value := range e.settings.Load().Headers {
		text = strings.ReplaceAll(text, value.Reveal(), value.String())
	}
	return answer.Clip(text)
}

// Problem is what an operator should know, "" if all is well.
func (e *Exporter) Problem() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.problem == "" {
		return ""
	}
	return fmt.Sprintf("since %s the collector %s takes no traces (%d requests are lost): %s",
		e.since.UTC().Format(time.RFC3339), e.cfg.Endpoint, e.cfg.Traces.Lost(), e.problem)
}

var _ sdk.IDGenerator = names{}
