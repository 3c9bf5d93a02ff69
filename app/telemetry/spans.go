package telemetry

import (
	"context"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"lictor/internal/version"
	"lictor/proxy/answer"
)

// maker makes spans of requests, by the SDK. One goroutine uses it.
type maker struct {
	tracer trace.Tracer
	ended  ended
}

func newMaker(ctx context.Context, service string) (*maker, error) {
	attributes := []attribute.KeyValue{semconv.ServiceName(service), semconv.ServiceVersion(version.Number)}
	if host, err := os.Hostname(); err == nil {
		attributes = append(attributes, semconv.HostName(host))
	}
	which, err := resource.New(ctx, resource.WithSchemaURL(semconv.SchemaURL), resource.WithTelemetrySDK(), resource.WithAttributes(attributes...))
	if err != nil {
		return nil, err
	}
	m := &maker{}
	provider := sdk.NewTracerProvider(sdk.WithResource(which), sdk.WithSampler(sdk.AlwaysSample()), sdk.WithIDGenerator(names{}),
		sdk.WithRawSpanLimits(sdk.SpanLimits{AttributeValueLengthLimit: -1, AttributeCountLimit: 64}), sdk.WithSpanProcessor(&m.ended))
	m.tracer = provider.Tracer("lictor", trace.WithInstrumentationVersion(version.Number), trace.WithSchemaURL(semconv.SchemaURL))
	return m, nil
}

// spans returns those of all requests of a batch.
func (m *maker) spans(ctx context.Context, batch []*answer.Traced) []sdk.ReadOnlySpan {
	m.ended.spans = nil
	for _, t := range batch {
		m.request(ctx, t)
	}
	return m.ended.spans
}

// request makes the spans of one request.
func (m *maker) request(ctx context.Context, t *answer.Traced) {
	if t.Place.Parent != [8]byte{} {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID(t.Place.Trace), SpanID: trace.SpanID(t.Place.Parent), Remote: true,
		}))
	}
	ctx, span := m.start(ctx, t, 0, nameOf(t), trace.SpanKindServer, t.Began, serverAttributes(t))
	for i := range t.Attempts {
		a := &t.Attempts[i]
		name, kind, attributes := attemptOf(t, i)
		_, attempt := m.start(ctx, t, i+1, name, kind, t.Began.Add(a.Began), attributes)
		if a.Failed != answer.ReasonNone || a.Status >= 400 {
			attempt.SetStatus(codes.Error, "")
		}
		attempt.End(trace.WithTimestamp(t.Began.Add(max(a.Began, a.Ended))))
	}
	if t.Status >= 500 { // 4xx is the client's fault (HTTP semantic conventions: status)
		span.SetStatus(codes.Error, t.Error)
	}
	span.End(trace.WithTimestamp(t.Began.Add(t.Took)))
}

// start begins the n-th span of a request, by the name that it was given before the
// request went up.
func (m *maker) start(ctx context.Context, t *answer.Traced, n int, name string, kind trace.SpanKind, at time.Time, attributes []attribute.KeyValue) (context.Context, trace.Span) {
	ctx = context.WithValue(ctx, nameKey{}, named{trace.TraceID(t.Place.Trace), trace.SpanID(t.Place.Span(n))})
	return m.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at), trace.WithAttributes(attributes...))
}

// names has spans called what the context says.
type names struct{}

type (
	nameKey struct{}
	named   struct {
		trace trace.TraceID
		span  trace.SpanID
	}
)

// NewIDs implements [sdk.IDGenerator].
func (names) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	n, _ := ctx.Value(nameKey{}).(named) // start has put it there
	return n.trace, n.span
}

// NewSpanID implements [sdk.IDGenerator].
func (names) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	n, _ := ctx.Value(nameKey{}).(named)
	return n.span
}

// ended gathers the spans that ended.
type ended struct{ spans []sdk.ReadOnlySpan }

// OnStart implements [sdk.SpanProcessor].
func (*ended) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements [sdk.SpanProcessor].
func (e *ended) OnEnd(s sdk.ReadOnlySpan) { e.spans = append(e.spans, s) }

// Shutdown implements [sdk.SpanProcessor].
func (*ended) Shutdown(context.Context) error { return nil }

// ForceFlush implements [sdk.SpanProcessor].
func (*ended) ForceFlush(context.Context) error { return nil }
