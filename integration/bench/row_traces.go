package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

var rowTraces = &row{
	name: "traces", unit: "µs",
	title:   "GET 1 KiB, 64 connections, with traces of which 1 % is kept: CPU per request",
	aim:     "at most 1.01 of without",
	who:     []*contestant{lictorTraces, lictorPlain},
	measure: load{path: smallPath, size: smallSize, connections: 64}.cpuPerRequest,
}

// lictorPlain is lictor without traces.
var lictorPlain = &contestant{name: "the same without traces", start: lictor.start}

// lictorTraces sends the spans of one request of a hundred.
var lictorTraces = &contestant{name: "lictor with traces", start: func(b *bed, address string) (*proxy, error) {
	url, err := collector()
	if err != nil {
		return nil, err
	}
	return startLictor(b, "lictor", address, fmt.Sprintf("telemetry {\n  otlp_endpoint = %q\n  sample = 0.01\n}\n", url))
}}

// collector takes traces, and drops them. It runs as long as this process, beside what
// loads the proxies.
var collector = sync.OnceValues(func() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // who sends it would tell
	})}
	go func() { _ = s.Serve(l) }() // the rows would tell
	return "http://" + l.Addr().String(), nil
})
