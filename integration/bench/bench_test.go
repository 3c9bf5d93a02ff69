package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestWhatWrkSaysIsReadStrictly(t *testing.T) {
	get := load{path: smallPath, size: 100, connections: 1}
	tests := []struct {
		name, output, want string
	}{
		{"answers are counted", "Running\n\n" + wrkMark + " 7 900 0 0 0 0 0 250\n", "{7 250} <nil>"},
		{"an error fails it", wrkMark + " 7 900 0 1 0 0 0 250\n", "read 1"},
		{"a bad status fails it", wrkMark + " 7 900 0 0 0 0 3 250\n", "status 3"},
		{"short answers fail it", wrkMark + " 7 600 0 0 0 0 0 250\n", "want 100 bytes each"},
		{"no answer at all fails it", wrkMark + " 0 0 0 0 0 0 0 250\n", "no request answered"},
		{"a wrk that broke off fails it", "unable to connect\n", "unable to connect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := get.parse([]byte(tt.output))
			if got := fmt.Sprint(n, " ", err); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestSpreadIsMedianLeastAndGreatest(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   string
	}{
		{"one figure is all three", []float64{2}, "**2.0** (2.0..2.0)"},
		{"the middle of an odd number", []float64{9, 1, 4}, "**4.0** (1.0..9.0)"},
		{"between the middle ones of an even number", []float64{9, 1, 4, 5}, "**4.5** (1.0..9.0)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := spread(tt.values, "%.1f"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	if got := median(ratios([]float64{10, 30, 60}, []float64{10, 15, 20})); got != 2 {
		t.Errorf("got %v, want 2", got)
	}
}

func TestTheTableComparesWithinARow(t *testing.T) {
	tests := []struct {
		name string
		res  *result
		want string
	}{
		{"the usual contestants have a column each",
			&result{row: &row{title: "get", unit: "µs", aim: "low", who: peers}, figures: [][]float64{{2}, {4}, {1}}},
			"| get | **2.0** (2.0..2.0) µs | **4.0** (4.0..4.0) µs | **1.0** (1.0..1.0) µs | **0.50** (0.50..0.50) of nginx, **2.00** (2.00..2.00) of HAProxy | low |"},
		{"others are seen in the ratio",
			&result{row: rowPolicy, figures: [][]float64{{3}, {2}}},
			"| " + rowPolicy.title + " | **3.0** (3.0..3.0) µs | | | **1.50** (1.50..1.50) of the same without policy | " + rowPolicy.aim + " |"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.res.line(); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestTheLastBlacklistEntryIsAPath(t *testing.T) {
	if got := denied(deniedEntries - 1); got != deniedPath(deniedEntries-1) {
		t.Errorf("got %s", got)
	}
}

func TestBackendAnswersOneRequestAfterTheOther(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go serveConn(server) //nolint:errcheck // ends with the pipe
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }, MaxConnsPerHost: 1}
	tests := []struct {
		name, method, path string
		body, want         int
	}{
		{"a small answer", "GET", smallPath, 0, smallSize},
		{"an upload larger than the buffer", "POST", smallPath, 200 << 10, smallSize},
		{"a large answer", "GET", bigPath, 0, bigSize},
		{"an upload of one byte", "POST", "/small", 1, smallSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequest(tt.method, "http://backend.test"+tt.path, strings.NewReader(strings.Repeat("x", tt.body)))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); int(n) != tt.want || err != nil {
				t.Errorf("got %d bytes, %v, want %d", n, err, tt.want)
			}
		})
	}
}
