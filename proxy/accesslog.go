package proxy

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// AccessLog writes one line per request, refused ones as well. Lines are
// gathered and written at least every flushEvery; a slow disk makes requests
// wait, it loses no line. Paths are written without their query, which may
// hold secrets.
type AccessLog struct {
	format func(dst []byte, x *exchange, took time.Duration) []byte
	path   string

	mu  sync.Mutex // guards what follows
	buf []byte
	out io.Writer
	err error // of the last write, for Run to tell
}

const (
	flushEvery = 200 * time.Millisecond
	flushSize  = 64 << 10
)

// NewAccessLog opens the log at path ("-" is standard output) for lines in
// one of the formats json, common, combined.
func NewAccessLog(path, format string) (*AccessLog, error) {
	l := &AccessLog{path: path, buf: make([]byte, 0, 2*flushSize)}
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
	return l, l.Reopen()
}

// Reopen opens the file anew, after it was moved away (SIGHUP). If that fails
// the old one stays.
func (l *AccessLog) Reopen() error {
	var out io.Writer = os.Stdout
	if l.path != "-" {
		f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("access log: %w", err)
		}
		out = f
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	if old, ok := l.out.(*os.File); ok && old != os.Stdout {
		old.Close()
	}
	l.out = out
	return nil
}

// Run flushes until ctx ends, and once more then. It returns the last error of
// writing, if the last write failed.
func (l *AccessLog) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			l.flush()
			return l.err
		case <-tick.C:
			l.mu.Lock()
			l.flush()
			l.mu.Unlock()
		}
	}
}

func (l *AccessLog) write(x *exchange, took time.Duration) {
	l.mu.Lock()
	l.buf = append(l.format(l.buf, x, took), '\n')
	if len(l.buf) >= flushSize {
		l.flush()
	}
	l.mu.Unlock()
}

// record writes a line for the middleware called name, in JSON whatever the
// log's format. A nil AccessLog writes none.
func (l *AccessLog) record(name string, x *exchange, took time.Duration) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, `{"record": `...)
	l.buf = append(AppendJSON(l.buf, name), ", "...)
	l.buf = append(l.buf, appendJSONLine(nil, x, took)[1:]...)
	l.buf = append(l.buf, '\n')
	if len(l.buf) >= flushSize {
		l.flush()
	}
}

// flush writes what was gathered. The lock is held.
func (l *AccessLog) flush() {
	if len(l.buf) == 0 {
		return
	}
	_, l.err = l.out.Write(l.buf)
	l.buf = l.buf[:0]
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

// AppendQuoted appends the inside of a quoted field of the NCSA formats; "-" for nothing.
func AppendQuoted(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '-')
	}
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
