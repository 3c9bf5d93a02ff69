// Package otlptest has a receiver of traces by OTLP over HTTP, for tests.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it was received.
type Span struct {
	Name, Kind           string // Kind as SERVER, CLIENT, PRODUCER
	Trace, ID, Parent    string // in hexadecimal digits; Parent "" = none
	Error                bool
	Attributes, Resource map[string]string // their values as text
	Began, Ended         time.Time
}

// Receiver takes traces. Any goroutine may call its methods.
type Receiver struct {
	URL string // of its base

	mu      sync.Mutex // guards what follows
	refuse  func(http.ResponseWriter, *http.Request) bool
	spans   []Span
	headers []http.Header
	wrong   []string
}

// New starts a receiver that ends with the test, which fails if something came that
// is no OTLP.
func New(t testing.TB) *Receiver {
	r := &Receiver{}
	server := httptest.NewServer(r)
	r.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		for _, w := range r.wrong {
			t.Error("a receiver of traces:", w)
		}
	})
	return r
}

// Refuse has f answer first; what it returns true for is not taken.
func (r *Receiver) Refuse(f func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = f
}

// ServeHTTP implements [http.Handler].
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.headers = append(r.headers, req.Header.Clone())
	refuse := r.refuse
	r.mu.Unlock()
	if refuse != nil && refuse(w, req) {
		return
	}
	spans, err := read(req)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.wrong = append(r.wrong, err.Error())
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.spans = append(r.spans, spans...)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func read(req *http.Request) ([]Span, error) {
	if req.Method != http.MethodPost || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, fmt.Errorf("got %s %s of %q", req.Method, req.URL, req.Header.Get("Content-Type"))
	}
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(req.Body)
		if err != nil {
			return nil, err
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var all collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	var spans []Span
	for _, resource := range all.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				spans = append(spans, Span{
					Name: s.Name, Kind: s.Kind.String()[len("SPAN_KIND_"):], Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId),
					Parent: hex.EncodeToString(s.ParentSpanId), Error: s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR,
					Attributes: texts(s.Attributes), Resource: texts(resource.Resource.Attributes),
					Began: time.Unix(0, int64(s.StartTimeUnixNano)), Ended: time.Unix(0, int64(s.EndTimeUnixNano)), //nolint:gosec // times of today
				})
			}
		}
	}
	return spans, nil
}

func texts(all []*common.KeyValue) map[string]string {
	m := make(map[string]string, len(all))
	for _, a := range all {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[a.Key] = fmt.Sprint(v.IntValue)
		default:
			m[a.Key] = fmt.Sprint(v)
		}
	}
	return m
}

// Spans returns what was taken so far.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Span(nil), r.spans...)
}

// Of returns the spans of a trace.
func (r *Receiver) Of(trace string) (spans []Span) {
	for _, s := range r.Spans() {
		if s.Trace == trace {
			spans = append(spans, s)
		}
	}
	return spans
}

// Headers returns those of everything that came, taken or not.
func (r *Receiver) Headers() []http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]http.Header(nil), r.headers...)
}
