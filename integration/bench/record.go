package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// record is what a run measured, in the form of Go's benchmarks that benchstat
// reads: a line for each figure, and one for each ratio within a round.
type record struct {
	version string // of lictor, as it says itself
	made    time.Time
	figures []figure
}

// figure is a line of a record.
type figure struct {
	name  string // row/contestant, or row/of=contestant for a ratio
	unit  string // without spaces
	value float64
}

// ratioUnit is the unit of what is comparable between machines.
const ratioUnit = "ratio"

// newRecord takes what came out of rows.
func newRecord(version string, made time.Time, results []*result) *record {
	rec := &record{version: version, made: made}
	for _, r := range results {
		for i, c := range r.row.who {
			for _, v := range r.figures[i] {
				rec.figures = append(rec.figures, figure{r.row.name + "/" + plain(c.name), r.row.unit + "/op", v})
			}
		}
		for i, c := range r.row.who[1:] {
			for _, v := range ratios(r.figures[0], r.figures[i+1]) {
				rec.figures = append(rec.figures, figure{r.row.name + "/of=" + plain(c.name), ratioUnit, v})
			}
		}
	}
	return rec
}

// plain makes a name a word.
func plain(name string) string { return strings.ReplaceAll(name, " ", "-") }

// write writes the record; what is said of the machine is not read again.
func (rec *record) write(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "lictor: %s\nmade: %s\ngoos: %s\ngoarch: %s\ncpu: %s\n\n",
		rec.version, rec.made.UTC().Format(time.RFC3339), runtime.GOOS, runtime.GOARCH, cpuModel())
	for _, f := range rec.figures {
		fmt.Fprintf(out, "Benchmark%s 1 %s %s\n", f.name, strconv.FormatFloat(f.value, 'g', 6, 64), f.unit)
	}
	return out.Flush()
}

// readRecord reads what write wrote. Lines that it does not know are left out,
// as benchstat does.
func readRecord(r io.Reader) (*record, error) {
	rec := new(record)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ": ")
		words := strings.Fields(lines.Text())
		switch {
		case ok && key == "lictor":
			rec.version = value
		case ok && key == "made":
			var err error
			if rec.made, err = time.Parse(time.RFC3339, value); err != nil {
				return nil, err
			}
		case len(words) == 4 && strings.HasPrefix(words[0], "Benchmark"):
			v, err := strconv.ParseFloat(words[2], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", words[0], err)
			}
			rec.figures = append(rec.figures, figure{strings.TrimPrefix(words[0], "Benchmark"), words[3], v})
		}
	}
	return rec, lines.Err()
}

// ratios returns what is comparable, by name.
func (rec *record) ratios() map[string][]float64 {
	all := make(map[string][]float64)
	for _, f := range rec.figures {
		if f.unit == ratioUnit {
			all[f.name] = append(all[f.name], f.value)
		}
	}
	return all
}

// compare writes how the ratios differ from those of an earlier record, in the
// order of rec. Ratios of which only one record knows are left out.
func (rec *record) compare(w io.Writer, last *record) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "Ratios, as they were in %s and are in %s:\n\n", last.version, rec.version)
	now, then := rec.ratios(), last.ratios()
	for _, f := range rec.figures {
		a, b := now[f.name], then[f.name]
		if f.unit != ratioUnit || a == nil || b == nil {
			continue
		}
		was, is := median(b), median(a)
		fmt.Fprintf(out, "    %-28s %.2f -> %.2f  %+.0f %%\n", f.name, was, is, 100*(is/was-1))
		delete(now, f.name) // told
	}
	return out.Flush()
}

// save writes the record to a file of its version in dir, draws its chart, and
// tells on w how it compares with the one that was made last.
func (rec *record) save(w io.Writer, dir string, titles map[string]string) error {
	last, err := newest(dir, rec.version)
	if err != nil {
		return err
	}
	var text, chart bytes.Buffer
	err = errors.Join(rec.write(&text), drawChart(&chart, rec, titles), os.MkdirAll(dir, 0o755))
	if err != nil {
		return err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, rec.version+".txt"), text.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, "ratios.svg"), chart.Bytes(), 0o644))
	if err != nil || last == nil {
		return err
	}
	return rec.compare(w, last)
}

// newest returns the record of another version that was made last; nil if there
// is none.
func newest(dir, but string) (*record, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var last *record
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		rec, err := readRecord(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if rec.version != but && (last == nil || rec.made.After(last.made)) {
			last = rec
		}
	}
	return last, nil
}

// measured asks a lictor for its version: the second word of what it says.
func measured(program string) (string, error) {
	text, err := exec.Command(program, "version").Output()
	words := strings.Fields(string(text))
	if err == nil && len(words) < 2 {
		err = errors.New("it does not say its version")
	}
	if err != nil {
		return "", fmt.Errorf("%s version: %w", program, err)
	}
	return cmp.Or(filepath.Base(words[1]), "dev"), nil
}
