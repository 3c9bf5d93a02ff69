package gateway

import (
	"bufio"
	"bytes"
	"net"
	"testing"
	"time"

	"lictor/proxy/answer"
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
