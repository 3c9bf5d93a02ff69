package http1

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"lictor/proxy/http1/message"
)

// fetchFrom fetches from a server that sends text and, if it ends, hangs up.
func fetchFrom(t testing.TB, text string, ends bool, most int) (*Fetched, *Failure, *Pool) {
	t.Helper()
	ours, theirs := net.Pipe()
	p := NewPool(PoolConfig{Address: "x:1", MaxIdle: 1})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<10)
		if _, err := theirs.Read(buf); err == nil {
			theirs.SetWriteDeadline(time.Now().Add(5 * time.Second))
			io.WriteString(theirs, text) // a client that had enough hangs up
		}
		if ends {
			theirs.Close()
		}
	}()
	got, f := p.Adopt(ours).Fetch([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 2*time.Second, most)
	ours.SetDeadline(time.Unix(1, 0))
	theirs.Close()
	<-done
	return got, f, p
}

func TestFetchReadsTheWholeAnswer(t *testing.T) { // P3
	large := strings.Repeat("x", 100<<10)
	for _, tt := range []struct {
		name, text string
		status     int
		body       string
		kept       bool
	}{
		{"with a length", "HTTP/1.1 401 No\r\nContent-Length: 2\r\nX: y\r\n\r\nno", 401, "no", true},
		{"without a body", "HTTP/1.1 204 No\r\n\r\n", 204, "", true},
		{"an empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", true},
		{"in chunks, with trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n1;a=b\r\n!\r\n0\r\nX: y\r\n\r\n", 200, "no!", true},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\nno", 200, "no", false},
		{"of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nno", 200, "no", false},
		{"that says close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", 200, "no", false},
		{"with more behind it", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\n\r\n", 200, "no", false},
		{"behind interim ones", "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 200, "no", true},
		{"a large one by length", "HTTP/1.1 200 OK\r\nContent-Length: 102400\r\n\r\n" + large, 200, large, true},
		{"a large one in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n19000\r\n" + large + "\r\n0\r\n\r\n", 200, large, true},
		{"a large one until the end", "HTTP/1.1 200 OK\r\n\r\n" + large, 200, large, false},
		{"a large head", "HTTP/1.1 200 OK\r\nX: " + large[:60<<10] + "\r\nContent-Length: 2\r\n\r\nno", 200, "no", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, f, p := fetchFrom(t, tt.text, !tt.kept, 100<<10)
			if f != nil || got.Status != tt.status || string(got.Body) != tt.body {
				t.Fatalf("got %+v, %v", got, f)
			}
			if active, idle := p.Counts(); active != 0 || (idle == 1) != tt.kept {
				t.Errorf("%d connections active, %d idle", active, idle)
			}
		})
	}
}

func TestFetchFails(t *testing.T) { // P3
	for _, tt := range []struct {
		name, text string
		ends       bool
		kind       Kind
		clean      bool
	}{
		{"no answer", "", true, Broken, true},
		{"silence", "", false, TimedOut, true},
		{"half a head", "HTTP/1.1 200", true, Broken, false},
		{"half a head, and silence", "HTTP/1.1 200", false, TimedOut, false},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", true, Broken, false},
		{"a long body by length", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n12345678901", false, Broken, false},
		{"a long body in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n", false, Broken, false},
		{"a long body until the end", "HTTP/1.1 200 OK\r\n\r\n12345678901", false, Broken, false},
		{"another protocol", "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false, Broken, false},
		{"too many interim answers", strings.Repeat("HTTP/1.1 103 x\r\n\r\n", maxInterim+1), false, Broken, false},
		{"too large a head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxResponseHead) + "\r\n\r\n", false, Broken, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, f, p := fetchFrom(t, tt.text, tt.ends, 10)
			if f == nil || f.Kind != tt.kind || f.Clean != tt.clean {
				t.Fatalf("got %+v, %+v", got, f)
			}
			if active, idle := p.Counts(); active+idle != 0 {
				t.Errorf("%d connections active, %d idle", active, idle)
			}
		})
	}
}

// FuzzFetch wants an answer within its bounds, or a failure, of whatever is sent.
func FuzzFetch(f *testing.F) {
	for _, seed := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nno", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 302 x\r\nLocation: y\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n", "\r\n\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, fail, p := fetchFrom(t, text, true, 100)
		if (got == nil) == (fail == nil) {
			t.Fatalf("got %+v, %v", got, fail)
		}
		if got != nil && (got.Status < 200 || got.Status > 999 || len(got.Body) > 100) {
			t.Errorf("got %d, %d bytes", got.Status, len(got.Body))
		}
		for i := range got.fields() {
			if x := got.Fields[i]; !message.ValidFieldName(x.Name) || !message.ValidFieldValue(x.Value) {
				t.Errorf("got the field %q: %q", x.Name, x.Value)
			}
		}
		if active, _ := p.Counts(); active != 0 {
			t.Error("the connection is lost")
		}
	})
}

func (f *Fetched) fields() []message.Field {
	if f == nil {
		return nil
	}
	return f.Fields
}
