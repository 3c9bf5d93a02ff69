package gateway

import (
	"bufio"
	"io"
	"maps"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/resolver"
)

// counted are the counters and histogram counts that are not zero, by name and
// labels.
func counted(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				if l.GetName() != "listener" {
					name += " " + l.GetValue()
				}
			}
			v := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if v != 0 {
				got[strings.TrimPrefix(name, "lictor_")] = v
			}
		}
	}
	return got
}

// Every request is counted once, whatever becomes of it, and no count is lost when
// its service loses its last instance.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	book := newLogBook(t, "json")
	r := newRigWith(t, nil, func(c *Config) { c.Metrics, c.AccessLog = reg, book.log })
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		for {
			head, err := readHead(in)
			switch {
			case err != nil:
				return
			case strings.HasPrefix(head, "GET /404"):
				io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			case strings.HasPrefix(head, "GET /broken"):
				return
			case strings.HasPrefix(head, "GET /wait"):
				in.ReadByte()
			default:
				io.WriteString(c, ok2)
			}
		}
	})
	r.get("/svc/a")
	r.get("/svc/b")
	r.get("/svc/404")
	r.get("/svc/broken") // twice: the connection had served before
	r.get("/none")
	r.get("/")
	c := r.dial()
	c.send("nonsense\r\n\r\n")
	c.answer("GET")
	c = r.dial()
	c.send("GET /svc/wait HTTP/1.1\r\nHost: x\r\n\r\n")
	book.until(t, 7)
	c.Close()
	book.until(t, 1)
	want := map[string]float64{
		"requests_total 2xx svc": 2, "requests_total 4xx svc": 1, "requests_total 5xx svc": 1, "requests_total none svc": 1,
		"requests_total 5xx ": 1, "requests_total 4xx ": 2,
		"request_duration_seconds svc": 5, "request_duration_seconds ": 3, "upstream_duration_seconds svc": 3,
		"denied_total svc enforce bad_gateway svc": 1, "denied_total  enforce unknown_service ": 1,
		"denied_total  enforce no_service ": 1, "denied_total  enforce bad_request ": 1,
	}
	if got := counted(t, reg); !maps.Equal(got, want) {
		t.Errorf("got\n %v\nwant\n %v", got, want)
	}
	// A service that is gone for a moment goes on where it was.
	before := r.src.catalog.Load()
	r.src.catalog.Store(resolver.NewCatalog())
	r.gw.sweep()
	if got := counted(t, reg); !maps.Equal(got, want) {
		t.Errorf("without the service: got\n %v\nwant\n %v", got, want)
	}
	r.src.catalog.Store(before)
	r.get("/svc/a")
	book.until(t, 1)
	want["requests_total 2xx svc"]++
	want["request_duration_seconds svc"]++
	want["upstream_duration_seconds svc"]++
	if got := counted(t, reg); !maps.Equal(got, want) {
		t.Errorf("once it is back: got\n %v\nwant\n %v", got, want)
	}
}
