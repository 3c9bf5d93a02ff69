package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"lictor/internal/lines"
)

// AccessLog writes one line per request, refused ones as well. Lines are
// gathered and written at least every flushEvery. No request waits for it: past
// a bound lines are dropped and counted. Paths are written without their query,
// which may hold secrets.
type AccessLog struct {
	format func(dst []byte, x *exchange, took time.Duration) []byte
	path   string
	lines  *lines.Writer
}

const (
	flushEvery   = 200 * time.Millisecond
	accessBytes  = 4 << 20         // that may wait to be written
	accessFlush  = 2 * time.Second // how long the end waits for what is left
	accessReopen = time.Second     // and a new file for what belongs to the old one
)

// NewAccessLog opens the log at path ("-" is standard output) for lines in
// one of the formats json, common, combined.
func NewAccessLog(path, format string) (*AccessLog, error) {
	l := &AccessLog{path: path}
	switch format {
	case "", "json":
		l.format = appendJSONLine
	case "common":
		l.format = appendCommon
	case "combined":
		l.format = appendCombined
	default:
		return nil, fmt.Errorf("access log: format is %q, want json, common or combined", format)
	}
	out, err := l.open()
	l.lines = lines.New(out, accessBytes, flushEvery)
	return l, err
}

func (l *AccessLog) open() (io.Writer, error) {
	if l.path == "-" {
		return lines.Keeper{Writer: os.Stdout}, nil
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640) //nolint:gosec // the group reads the log, as its rotation and shipping do
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
	if err := l.lines.Flush(accessFlush); !errors.Is(err, lines.ErrSlow) {
		return err
	}
	return nil
}

// Dropped is how many lines were dropped, since they were not taken in time.
func (l *AccessLog) Dropped() uint64 { return l.lines.Dropped() }

func (l *AccessLog) write(x *exchange, took time.Duration) {
	l.lines.Append(func(dst []byte) []byte { return append(l.format(dst, x, took), '\n') })
}

// Line writes a line that somebody else made, in the log's order.
func (l *AccessLog) Line(p []byte) {
	l.lines.Append(func(dst []byte) []byte { return append(append(dst, p...), '\n') })
}

// record writes a line for the middleware called name, in JSON whatever the
// log's format. A nil AccessLog writes none.
func (l *AccessLog) record(name string, x *exchange, took time.Duration) {
	if l == nil {
		return
	}
	l.lines.Append(func(dst []byte) []byte {
		dst = append(dst, `{"record": `...)
		dst = append(AppendJSON(dst, name), ", "...)
		dst = append(dst, appendJSONLine(nil, x, took)[1:]...)
		return append(dst, '\n')
	})
}

func appendJSONLine(dst []byte, x *exchange, took time.Duration) []byte {
	dst = append(dst, `{"time": "`...)
	dst = AppendTime(dst, x.began)
	dst = append(dst, `", "request_id": "`...)
	dst = append(dst, x.id...)
	dst = append(dst, `", "client": "`...)
	dst = x.client.AppendTo(dst)
	dst = append(dst, `", "method": `...)
	dst = AppendJSON(dst, x.req.Method)
	dst = append(dst, `, "host": `...)
	dst = AppendJSON(dst, x.req.Host)
	dst = append(dst, `, "path": `...)
	dst = AppendJSON(dst, x.path.Received)
	dst = append(dst, `, "status": `...)
	dst = strconv.AppendInt(dst, int64(x.status), 10)
	if x.reason != ReasonNone {
		dst = append(dst, `, "reason": "`...)
		dst = append(append(dst, x.reason...), '"')
	}
	dst = append(dst, `, "service": "`...)
	dst = append(dst, x.service...)
	dst = append(dst, '"')
	if x.member != nil {
		dst = append(dst, `, "instance": `...)
		dst = AppendJSON(dst, x.member.inst.ID)
		dst = append(dst, `, "upstream": `...)
		dst = AppendJSON(dst, x.member.inst.Address)
	}
	if x.upstream > 0 {
		dst = append(dst, `, "upstream_us": `...)
		dst = strconv.AppendInt(dst, x.upstream.Microseconds(), 10)
	}
	dst = append(dst, `, "tries": `...)
	dst = strconv.AppendInt(dst, int64(len(x.tries)), 10)
	dst = append(dst, `, "bytes_in": `...)
	dst = strconv.AppendInt(dst, x.c.BodyBytes(), 10)
	dst = append(dst, `, "bytes_out": `...)
	dst = strconv.AppendInt(dst, x.bytesOut, 10)
	dst = append(dst, `, "took_us": `...)
	dst = strconv.AppendInt(dst, took.Microseconds(), 10)
	if x.err != nil {
		dst = append(dst, `, "error": `...)
		dst = AppendJSON(dst, x.err.Error())
	}
	return append(dst, '}')
}

// AppendTime appends a time in UTC with microseconds (RFC 3339). The text of a
// second is made once.
func AppendTime(dst []byte, at time.Time) []byte {
	t := seconds.Load()
	if t == nil || t.unix != at.Unix() {
		t = &second{at.Unix(), at.UTC().AppendFormat(nil, "2006-01-02T15:04:05.")}
		seconds.Store(t)
	}
	dst = append(dst, t.text...)
	us := at.Nanosecond() / 1000
	for unit := 100_000; unit > 0; unit /= 10 {
		dst = append(dst, '0'+byte(us/unit%10))
	}
	return append(dst, 'Z')
}

type second struct {
	unix int64
	text []byte
}

var seconds atomic.Pointer[second]

// appendCommon is the NCSA common log format.
func appendCommon(dst []byte, x *exchange, took time.Duration) []byte {
	dst = x.client.AppendTo(dst)
	dst = append(dst, " - - ["...)
	dst = x.began.AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	dst = append(dst, "] \""...)
	dst = AppendQuoted(dst, x.req.Method)
	dst = append(dst, ' ')
	dst = AppendQuoted(dst, x.path.Received)
	dst = append(dst, " HTTP/"...)
	dst = append(dst, x.version...)
	dst = append(dst, '"', ' ')
	dst = strconv.AppendInt(dst, int64(x.status), 10)
	dst = append(dst, ' ')
	return strconv.AppendInt(dst, x.bytesOut, 10)
}

// appendCombined adds the referrer (without its query) and the user agent.
func appendCombined(dst []byte, x *exchange, took time.Duration) []byte {
	dst = appendCommon(dst, x, took)
	referer, _ := x.req.Get("Referer")
	agent, _ := x.req.Get("User-Agent")
	dst = append(dst, ` "`...)
	dst = AppendQuoted(dst, withoutQuery(referer))
	dst = append(dst, `" "`...)
	dst = AppendQuoted(dst, agent)
	return append(dst, '"')
}

// AppendQuoted appends the inside of a quoted field of the NCSA formats,
// clipped; "-" for nothing.
func AppendQuoted(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '-')
	}
	s = Clip(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20 || c >= 0x7f:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func withoutQuery(s string) string {
	for i := range len(s) {
		if s[i] == '?' || s[i] == '#' {
			return s[:i]
		}
	}
	return s
}
