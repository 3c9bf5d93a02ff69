package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// report writes the table, how it was made, and the raw figures.
func report(w io.Writer, b *bed, o *options, results []*result) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "| |")
	for _, c := range peers {
		fmt.Fprintf(out, " %s |", c.name)
	}
	fmt.Fprintf(out, " lictor is | aim |\n|---|%s---|---|\n", strings.Repeat("---:|", len(peers)))
	for _, r := range results {
		fmt.Fprintln(out, r.line())
	}
	fmt.Fprintf(out, "\n%s\n\nRaw figures, round by round:\n\n", conditions(b, o))
	for _, r := range results {
		for i, c := range r.row.who {
			fmt.Fprintf(out, "    %-8s %-8s %s %s\n", r.row.name, c.name, list(r.figures[i]), r.row.unit)
		}
	}
	return out.Flush()
}

// line is the result as a line of the table. A contestant that is none of the
// usual ones is seen in the ratio only.
func (r *result) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |", r.row.title)
	for _, c := range peers {
		i := slices.IndexFunc(r.row.who, func(w *contestant) bool { return w.name == c.name })
		if i < 0 && c == lictor {
			i = 0
		}
		if i < 0 {
			b.WriteString(" |")
			continue
		}
		fmt.Fprintf(&b, " %s %s |", spread(r.figures[i], "%.1f"), r.row.unit)
	}
	for i, c := range r.row.who[1:] {
		sep := " "
		if i > 0 {
			sep = ", "
		}
		fmt.Fprintf(&b, "%s%s of %s", sep, spread(ratios(r.figures[0], r.figures[i+1]), "%.2f"), c.name)
	}
	fmt.Fprintf(&b, " | %s |", r.row.aim)
	return b.String()
}

// ratios are a over b, round by round.
func ratios(a, b []float64) []float64 {
	q := make([]float64, len(a))
	for i := range a {
		q[i] = a[i] / b[i]
	}
	return q
}

// spread is the median with the least and the greatest figure.
func spread(v []float64, format string) string {
	return fmt.Sprintf("**"+format+"** ("+format+".."+format+")", median(v), slices.Min(v), slices.Max(v))
}

// median of at least one figure.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m]
	}
	return (s[m-1] + s[m]) / 2
}

func list(v []float64) string {
	s := make([]string, len(v))
	for i := range v {
		s[i] = fmt.Sprintf("%.2f", v[i])
	}
	return strings.Join(s, " ")
}

// conditions says how the figures were made.
func conditions(b *bed, o *options) string {
	where := "proxies share all CPUs with load and backend"
	if b.proxies != b.all {
		where = "proxies on a CPU of their own"
	}
	return fmt.Sprintf("Median (least..greatest) of %d interleaved rounds of %v (memory: at most 3); ratios are taken within a round. %s, %s, %s, %s; %s, Linux %s, %d CPUs, %s. "+
		"One worker or thread each (lictor: GOMAXPROCS as it finds it), access logs on (lictor and nginx write theirs in blocks, HAProxy line by line to its standard output, a file), X-Forwarded-For added.",
		o.rounds, o.duration, version(b.programs["nginx"], "-v"), version(b.programs["haproxy"], "-v"),
		version(b.programs["wrk"], "-v"), runtime.Version(), cpuModel(), kernel(), b.all.Count(), where)
}

// version is the first line of what a program says of itself.
func version(program, flag string) string {
	text, _ := exec.Command(program, flag).CombinedOutput() // wrk exits with 1
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimPrefix(line, "nginx version: ")
	for _, sep := range []string{" [", " - ", "-"} {
		line, _, _ = strings.Cut(line, sep)
	}
	return strings.TrimSpace(line)
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(text) {
		if name, value, _ := bytes.Cut(line, []byte(":")); string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "?"
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return release
}
