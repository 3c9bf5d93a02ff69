package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/proxy/answer"
)

// What one request costs that is kept, until a collector has its spans.
func BenchmarkSend(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	traces := answer.NewTraces(answer.TraceSettings{})
	e := New(Config{Traces: traces, Endpoint: s.URL + "/v1/traces", Log: hclog.NewNullLogger(), Settings: Settings{ServiceName: "bench"}})
	one := served()
	one.Attempts = one.Attempts[1:]
	b.ReportAllocs()
	for n := 0; n < b.N; n += answer.TracedBatch {
		for range answer.TracedBatch {
			traces.Keep(one)
		}
		if !e.sendNext(b.Context()) {
			b.Fatal("nothing was sent")
		}
	}
	if p := e.Problem(); p != "" {
		b.Fatal(p)
	}
}
