package answer

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lictor/internal/trace"
	"lictor/policy"
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
	l := &Line{Method: long, Host: long, Path: "/" + long, Referer: long, Agent: long, Err: fmt.Errorf("%s", long)}
	l.Consumer, l.Credential, l.Service, l.API, l.Instance, l.Upstream = long, long, long, long, long, long
	l.Ruling = Ruling{Rule: policy.Rule{Key: long, Entry: long}}
	for name, line := range map[string][]byte{"json": l.appendJSON(nil), "combined": l.appendCombined(nil)} {
		if len(line) > 80<<10 {
			t.Errorf("a line in %s has %d bytes", name, len(line))
		}
	}
	if s := Clip(strings.Repeat("ä", maxText)); !utf8.ValidString(s) || !strings.HasSuffix(s, " bytes)") || Clip("short") != "short" {
		t.Errorf("clipped to %q", s)
	}
}

// What is plain is so wherever it stands.
func TestPlainLooksAtEachByte(t *testing.T) {
	for n := 1; n <= 17; n++ {
		for at := range n {
			for c := range 256 {
				s := []byte(strings.Repeat("~", n))
				s[at] = byte(c)
				want := c >= 0x20 && c < 0x7f && c != '"' && c != '\\'
				if got := plain(string(s)); got != want {
					t.Fatalf("%q: got %v, want %v", s, got, want)
				}
			}
		}
	}
	if !plain("") || plain("\x20\x1f\x20 !#[]") || !plain(" !#[]^~} !#[]^~}") {
		t.Error("neighbours of odd bytes are taken for odd, or odd ones are not found")
	}
}

func BenchmarkAccessLogLine(b *testing.B) {
	l := &Line{Began: time.Now(), Method: "GET", Host: "example.org", Path: "/svc/index.html", Version: "1.1", Status: 200, Service: "svc",
		Instance: "node/svc-1", Upstream: "127.0.0.1:9001", Tries: 1, Out: 1024}
	attributed := *l
	attributed.Consumer, attributed.Credential, attributed.API, attributed.UpstreamStatus = "shop-frontend", "0f1b0a52-6dd4-4f0c-9d3b-3f5c4a8e2b11", "svc", 200
	attributed.Agent, attributed.Trace = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", trace.ID{0x0a, 0xf7, 0x65}
	attributed.Ruling.Policy = "0a1b2c3d"
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
		b.Run(format+", of a consumer", func(b *testing.B) {
			log, err := (&AccessLog{}).As(format)
			if err != nil {
				b.Fatal(err)
			}
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = log.append(dst[:0], &attributed)
			}
		})
	}
}
