package answer

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestEveryStatusHasACodeOfGRPC(t *testing.T) {
	for status, code := range map[int]string{400: "13", 401: "16", 403: "7", 404: "12", 413: "8", 429: "8", 431: "8", 500: "13", 501: "12", 502: "14", 503: "14", 504: "4", 508: "13"} {
		if got := grpcCode(status); got != code {
			t.Errorf("%d is %s, want %s", status, got, code)
		}
	}
}

// A line of a log is bounded whatever a request holds.
func TestLogLinesAreBounded(t *testing.T) {
	long := strings.Repeat("\x80", 30<<10)
	l := &Line{Method: "GET", Host: "h", Path: "/" + long, Referer: long, Agent: long, Err: fmt.Errorf("%s", long)}
	for name, line := range map[string][]byte{"json": l.appendJSON(nil), "combined": l.appendCombined(nil)} {
		if len(line) > 32<<10 {
			t.Errorf("a line in %s has %d bytes", name, len(line))
		}
	}
	if s := Clip(strings.Repeat("ä", maxText)); !utf8.ValidString(s) || !strings.HasSuffix(s, " bytes)") || Clip("short") != "short" {
		t.Errorf("clipped to %q", s)
	}
}

func BenchmarkAccessLogLine(b *testing.B) {
	l := &Line{Began: time.Now(), Method: "GET", Host: "example.org", Path: "/svc/index.html", Version: "1.1", Status: 200, Service: "svc",
		Instance: "node/svc-1", Upstream: "127.0.0.1:9001", Tries: 1, Out: 1024}
	for _, format := range []string{"json", "common", "combined"} {
		b.Run(format, func(b *testing.B) {
			log, err := (&AccessLog{}).As(format)
			if err != nil {
				b.Fatal(err)
			}
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = log.append(dst[:0], l)
			}
		})
	}
}
