package http2

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"lictor/proxy/http1"
)

// BenchmarkServer has Go's own client ask a handler without a backend: what is
// compared is the wire.
func BenchmarkServer(b *testing.B) {
	lim := testLimits()
	h1 := http1.NewServer(new(handler), lim)
	h1.SetHTTP2(NewServer(h1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = h1.Serve(l, new(http1.Entrance)) })
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer func() {
		transport.CloseIdleConnections()
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = h1.Shutdown(ctx)
		wg.Wait()
	}()
	// The clock of a busy machine says little; what the process used says more.
	used := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	run := func(name string, f func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			began := used()
			f(b)
			b.ReportMetric(float64((used()-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
	ask := func(b *testing.B, method, path string, body []byte) {
		req, _ := http.NewRequest(method, "http://"+l.Addr().String()+path, bytes.NewReader(body))
		resp, err := transport.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
	run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ask(b, "GET", "/large/1024", nil)
		}
	})
	run("get of many streams", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				ask(b, "GET", "/large/1024", nil)
			}
		})
	})
	run("down", func(b *testing.B) {
		b.SetBytes(8 << 20)
		for b.Loop() {
			ask(b, "GET", "/large/8388608", nil)
		}
	})
	run("up", func(b *testing.B) {
		body := make([]byte, 8<<20)
		b.SetBytes(8 << 20)
		for b.Loop() {
			ask(b, "POST", "/large/10", body)
		}
	})
}
