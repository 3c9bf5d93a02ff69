package answer

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/trace"
	"lictor/policy"
)

func TestWhichTracesAreWanted(t *testing.T) {
	now := time.Unix(1000, 0)
	const slow = 250 * time.Millisecond
	tests := []struct {
		name     string
		sampled  bool
		status   int
		reason   Reason
		tries    int
		answered time.Duration
		want     Why
	}{
		{"an ordinary one", false, 200, ReasonNone, 1, slow - 1, NotKept},
		{"a 404 of the service", false, 404, ReasonNone, 1, 0, NotKept},
		{"left by its client", false, 499, ClientLeft, 1, 0, NotKept},
		{"sampled", true, 200, ReasonNone, 1, 0, Sampled},
		{"sampled and refused", true, 403, "acl", 0, 0, Sampled},
		{"refused", false, 403, "acl", 0, 0, Refused},
		{"refused with 503", false, 503, Unreachable, 2, 0, Refused},
		{"500 of the service", false, 500, ReasonNone, 1, 0, Failed},
		{"retried", false, 200, ReasonNone, 2, 0, Retried},
		{"slow", false, 200, ReasonNone, 1, slow, Slow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			traces := NewTraces(TraceSettings{Slow: slow})
			if got := traces.Wants(tt.sampled, tt.status, tt.reason, tt.tries, tt.answered, now); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := (*Traces)(nil).Wants(tt.sampled, tt.status, tt.reason, tt.tries, tt.answered, now); got != NotKept {
				t.Errorf("nobody sends it, got %q", got)
			}
		})
	}
	if got := NewTraces(TraceSettings{}).Wants(false, 200, ReasonNone, 1, time.Hour, now); got != NotKept {
		t.Error("slow = 0 keeps what takes an hour")
	}
}

func TestAFloodOfRefusalsIsKeptInPart(t *testing.T) {
	traces := NewTraces(TraceSettings{})
	kept, asked := 0, 10*tracedRate
	for i := range asked {
		if traces.Wants(false, 403, "acl", 0, 0, time.Unix(1000+int64(i/(5*tracedRate)), 0)) != NotKept {
			kept++
		}
	}
	if kept != 2*tracedRate || traces.dropped[droppedRate].Load() != uint64(asked-kept) {
		t.Errorf("%d are kept in two seconds, %d dropped", kept, traces.dropped[droppedRate].Load())
	}
	if traces.Wants(true, 403, "acl", 0, 0, time.Unix(1001, 0)) != Sampled {
		t.Error("the rate counts for what is sampled")
	}
}

// Whatever nobody takes is bounded, in number and in bytes, and counted past that.
func TestWhatWaitsIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	tests := []struct {
		name string
		path string
		most int
	}{
		{"short ones, by their number", "/", maxTraced},
		{"long ones, by their bytes", long, maxTraced - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			traces := NewTraces(TraceSettings{})
			one := &Traced{Why: Sampled, Attempts: make([]Attempt, 4)}
			one.Path, one.Host, one.Agent, one.Err = tt.path, tt.path, tt.path, errors.New(tt.path)
			for i := range one.Attempts {
				one.Attempts[i].Path = tt.path
			}
			for range 2 * maxTraced {
				traces.Keep(one)
			}
			n, bytes := traces.waiting()
			if n > tt.most || n < 100 || bytes > maxTracedBytes || traces.dropped[droppedFull].Load() != uint64(2*maxTraced-n) {
				t.Errorf("%d wait, in %d bytes, %d are dropped", n, bytes, traces.dropped[droppedFull].Load())
			}
			select {
			case <-traces.Full():
			default:
				t.Error("nobody is told of a batch")
			}
			if batch := traces.Take(); len(batch) != TracedBatch || len(batch[0].Path) > 2*maxText || len(batch[0].Agent) > 2*maxName {
				t.Errorf("a batch of %d, of paths of %d", len(batch), len(batch[0].Path))
			}
			if left := traces.Forget(); left != n-TracedBatch || len(traces.Take()) > 0 {
				t.Errorf("%d are left", left)
			}
			if n, bytes := traces.waiting(); n != 0 || bytes != 0 {
				t.Errorf("of nothing %d wait, in %d bytes", n, bytes)
			}
		})
	}
}

// Every string of what is kept is a copy: those of a request lie in memory that the
// next one writes to.
func TestWhatIsKeptSharesNoString(t *testing.T) {
	var one Traced
	one.Attempts = make([]Attempt, 1)
	one.Err = errors.New("proxy: it broke")
	texts := map[string]string{}
	fill(reflect.ValueOf(&one).Elem(), "", texts)
	own, size := one.kept()
	got := map[string]string{}
	read(reflect.ValueOf(own).Elem(), "", got)
	for name, text := range texts {
		switch is := got[name]; {
		case strings.HasSuffix(name, ".Referer"), strings.HasSuffix(name, ".Authority"), strings.HasSuffix(name, ".Scheme"), strings.HasSuffix(name, ".Note"):
			if is != "" {
				t.Errorf("%s is kept, but no span tells it", name)
			}
		case name == ".Error":
			if is != "proxy: it broke" || own.Err != nil {
				t.Errorf("the error is kept as %q", is)
			}
		case is != text:
			t.Errorf("%s is %q, want %q", name, is, text)
		}
	}
	if size < len(texts)*4 {
		t.Errorf("%d texts are %d bytes", len(texts), size)
	}
	shared := []string{}
	same(reflect.ValueOf(&one).Elem(), reflect.ValueOf(own).Elem(), "", &shared)
	for _, name := range shared {
		// What has a few values, which the program itself has: it lies in no request.
		switch name {
		case ".Line.Listener", ".Line.Version", ".Line.Reason", ".Line.Ruling.Policy", ".Line.Ruling.Mode", ".Line.Ruling.Would", ".Proto", ".Attempts[0].Failed":
		default:
			t.Errorf("%s is not copied", name)
		}
	}
}

// fill gives each string below v a text of its own.
func fill(v reflect.Value, name string, texts map[string]string) {
	each(v, name, func(name string, v reflect.Value) {
		texts[name] = fmt.Sprintf("text-%d", len(texts))
		v.SetString(texts[name])
	})
}

func read(v reflect.Value, name string, texts map[string]string) {
	each(v, name, func(name string, v reflect.Value) { texts[name] = v.String() })
}

func same(a, b reflect.Value, name string, shared *[]string) {
	at := map[string]uintptr{}
	pointer := func(v reflect.Value) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(v.String()))) }
	each(a, name, func(name string, v reflect.Value) { at[name] = pointer(v) })
	each(b, name, func(name string, v reflect.Value) {
		if v.String() != "" && at[name] == pointer(v) {
			*shared = append(*shared, name)
		}
	})
}

func each(v reflect.Value, name string, f func(string, reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		f(name, v)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().PkgPath() == reflect.TypeFor[Traced]().PkgPath() || v.Type() == reflect.TypeFor[policy.Rule]() {
				each(v.Field(i), name+"."+v.Type().Field(i).Name, f)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			each(v.Index(i), fmt.Sprintf("%s[%d]", name, i), f)
		}
	}
}

func TestTracesAreCounted(t *testing.T) {
	traces := NewTraces(TraceSettings{})
	reg := prometheus.NewRegistry()
	reg.MustRegister(traces)
	count := func() map[string]float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.Metric {
				name := strings.TrimPrefix(f.GetName(), "lictor_traces_")
				for _, l := range m.Label {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		delete(got, "waiting_bytes")
		return got
	}
	want := map[string]float64{
		"kept_total sampled": 0, "kept_total refused": 0, "kept_total failed": 0, "kept_total retried": 0, "kept_total slow": 0, "sent_total": 0,
		"dropped_total rate": 0, "dropped_total queue_full": 0, "dropped_total not_taken": 0, "dropped_total shutdown": 0, "waiting": 0,
	}
	if got := count(); !maps.Equal(got, want) {
		t.Errorf("at the start got %v, want %v", got, want)
	}
	for range 4 {
		traces.Keep(&Traced{Why: Retried})
	}
	want["kept_total retried"], want["waiting"] = 4, 4
	if got := count(); !maps.Equal(got, want) {
		t.Errorf("of four that wait got %v, want %v", got, want)
	}
	traces.Take()
	traces.Taken(1, true)
	traces.Taken(3, false)
	want["waiting"], want["sent_total"], want["dropped_total not_taken"] = 0, 1, 3
	if got := count(); !maps.Equal(got, want) {
		t.Errorf("of four that were sent got %v, want %v", got, want)
	}
}

func TestASpanOfNoTraceIsNotTold(t *testing.T) {
	l := Line{Client: netip.MustParseAddr("192.0.2.1")}
	if got := string(l.appendJSON(nil)); strings.Contains(got, "trace_id") {
		t.Errorf("got %s", got)
	}
	l.Trace = trace.ID{0x0a, 15: 1}
	if got := string(l.appendJSON(nil)); !strings.Contains(got, `, "trace_id": "0a000000000000000000000000000001", "client"`) {
		t.Errorf("got %s", got)
	}
}
