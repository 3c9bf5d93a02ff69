package answer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"lictor/internal/lines"
)

// AccessLog writes one line per request, refused ones as well. Lines are
// gathered and written at least every flushEvery. No request waits for it: past
// a bound lines are dropped and counted. Paths are written without their query,
// which may hold secrets.
type AccessLog struct {
	format format
	path   string
	lines  *lines.Writer
}

// format is how a line is written. Its zero value is JSON.
type format uint8

const (
	inJSON format = iota
	common
	combined
)

const (
	flushEvery   = 200 * time.Millisecond
	accessBytes  = 4 << 20         // that may wait to be written
	accessFlush  = 2 * time.Second // how long the end waits for what is left
	accessReopen = time.Second     // and a new file for what belongs to the old one
)

// NewAccessLog opens the log at path ("-" is standard output) for lines in
// one of the formats json, common, combined; "" is json.
func NewAccessLog(path, name string) (*AccessLog, error) {
	l := &AccessLog{path: path}
	out, err := l.open()
	if err != nil {
		return nil, err
	}
	l.lines = lines.New(out, accessBytes, flushEvery)
	return l.As(name)
}

// NewAccessLogTo returns a log that writes to out, and cannot be reopened.
func NewAccessLogTo(out io.Writer, name string) (*AccessLog, error) {
	return (&AccessLog{path: "-", lines: lines.New(out, accessBytes, flushEvery)}).As(name)
}

// As returns the same log for lines in the format called name. A nil AccessLog
// stays nil, which writes nothing.
func (l *AccessLog) As(name string) (*AccessLog, error) {
	if l == nil {
		return nil, nil
	}
	other := *l
	switch name {
	case "", "json":
		other.format = inJSON
	case "common":
		other.format = common
	case "combined":
		other.format = combined
	default:
		return nil, fmt.Errorf("access log: format is %q, want json, common or combined", name)
	}
	return &other, nil
}

func (l *AccessLog) open() (io.Writer, error) {
	if l.path == "-" {
		return lines.Keeper{Writer: os.Stdout}, nil
	}
	flags := os.O_APPEND | os.O_CREATE | os.O_WRONLY | syscall.O_NONBLOCK // a pipe that nobody reads is an error
	f, err := os.OpenFile(l.path, flags, 0o640)                           //nolint:gosec // the group reads the log, as its rotation and shipping do
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return f, nil
}

// Reopen opens the file anew, after it was moved away (SIGHUP). If that fails
// the old one stays.
func (l *AccessLog) Reopen() error {
	out, err := l.open()
	if err != nil {
		return err
	}
	l.lines.Replace(out, accessReopen)
	return nil
}

// Run waits for the end of ctx and has written then what is left. It returns the
// error of the last write, if that failed. A reader that does not take the rest
// in time is no failure of the end.
func (l *AccessLog) Run(ctx context.Context) error {
	<-ctx.Done()
	if err := l.Flush(accessFlush); !errors.Is(err, lines.ErrSlow) {
		return err
	}
	return nil
}

// Flush writes what waits, for patience at most. It returns the error of the last
// write, [lines.ErrSlow] if the time was not enough.
func (l *AccessLog) Flush(patience time.Duration) error { return l.lines.Flush(patience) }

// Dropped is how many lines were dropped, since they were not taken in time.
func (l *AccessLog) Dropped() uint64 { return l.lines.Dropped() }

// Write writes the line of a request that is over. A nil AccessLog writes none.
func (l *AccessLog) Write(of *Line) {
	if l == nil {
		return
	}
	l.lines.Append(func(dst []byte) []byte { return append(l.append(dst, of), '\n') })
}

func (l *AccessLog) append(dst []byte, of *Line) []byte {
	switch l.format {
	case common:
		return of.appendCommon(dst)
	case combined:
		return of.appendCombined(dst)
	}
	return of.appendJSON(append(dst, '{'))
}

// Record writes a line for the middleware called name, in JSON whatever the
// log's format. A nil AccessLog writes none.
func (l *AccessLog) Record(name string, of *Line) {
	if l == nil {
		return
	}
	l.lines.Append(func(dst []byte) []byte {
		dst = append(dst, `{"record": `...)
		dst = append(AppendJSON(dst, name), ", "...)
		return append(of.appendJSON(dst), '\n')
	})
}
