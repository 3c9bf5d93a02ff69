package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// two rounds of a row that compares with nginx and HAProxy.
func sample(lictor ...float64) []*result {
	return []*result{{
		row:     &row{name: "get", title: "GET <1 KiB>: CPU", unit: "µs", who: peers},
		figures: [][]float64{lictor, {4, 4}, {1, 2}},
	}}
}

var titles = map[string]string{"get": "GET <1 KiB>: CPU"}

func TestARecordIsWhatBenchstatReads(t *testing.T) {
	rec := newRecord("0.2.0", time.Unix(0, 0), sample(2, 3))
	var b bytes.Buffer
	if err := rec.write(&b); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"Benchmarkget/lictor 1 2 µs/op", "Benchmarkget/lictor 1 3 µs/op",
		"Benchmarkget/nginx 1 4 µs/op", "Benchmarkget/nginx 1 4 µs/op",
		"Benchmarkget/HAProxy 1 1 µs/op", "Benchmarkget/HAProxy 1 2 µs/op",
		"Benchmarkget/of=nginx 1 0.5 ratio", "Benchmarkget/of=nginx 1 0.75 ratio",
		"Benchmarkget/of=HAProxy 1 2 ratio", "Benchmarkget/of=HAProxy 1 1.5 ratio", "",
	}, "\n")
	head, figures, _ := strings.Cut(b.String(), "\n\n")
	if figures != want {
		t.Errorf("got\n%s\nwant\n%s", figures, want)
	}
	if !strings.HasPrefix(head, "lictor: 0.2.0\nmade: 1970-01-01T00:00:00Z\ngoos: linux\n") {
		t.Errorf("got the head\n%s", head)
	}
	again, err := readRecord(&b)
	if err != nil || again.version != rec.version || len(again.figures) != len(rec.figures) {
		t.Errorf("read %+v, %v", again, err)
	}
}

func TestARecordIsComparedWithTheOneMadeLast(t *testing.T) {
	dir := t.TempDir()
	save := func(version string, made int64, figures ...float64) string {
		var told strings.Builder
		if err := newRecord(version, time.Unix(made, 0), sample(figures...)).save(&told, dir, titles); err != nil {
			t.Fatal(err)
		}
		return told.String()
	}
	if told := save("0.2.0", 200, 4, 4); told != "" {
		t.Errorf("the first record is compared: %s", told)
	}
	save("0.1.0", 100, 8, 8)
	if told := save("0.3.0", 300, 3, 3); !strings.Contains(told, "in 0.2.0 and are in 0.3.0") || !strings.Contains(told, "get/of=nginx                 1.00 -> 0.75  -25 %") {
		t.Errorf("got %s", told)
	}
	if told := save("0.3.0", 400, 3, 3); !strings.Contains(told, "in 0.2.0 and") {
		t.Errorf("the same version again is compared with itself: %s", told)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.txt"), []byte("Benchmarka 1 no ratio\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newRecord("0.4.0", time.Unix(0, 0), nil).save(io.Discard, dir, nil); err == nil || !strings.Contains(err.Error(), "x.txt") {
		t.Errorf("a file that is none is not told: %v", err)
	}
}

func TestTheChartIsXMLWithABarForEachNeighbour(t *testing.T) {
	var b bytes.Buffer
	if err := drawChart(&b, newRecord("1", time.Unix(0, 0), sample(2, 3)), titles); err != nil {
		t.Fatal(err)
	}
	bars := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 2 {
		t.Errorf("%d bars, want 2", bars)
	}
}
