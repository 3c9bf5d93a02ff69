package ui

import (
	"bytes"
	"encoding/json"
	"strings"
)

// diffLine is a line of what changes.
type diffLine struct {
	Sign string // "+", "-", " ", or "…" in place of lines that stay
	Text string
}

// Bounds of a comparison.
const (
	diffAround = 3       // lines that stay and are shown
	diffCells  = 1 << 20 // pairs of lines; of more the old ones go and the new ones come
)

// laidOut is a document as people read it: JSON in one line gets lines.
func laidOut(document string) string {
	if strings.Contains(strings.TrimSpace(document), "\n") || !json.Valid([]byte(document)) {
		return document
	}
	var text bytes.Buffer
	if json.Indent(&text, []byte(strings.TrimSpace(document)), "", "  ") != nil {
		return document
	}
	return text.String()
}

// diff compares two documents by lines; nil if they are the same.
func diff(before, after string) []diffLine {
	a, b := splitLines(laidOut(before)), splitLines(laidOut(after))
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	if head == len(a) && head == len(b) {
		return nil
	}
	var all []diffLine
	for _, line := range a[:head] {
		all = append(all, diffLine{" ", line})
	}
	all = append(all, middle(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, line := range a[len(a)-tail:] {
		all = append(all, diffLine{" ", line})
	}
	return around(all)
}

func splitLines(text string) []string {
	text = strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// middle compares what is left between the same beginnings and ends, by the longest
// common subsequence.
func middle(a, b []string) (all []diffLine) {
	if len(a)*len(b) > diffCells {
		for _, line := range a {
			all = append(all, diffLine{"-", line})
		}
		for _, line := range b {
			all = append(all, diffLine{"+", line})
		}
		return all
	}
	common := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, diffLine{" ", a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			all = append(all, diffLine{"-", a[i]})
			i++
		default:
			all = append(all, diffLine{"+", b[j]})
			j++
		}
	}
	return all
}

// around leaves out lines that stay and are far from what changes.
func around(all []diffLine) (shown []diffLine) {
	near := make([]bool, len(all))
	for i, line := range all {
		if line.Sign != " " {
			for n := max(0, i-diffAround); n <= min(len(all)-1, i+diffAround); n++ {
				near[n] = true
			}
		}
	}
	for i, line := range all {
		switch {
		case near[i]:
			shown = append(shown, line)
		case i == 0 || near[i-1]:
			shown = append(shown, diffLine{Sign: "…"})
		}
	}
	return shown
}
