package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// terminal is the size of a window in characters. The zero value is no terminal:
// a pipe or a file, which takes lines of any length.
type terminal struct{ width, height int }

// terminalOf returns the size of the terminal that out is.
func terminalOf(out io.Writer) terminal {
	f, ok := out.(*os.File)
	if !ok {
		return terminal{}
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return terminal{}
	}
	return terminal{width: int(size.Col), height: int(size.Row)}
}

// cut shortens the lines of a table that the terminal would break.
func (t terminal) cut(table string) string {
	if t.width == 0 {
		return table
	}
	lines := strings.Split(table, "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " ")
		if r := []rune(line); len(r) > t.width {
			line = string(r[:t.width-1]) + "…"
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// rows is how many rows of the terminal text takes, whose long lines it breaks.
func (t terminal) rows(text string) (n int) {
	for line := range strings.Lines(text) {
		n += max(1, (len([]rune(strings.TrimSuffix(line, "\n")))+t.width-1)/max(t.width, 1))
	}
	return n
}
