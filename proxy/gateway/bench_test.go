package gateway

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"lictor/internal/uri"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/resolver"
)

// benchAnswer is an answer of 1 KiB.
var benchAnswer = append([]byte("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"),
	bytes.Repeat([]byte("x"), 1024)...)

const benchRequest = "GET /svc/index.html?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"

// BenchmarkGet is a whole request over loopback sockets, access log on. The
// client and the backend are in the figure; make bench has the proxy's alone.
func BenchmarkGet(b *testing.B) {
	log, err := answer.NewAccessLog("/dev/null", "json")
	if err != nil {
		b.Fatal(err)
	}
	r := newRigWith(b, nil, func(c *Config) { c.AccessLog = log })
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		for {
			for line := []byte(nil); len(line) != 2; {
				if line, err = in.ReadSlice('\n'); err != nil {
					return
				}
			}
			c.Write(benchAnswer)
		}
	})
	c := r.dial()
	c.SetDeadline(time.Time{})
	request, buf := []byte(benchRequest), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		c.Write(request)
		n, err := c.Read(buf)
		if err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 ")) {
			b.Fatalf("the benchmark measures a failure: %q, %v", buf[:n], err)
		}
	}
}

// benchExchange is an exchange that was answered.
func benchExchange(b *testing.B) (*exchange, *member, *roster) {
	b.Helper()
	req := new(http1.RequestHead)
	if err := req.Parse([]byte(benchRequest)); err != nil {
		b.Fatal(err)
	}
	set := testSettings()
	inst := &resolver.Instance{ID: "node/svc-1", Address: "127.0.0.1:9001", Weight: 1, State: resolver.Passing}
	m := &member{inst: inst, peer: new(peer)}
	x := &exchange{
		set: &set, req: req, c: new(http1.Conn), began: time.Now(), service: "svc", target: "/index.html", prefix: "svc",
		client: netip.MustParseAddr("192.0.2.7"), ruling: new(ruling), member: m, status: 200, bytesOut: 1024,
	}
	var err error
	if x.path, _, err = uri.ParsePath(req.Target, nil); err != nil {
		b.Fatal(err)
	}
	x.nameRequest()
	return x, m, &roster{service: &resolver.Service{Name: "svc"}, members: []*member{m}}
}

func BenchmarkRequestToInstance(b *testing.B) {
	x, m, r := benchExchange(b)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = x.appendRequest(dst[:0], m, r)
	}
	if !bytes.HasPrefix(dst, []byte("GET /index.html")) {
		b.Fatalf("the benchmark measures %q", dst)
	}
}
